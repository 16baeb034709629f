//! The exclusive right to send one invocation to an instance: given back or poisoned, never lost.
//!
//! A lease owns the lane while it lives. Dropping it gives the lane back when the lane is clean, straight to the call that
//! waits longest if there is one, and poisons the instance when an exchange is unfinished. So a caller that is cancelled at any
//! point leaves nothing behind that the next one could read.

use std::sync::Arc;
use std::time::{Duration, Instant};

use functions::BootId;
use functions::Revision;

use crate::fate::Fate;
use crate::fleet::Fleet;
use crate::instance::Instance;
use crate::lane::{Lane, LaneError};
use crate::shelf::InstanceId;
use crate::start::{ColdReason, Poison, Start};

/// How long [`Lease::obituary`] waits: within it a dead process is gone with its mounts and its cgroup.
const OBITUARY_PATIENCE: Duration = Duration::from_secs(1);

/// Where the time until the lease went. `queue + sandbox + init` is the time that the call waited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phases {
    /// Waiting for an instance, beyond what the next two say.
    pub queue: Duration,
    /// Making the sandbox, up to the execution of the program. Zero unless the call waited for a start.
    pub sandbox: Duration,
    /// Loading the handler. Zero unless the call waited for a start.
    pub init: Duration,
}

impl Phases {
    /// Splits the time that a call waited. One that joined late while an instance started waited only for the end of that start.
    pub(crate) fn split(waited: Duration, sandbox: Duration, init: Duration) -> Phases {
        let init = init.min(waited);
        let sandbox = sandbox.min(waited - init);
        Phases {
            queue: waited - init - sandbox,
            sandbox,
            init,
        }
    }
}

/// See the module's head.
pub struct Lease {
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) instance: Arc<Instance>,
    /// Always there until the lease is dropped.
    pub(crate) lane: Option<Lane>,
    pub(crate) lane_number: u8,
    /// The turn in which the instance is to be thawed, until that is done.
    pub(crate) frozen: Option<u64>,
    pub(crate) start: Start,
    pub(crate) reason: Option<ColdReason>,
    pub(crate) phases: Phases,
    pub(crate) since: Instant,
}

impl Lease {
    /// Thaws the instance if it is frozen. Called before the lease is handed over, with no lock held.
    pub(crate) fn thaw(&mut self) {
        if let Some(turn) = self.frozen.take() {
            self.instance.thaw(turn);
        }
    }

    /// How the call found its instance.
    pub fn start(&self) -> Start {
        self.start
    }

    /// Why an instance was started, when the call waited for it to start.
    pub fn reason(&self) -> Option<ColdReason> {
        self.reason
    }

    /// The process that serves; the value of `x-fn-instance`.
    pub fn boot_id(&self) -> BootId {
        self.instance.boot_id
    }

    /// The instance's number within the function.
    pub fn instance(&self) -> InstanceId {
        self.instance.id
    }

    /// The revision that runs.
    pub fn revision(&self) -> &Arc<Revision> {
        &self.instance.revision
    }

    /// Where the time until the lease went.
    pub fn phases(&self) -> Phases {
        self.phases
    }

    /// The lane to talk over.
    pub fn lane(&mut self) -> &mut Lane {
        self.lane.as_mut().expect("the lane is taken by drop only")
    }

    /// Starts an exchange and returns its sequence number; what the instance prints belongs to `request_id` from now on. Until
    /// [`Lease::finish`] dropping the lease poisons the instance.
    pub fn begin(&mut self, request_id: &str) -> u32 {
        self.instance.log.begin(request_id);
        self.lane().begin()
    }

    /// Counts the time that the handler took; for a streamed reply, until its head. Called once for each answer.
    pub fn handled(&self, took: Duration) {
        self.fleet.record.handler.observe(took.as_secs_f64());
    }

    /// Ends the exchange after END or ERROR came: reads what the invocation printed, then the lane is clean.
    ///
    /// # Errors
    /// [`LaneError::Unfinished`] as [`Lane::finish`] has it; then dropping the lease poisons the instance.
    pub fn finish(&mut self) -> Result<(), LaneError> {
        self.instance.log.end();
        self.lane().finish()
    }

    /// Reads what the instance has printed up to now, without waiting. [`Lease::finish`] does so by itself.
    pub fn drain_log(&self) {
        self.instance.log.drain();
    }

    /// Ends the lease for good: the instance is killed, at once or, for causes that its neighbours are not guilty of, when the
    /// exchanges on its other lanes have ended.
    pub fn poison(mut self, poison: Poison) {
        if let Some(lane) = self.lane.take() {
            self.fleet.poison(self.instance.id, self.lane_number, poison);
            drop(lane);
        }
    }

    /// How the instance ended, for an error that says so after the lane closed. Waits up to a second;
    /// [`Fate::StillRunning`] when the process lives.
    pub async fn obituary(&self) -> Fate {
        self.instance.obituary(OBITUARY_PATIENCE).await
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(lane) = self.lane.take() else { return };
        if lane.is_clean() {
            self.fleet
                .give_back(self.instance.id, self.lane_number, lane, self.since.elapsed());
            if self.start.is_cold() {
                // It may be over when something that was prepared for the function meanwhile is ready.
                self.fleet.advise(&self.instance.revision);
            }
        } else {
            self.fleet
                .poison(self.instance.id, self.lane_number, Poison::Unfinished);
        }
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease")
            .field("function", &self.instance.revision.name)
            .field("instance", &self.instance.id)
            .field("lane", &self.lane_number)
            .field("start", &self.start)
            .finish_non_exhaustive()
    }
}
