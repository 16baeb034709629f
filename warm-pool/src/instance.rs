//! One live instance: a process whose handler is loaded, and what is known of it.
//!
//! Owns the process; when the last lease and the driver have let go of it, everything in it is killed.

use std::io;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use functions::BootId;
use functions::Revision;
use tokio::sync::watch;

use crate::channel::Channel;
use crate::driver::launcher::{Confined, Stages};
use crate::fate::Fate;
use crate::frost::Frost;
use crate::lane::Lane;
use crate::log_tap::LogTap;
use crate::runtime_api::{Reason, Server};
use crate::shelf::{InstanceId, KillCause};
use crate::start::{ColdReason, Poison, Start};

/// How long the parts of a start took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Startup {
    /// What it was started from.
    pub(crate) start: Start,
    /// The stages of the sandbox.
    pub(crate) stages: Stages,
    /// From the decision to start until the program was executed.
    pub(crate) sandbox: Duration,
    /// From then until the handler was loaded.
    pub(crate) init: Duration,
}

/// See the module's head.
pub(crate) struct Instance {
    pub(crate) id: InstanceId,
    pub(crate) revision: Arc<Revision>,
    pub(crate) boot_id: BootId,
    /// Language and version, as the process says.
    pub(crate) runtime: String,
    pub(crate) reason: ColdReason,
    pub(crate) startup: Startup,
    pub(crate) ready_at: Instant,
    pub(crate) log: LogTap,
    pub(crate) body: Box<dyn Confined>,
    pub(crate) frost: Mutex<Frost>,
    /// What it asks for its invocations, if it does.
    pub(crate) server: Option<Server>,
    /// Lanes on which an exchange was given up. A process ends when one of its lanes closes, and calls on the others may still
    /// run, so they stay open until it is killed.
    pub(crate) given_up: Mutex<Vec<Lane>>,
    /// Invocations in a row that ran out of time without a word of the instance.
    pub(crate) silent: AtomicU32,
    /// Why the pool killed it, if it did.
    pub(crate) killed: OnceLock<KillCause>,
    /// How it ended; `None` while it has not.
    pub(crate) fate: watch::Sender<Option<Fate>>,
}

impl Instance {
    /// Kills it for `cause`; the first cause given is the one that counts. One that has extensions is killed by its own task, which calls
    /// [`Instance::take_leave`] first: whoever calls this cancels that task as well.
    pub(crate) fn kill(&self, cause: KillCause) {
        // Whoever finds it dead later asks for the cause, so that has to stand first.
        let _ = self.killed.set(cause);
        if self.server.as_ref().is_none_or(|server| !server.desk().takes_leave()) {
            self.body.kill();
        }
    }

    /// Tells its extensions, if it has some, that it ends, waits until they are done, and kills it.
    pub(crate) async fn take_leave(&self) {
        if let Some(server) = self.server.as_ref().filter(|server| server.desk().takes_leave()) {
            // Nobody stops it any more.
            self.thaw(u64::MAX);
            let reason = match self.killed.get() {
                Some(KillCause::Poisoned(Poison::Timeout)) => Reason::Timeout,
                Some(KillCause::Poisoned(_) | KillCause::Failed) => Reason::Failure,
                _ => Reason::Spindown,
            };
            tokio::select! {
                () = server.desk().take_leave(reason) => {}
                _ending = self.body.gone() => {}
            }
        }
        self.body.kill();
    }

    /// Freezes it in its turn. `false` where no instance can be frozen.
    ///
    /// # Errors
    /// When this one could not be.
    pub(crate) fn freeze(&self, turn: u64) -> io::Result<bool> {
        self.frost().freeze(turn, || self.body.freeze())
    }

    /// Thaws it in its turn. A freeze that is under way is awaited.
    pub(crate) fn thaw(&self, turn: u64) {
        if let Err(error) = self.frost().thaw(turn) {
            tracing::warn!(function = %self.revision.name, instance = %self.id, %error, "an instance could not be thawed and is killed");
            self.body.kill();
        }
    }

    fn frost(&self) -> MutexGuard<'_, Frost> {
        self.frost.lock().expect("nothing panics under the lock")
    }

    /// Takes what a lease talked over when its exchange was given up.
    pub(crate) fn give_up(&self, channel: Channel) {
        match channel {
            Channel::Frames(lane) => self.given_up.lock().expect("nothing panics under the lock").push(lane),
            // Their other end is told by the close that the caller is gone, and lives on.
            Channel::Http(_) | Channel::Runtime(_) => drop(channel),
        }
    }

    /// Waits up to `patience` for its end.
    pub(crate) async fn obituary(&self, patience: Duration) -> Fate {
        let mut fate = self.fate.subscribe();
        match tokio::time::timeout(patience, fate.wait_for(Option::is_some)).await {
            Ok(Ok(fate)) => fate.unwrap_or(Fate::Unknown),
            Ok(Err(_)) => Fate::Unknown,
            Err(_) => Fate::StillRunning,
        }
    }
}
