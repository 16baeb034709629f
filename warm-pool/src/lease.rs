//! The exclusive right to send one invocation to an instance: given back or poisoned, never lost.
//!
//! A lease owns a channel, a lane or a link, while it lives. Dropping it gives that back when it is clean, straight to the call that
//! waits longest if there is one, and poisons the instance when an exchange is unfinished. So a caller that is cancelled at any
//! point leaves nothing behind that the next one could read.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use functions::BootId;
use functions::Revision;
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::sync::oneshot;

use crate::channel::Channel;
use crate::fate::Fate;
use crate::fleet::Fleet;
use crate::instance::Instance;
use crate::lane::{Lane, LaneError};
use crate::link::{LinkError, RequestBody};
use crate::runtime_api::{Answer, Invocation};
use crate::shelf::InstanceId;
use crate::start::{ColdReason, Poison, Start};

/// How long [`Lease::obituary`] waits: within it a dead process is gone with its mounts and its cgroup.
const OBITUARY_PATIENCE: Duration = Duration::from_secs(1);

/// Calls in a row that may run out of time before an HTTP server that said nothing meanwhile counts as stuck.
pub const MOST_SILENT: u32 = 3;

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
    pub(crate) channel: Option<Channel>,
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
            // A connection that was kept may have been given up inside meanwhile.
            if let Some(Channel::Http(link)) = &mut self.channel {
                link.forget();
            }
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

    fn channel(&mut self) -> &mut Channel {
        self.channel.as_mut().expect("the channel is taken by drop only")
    }

    /// The lane to talk over, of a runtime that speaks frames.
    ///
    /// # Panics
    /// For any other runtime.
    pub fn lane(&mut self) -> &mut Lane {
        match self.channel() {
            Channel::Frames(lane) => lane,
            Channel::Http(_) | Channel::Runtime(_) => panic!("only instances that speak frames have lanes"),
        }
    }

    /// Starts an exchange; what the instance prints belongs to `request_id` from now on. Until
    /// [`Lease::finish`] dropping the lease poisons the instance.
    pub fn begin(&mut self, request_id: &str) {
        self.instance.log.begin(request_id);
        self.channel().begin();
    }

    /// Sends a request to the server that the instance is, and waits for the head of the reply. A request goes out twice only if the
    /// first connection closed before anything of it was sent.
    ///
    /// Cancel safe in that the connection is closed: the exchange can only be abandoned then.
    ///
    /// # Errors
    /// [`LinkError`].
    ///
    /// # Panics
    /// When the instance is no HTTP server.
    pub async fn send(&mut self, request: Request<RequestBody>) -> Result<Response<Incoming>, LinkError> {
        let instance = self.instance.clone();
        let Channel::Http(link) = self.channel() else {
            panic!("only HTTP servers are sent requests");
        };
        let response = link.send(instance.body.as_ref(), request).await?;
        instance.silent.store(0, Ordering::Relaxed);
        Ok(response)
    }

    /// Hands an invocation to the runtime that the instance is. The receiver's error says that nobody will answer, because the instance is gone.
    ///
    /// # Panics
    /// When the instance does not ask for its invocations.
    pub fn call(&mut self, invocation: Invocation) -> oneshot::Receiver<Answer> {
        let Channel::Runtime(turn) = self.channel() else {
            panic!("only runtimes of Lambda are handed invocations");
        };
        turn.call(invocation)
    }

    /// Waits for the end of the instance.
    pub fn ended(&self) -> impl Future<Output = Fate> + use<> {
        let mut fate = self.instance.fate.subscribe();
        async move {
            match fate.wait_for(Option::is_some).await {
                Ok(fate) => fate.unwrap_or(Fate::Unknown),
                Err(_) => Fate::Unknown,
            }
        }
    }

    /// Gives up an exchange with an HTTP server: the connection is closed, and the server lives on, for it has other callers and
    /// sees this one leave. Only after [`MOST_SILENT`] calls in a row ran out of time without any answer it is killed.
    pub fn abandon(mut self, poison: Poison) {
        if poison == Poison::Timeout {
            self.fleet.timed_out(&self.instance.revision);
        }
        let silent = match poison {
            Poison::Timeout => self.instance.silent.fetch_add(1, Ordering::Relaxed) + 1,
            _ => 0,
        };
        if silent >= MOST_SILENT {
            return self.end(poison);
        }
        self.instance.log.end();
        if let Channel::Http(link) = self.channel() {
            link.abandon();
        }
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
        match self.channel() {
            Channel::Frames(lane) => lane.finish(),
            Channel::Http(link) => {
                link.finish();
                Ok(())
            }
            Channel::Runtime(turn) => turn.finish(),
        }
    }

    /// Reads what the instance has printed up to now, without waiting. [`Lease::finish`] does so by itself.
    pub fn drain_log(&self) {
        self.instance.log.drain();
    }

    /// Ends the lease for good: the instance is killed, at once or, for causes that its neighbours are not guilty of, when the
    /// exchanges on its other lanes have ended.
    pub fn poison(self, poison: Poison) {
        if poison == Poison::Timeout {
            self.fleet.timed_out(&self.instance.revision);
        }
        self.end(poison);
    }

    fn end(mut self, poison: Poison) {
        if let Some(channel) = self.channel.take() {
            self.instance.give_up(channel);
            self.fleet.poison(self.instance.id, self.lane_number, poison);
        }
    }

    /// As [`Lease::obituary`], with another patience.
    pub async fn obituary_within(&self, patience: Duration) -> Fate {
        self.instance.obituary(patience).await
    }

    /// How the instance ended, for an error that says so after the lane closed. Waits up to a second;
    /// [`Fate::StillRunning`] when the process lives.
    pub async fn obituary(&self) -> Fate {
        self.instance.obituary(OBITUARY_PATIENCE).await
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(channel) = self.channel.take() else { return };
        if channel.is_clean() {
            self.fleet
                .give_back(self.instance.id, self.lane_number, channel, self.since.elapsed());
            if self.start.is_cold() {
                // It may be over when something that was prepared for the function meanwhile is ready.
                self.fleet.advise(&self.instance.revision);
            }
        } else {
            self.instance.give_up(channel);
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
