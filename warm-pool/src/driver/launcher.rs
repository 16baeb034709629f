//! What the driver needs of whoever runs processes.
//!
//! The product has one launcher, the sandbox; tests of the driver put real processes without a sandbox in its place.

use std::future::Future;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::time::Duration;

use functions::{FunctionName, Revision};

use crate::fate::StartFailure;
use crate::start::Start;

/// A future behind a pointer; starts and ends are rare enough for that.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Runs revisions.
pub trait Launcher: Send + Sync + 'static {
    /// Starts a process of `revision` with as many lanes as its concurrency. Dropping the future kills what was made until then.
    fn launch<'a>(&'a self, revision: &'a Revision) -> Later<'a, Result<Launched, StartFailure>>;

    /// Whether a process could be started at this moment. While it says no, a launch waits, or fails.
    fn is_up(&self) -> bool {
        true
    }

    /// Processor time of all processes of `function`, those that are gone included. `None` where nothing counts it.
    fn cpu(&self, _function: &FunctionName) -> Option<Duration> {
        None
    }

    /// Slots that stand ahead and are nobody's.
    fn slots_standing(&self) -> usize {
        0
    }

    /// The function was removed; what is kept for it may go.
    fn forget(&self, _function: &FunctionName) {}
}

/// A process that was just started.
pub struct Launched {
    /// The process.
    pub body: Box<dyn Confined>,
    /// Non-blocking stream sockets, at least one.
    pub lanes: Vec<OwnedFd>,
    /// The non-blocking read end of its log pipe.
    pub log: OwnedFd,
    /// What it was started from: [`Start::Pooled`] or [`Start::Cold`].
    pub start: Start,
    /// How long its parts took.
    pub stages: Stages,
}

/// The process and everything it starts. Dropping it kills all of that.
pub trait Confined: Send + Sync + 'static {
    /// Kills all of it. Harmless when it is gone already.
    fn kill(&self);
    /// Waits until nothing of it is left. May be awaited many times.
    fn gone(&self) -> Later<'_, Ending>;
    /// What it uses now.
    fn usage(&self) -> Usage;
}

/// How long the stages of a launch took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stages {
    /// Making its cgroup.
    pub leaf: Duration,
    /// Making its namespaces.
    pub clone: Duration,
    /// Mounting its root.
    pub rootfs: Duration,
    /// Taking its rights away.
    pub confine: Duration,
    /// Executing its program.
    pub exec: Duration,
}

/// What a process uses now; `None` where nothing counts it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Memory in bytes.
    pub memory_bytes: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
}

/// How a process ended, as the kernel tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It exited with this code.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
    /// Nobody saw it.
    Unknown,
}

/// What is known of a process that is gone.
#[derive(Clone, Copy, Debug)]
pub struct Ending {
    /// How.
    pub exit: Exit,
    /// Processes in it that were killed because memory ran out.
    pub oom_kills: u64,
}
