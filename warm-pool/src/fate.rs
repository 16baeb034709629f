//! How an instance ended, and why one could not be started.

use std::sync::Arc;
use std::time::Duration;

use functions::wire::Failure;
use serde::Serialize;

use crate::driver::launcher::{Door, Ending, Exit};
use crate::lane::LaneError;
use crate::shelf::KillCause;
use crate::start::{ColdReason, Poison};

/// How an instance ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "how", content = "value")]
pub enum Fate {
    /// It used more memory than its limit and was killed whole.
    OutOfMemory,
    /// Its process ended with this exit code.
    Exited(i32),
    /// Its process was killed by this signal, which did not come from the pool.
    Signalled(i32),
    /// An operator evicted it.
    Evicted,
    /// A rule of the operator stopped it.
    Condemned,
    /// The pool killed it because a lease was poisoned.
    Poisoned(Poison),
    /// The pool killed it because it was not needed any more, or is shutting down.
    Retired,
    /// It lives, although it closed its lane.
    StillRunning,
    /// It is gone, and nothing says how.
    Unknown,
}

impl Fate {
    /// What the kernel tells, in the light of what the pool did. A limit beats both: an instance that ran out of memory was
    /// killed for that, whatever anybody sent it afterwards.
    pub(crate) fn of(ending: &Ending, killed: Option<KillCause>) -> Fate {
        if ending.oom_kills > 0 {
            return Fate::OutOfMemory;
        }
        match killed {
            Some(KillCause::Evicted) => return Fate::Evicted,
            Some(KillCause::Condemned | KillCause::Quarantined) => return Fate::Condemned,
            // The lease was poisoned because the instance had ended, so the kernel's word is the cause.
            Some(KillCause::Poisoned(Poison::Exited)) | None => {}
            Some(KillCause::Poisoned(poison)) => return Fate::Poisoned(poison),
            Some(
                KillCause::Idle
                | KillCause::Pressure
                | KillCause::Retired
                | KillCause::Spent
                | KillCause::Failed
                | KillCause::Closing,
            ) => {
                return Fate::Retired;
            }
        }
        match ending.exit {
            Exit::Code(code) => Fate::Exited(code),
            Exit::Signal(signal) => Fate::Signalled(signal),
            Exit::Unknown => Fate::Unknown,
        }
    }

    /// What the next start says about it.
    pub(crate) fn reason(self) -> ColdReason {
        match self {
            Fate::OutOfMemory => ColdReason::Limit,
            Fate::Evicted => ColdReason::Evicted,
            Fate::Condemned => ColdReason::Rule,
            Fate::Poisoned(poison) => poison.reason(),
            _ => ColdReason::Crashed,
        }
    }
}

impl std::fmt::Display for Fate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fate::OutOfMemory => f.write_str("ran out of memory"),
            Fate::Exited(code) => write!(f, "exited with code {code}"),
            Fate::Signalled(signal) => write!(f, "was killed by signal {signal}"),
            Fate::Evicted => f.write_str("was evicted"),
            Fate::Condemned => f.write_str("was stopped by a rule of this server"),
            Fate::Poisoned(poison) => write!(f, "was killed by the platform ({})", poison.as_str()),
            Fate::Retired => f.write_str("was stopped by the platform"),
            Fate::StillRunning => f.write_str("closed its connection to the platform and runs on"),
            Fate::Unknown => f.write_str("ended in an unknown way"),
        }
    }
}

/// Why an instance did not become ready.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartFailure {
    /// The revision can't be run on this host, for example because its runtime is not installed.
    #[error("the revision can't be run here")]
    Plan(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The sandbox could not be made.
    #[error("the sandbox could not be made")]
    Sandbox(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The handler could not be loaded; this is what it said.
    #[error("the handler could not be loaded: {0}")]
    Init(Failure),
    /// The handler was not loaded in time.
    #[error("the handler was not loaded within {0:?}")]
    InitTimeout(Duration),
    /// Its server accepted no connection in time.
    #[error("the server did not listen on {door} within {within:?}")]
    NotListening {
        /// Where it was expected.
        door: Door,
        /// How long it had.
        within: Duration,
    },
    /// The process ended before the handler was loaded.
    #[error("the instance {0} before its handler was loaded")]
    Died(Fate),
    /// The first frame was none of those that may come first.
    #[error("the instance broke the protocol while it started")]
    Protocol(#[source] LaneError),
    /// It was evicted, or the pool shut down, before it was ready.
    #[error("the start was called off")]
    CalledOff,
}

/// Why a call got no lease.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcquireError {
    /// As many calls wait already as the function's `queue` allows.
    #[error("too many calls wait for the function")]
    QueueFull,
    /// The call's deadline passed while it waited.
    #[error("no instance was free before the deadline")]
    Deadline,
    /// The instance that the call waited for did not become ready, and no other lives or starts. Also answered at once, with the
    /// last failure, while starts of the revision are paused because they kept failing.
    #[error("no instance could be started")]
    StartFailed(#[source] Arc<StartFailure>),
    /// The pool is shutting down.
    #[error("the pool is shutting down")]
    Closing,
    /// The function was removed.
    #[error("the function was removed")]
    Removed,
}
