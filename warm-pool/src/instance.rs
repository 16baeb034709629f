//! One live instance: a process whose handler is loaded, and what is known of it.
//!
//! Owns the process; when the last lease and the driver have let go of it, everything in it is killed.

use std::io;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use functions::BootId;
use functions::Revision;
use tokio::sync::{Notify, watch};

use crate::channel::Channel;
use crate::driver::launcher::{Confined, HostMemory, Stages};
use crate::fate::Fate;
use crate::frost::Frost;
use crate::lane::Lane;
use crate::log_tap::LogTap;
use crate::plan::grace;
use crate::policy;
use crate::runtime_api::{Desk, Reason, Server};
use crate::shelf::{InstanceId, KillCause};
use crate::start::{ColdReason, Poison, Start};

/// How an instance is told that it ends.
enum Farewell<'a> {
    /// Its extensions get SHUTDOWN, with this reason.
    Extensions(&'a Desk, Reason),
    /// Its program gets SIGTERM, and this time.
    Signal(Duration),
}

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
    /// Rings when it was asked to end.
    pub(crate) leaving: Notify,
    /// How it ended; `None` while it has not.
    pub(crate) fate: watch::Sender<Option<Fate>>,
}

impl Instance {
    /// Ends it for `cause`; the first cause given is the one that counts. It is killed at once, unless it has something to do at its end: then it is
    /// told, and its life kills it when that is done or its time is over, see [`Instance::took_leave`].
    pub(crate) fn kill(&self, cause: KillCause) {
        // Whoever finds it dead later asks for the cause, so that has to stand first.
        let _ = self.killed.set(cause);
        if self.farewell().is_some() {
            self.leaving.notify_one();
        } else {
            self.body.kill();
        }
    }

    /// Waits until it is asked to end, and until it is done with that or its time is over. To be awaited by whoever kills it then.
    pub(crate) async fn took_leave(&self) {
        self.leaving.notified().await;
        // Nobody stops it any more.
        self.thaw(u64::MAX);
        match self.farewell() {
            Some(Farewell::Extensions(desk, reason)) => desk.take_leave(reason).await,
            Some(Farewell::Signal(grace)) => {
                self.body.terminate();
                tokio::time::sleep(grace).await;
            }
            None => {}
        }
    }

    /// What it is given to do at its end, once the cause of that stands. Extensions are told of every end, a program alone of gentle ones.
    fn farewell(&self) -> Option<Farewell<'_>> {
        let cause = *self.killed.get()?;
        if cause == KillCause::Condemned {
            // Whatever it runs is not to be asked.
            return None;
        }
        let desk = self.server.as_ref().map(Server::desk);
        if let Some(desk) = desk.filter(|desk| desk.takes_leave()) {
            let reason = match cause {
                KillCause::Poisoned(Poison::Timeout) => Reason::Timeout,
                KillCause::Poisoned(_) | KillCause::Failed => Reason::Failure,
                _ => Reason::Spindown,
            };
            return Some(Farewell::Extensions(desk, reason));
        }
        let grace = grace(&self.revision).filter(|_| cause.is_gentle());
        grace.map(Farewell::Signal)
    }

    /// Freezes it in its turn. `false` where no instance can be frozen.
    ///
    /// # Errors
    /// When this one could not be.
    pub(crate) fn freeze(&self, turn: u64) -> io::Result<bool> {
        self.frost().freeze(turn, || self.body.freeze())
    }

    /// Gives its memory back to the host, as long as it stands still since that turn, and returns the bytes that it holds less. `None` where there
    /// is no room for it, or no way. Blocks for as long as a disk takes; a thaw does not wait for it.
    ///
    /// # Errors
    /// When it was refused.
    pub(crate) fn reclaim(&self, turn: u64, host: Option<HostMemory>) -> io::Result<Option<u64>> {
        let held = self.body.usage().memory_bytes.unwrap_or(0);
        if !host.is_some_and(|host| policy::fits_into_swap(held, host.swap_free)) {
            return Ok(None);
        }
        self.body.reclaim(&|| self.frost().holds(turn))
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
