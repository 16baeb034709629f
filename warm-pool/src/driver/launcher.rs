//! What the driver needs of whoever runs processes.
//!
//! The product has one launcher, the sandbox; tests of the driver put real processes without a sandbox in its place.

use std::future::Future;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::time::Duration;

use functions::Revision;

use crate::fate::StartFailure;

/// A future behind a pointer; starts and ends are rare enough for that.
pub(crate) type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Runs revisions.
pub(crate) trait Launcher: Send + Sync + 'static {
    /// Starts a process of `revision` with as many lanes as its concurrency. The future is always awaited to its end.
    fn launch<'a>(&'a self, revision: &'a Revision) -> Later<'a, Result<Launched, StartFailure>>;
}

/// A process that was just started.
pub(crate) struct Launched {
    pub(crate) body: Box<dyn Confined>,
    /// Non-blocking stream sockets, at least one.
    pub(crate) lanes: Vec<OwnedFd>,
    /// The non-blocking read end of its log pipe.
    pub(crate) log: OwnedFd,
    pub(crate) stages: Stages,
}

/// The process and everything it starts. Dropping it kills all of that.
pub(crate) trait Confined: Send + Sync + 'static {
    /// Kills all of it. Harmless when it is gone already.
    fn kill(&self);
    /// Waits until nothing of it is left. May be awaited many times.
    fn gone(&self) -> Later<'_, Ending>;
    /// What it uses now.
    fn usage(&self) -> Usage;
}

/// How long the stages of a launch took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stages {
    pub(crate) leaf: Duration,
    pub(crate) clone: Duration,
    pub(crate) rootfs: Duration,
    pub(crate) confine: Duration,
    pub(crate) exec: Duration,
}

/// What a process uses now.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) memory_bytes: u64,
    pub(crate) pids: u64,
    pub(crate) cpu: Duration,
}

/// How a process ended, as the kernel tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Code(i32),
    Signal(i32),
    Unknown,
}

/// What is known of a process that is gone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending {
    pub(crate) exit: Exit,
    pub(crate) oom_kills: u64,
    /// Processor time over its whole life.
    pub(crate) cpu: Duration,
}
