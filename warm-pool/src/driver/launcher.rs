//! What the driver needs of whoever runs processes.
//!
//! The product has one launcher, the sandbox; tests of the driver put real processes without a sandbox in its place.

use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::time::Duration;

use functions::wire::Load;
use functions::{FunctionName, Revision, RevisionNumber};
use prometheus::proto::MetricFamily;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::fate::StartFailure;
use crate::start::{Purpose, Start};

/// A future behind a pointer; starts and ends are rare enough for that.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Runs revisions.
pub trait Launcher: Send + Sync + 'static {
    /// Starts a process of `revision` with the lanes that its runtime needs. Dropping the future kills what was made until then.
    fn launch<'a>(&'a self, revision: &'a Revision, purpose: Purpose) -> Later<'a, Result<Launched, StartFailure>>;

    /// The same, but no fork of the template: one did not come up.
    fn execute<'a>(&'a self, revision: &'a Revision, purpose: Purpose) -> Later<'a, Result<Launched, StartFailure>> {
        self.launch(revision, purpose)
    }

    /// A process of `revision` that was launched for calls has come up: what makes the next one faster may be prepared now.
    fn came_up(&self, _revision: &Revision) {}

    /// Whether a process could be started at this moment. While it says no, a launch waits, or fails.
    fn is_up(&self) -> bool {
        true
    }

    /// Processor time of all processes of `function`, those that are gone included. `None` where nothing counts it.
    fn cpu(&self, _function: &FunctionName) -> Option<Duration> {
        None
    }

    /// The memory that instances share with everything else. `None` where nothing tells. Reads files of the kernel.
    fn memory(&self) -> Option<HostMemory> {
        None
    }

    /// Slots that stand ahead and are nobody's.
    fn slots_standing(&self) -> usize {
        0
    }

    /// Node processes that are started and nobody's.
    fn parked_standing(&self) -> usize {
        0
    }

    /// Templates that stand.
    fn templates_standing(&self) -> usize {
        0
    }

    /// The same, with what each is worth. Reads files of the kernel.
    fn templates(&self) -> Vec<Template> {
        Vec::new()
    }

    /// Whether a launch of `revision` would be a fork of a template that is ready, so that starting one ahead costs next to
    /// nothing. Answers at once; asked on the way of a call.
    fn forks(&self, _revision: &Revision) -> bool {
        false
    }

    /// How instances of `revision` are started.
    fn class(&self, _revision: &Revision) -> StartClass {
        StartClass {
            name: "exec",
            why: None,
        }
    }

    /// Throws a template away, unless another one has taken its place.
    fn let_go(&self, _template: &Template) {}

    /// Throws away what was prepared for `function` ahead of its calls, its template above all. Its instances stay.
    fn forget_prepared(&self, _function: &FunctionName) {}

    /// Takes whom to tell, once, that what [`Launcher::forks`] says of a function has changed. Without that it is noticed at the
    /// next call that finds no used instance.
    fn announce_to(&self, _listener: Listener) {}

    /// Metrics of what it does by itself.
    fn gather(&self) -> Vec<MetricFamily> {
        Vec::new()
    }

    /// The function was removed; what is kept for it may go.
    fn forget(&self, _function: &FunctionName) {}
}

/// A template that stands.
#[derive(Clone, Debug)]
pub struct Template {
    /// Whose it is.
    pub function: FunctionName,
    /// The revision that it is of.
    pub revision: RevisionNumber,
    /// Time since the function has one, whether this one or those that it replaced.
    pub age: Duration,
    /// Bytes that it holds; `None` where nothing counts them.
    pub memory: Option<u64>,
    /// How long it took to make, which each start would take without it.
    pub saves: Duration,
}

/// The memory of a host.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HostMemory {
    /// Bytes in all.
    pub total: u64,
    /// Bytes that could be had without swapping.
    pub available: u64,
    /// Bytes of swap that are free; 0 without swap.
    pub swap_free: u64,
    /// Per cent of the last ten seconds in which some process stalled for memory; `None` where the kernel does not count that.
    pub stalled: Option<f64>,
}

/// Hears that something was prepared for a function, or lost. Returns at once; must not be called with a lock held that
/// [`Launcher::forks`] takes.
pub type Listener = Box<dyn Fn(&FunctionName) + Send + Sync>;

/// How instances of a revision are started.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct StartClass {
    /// `fork`: from the function's template. `exec`: by executing its program.
    pub name: &'static str,
    /// Why it is not forked, if it could be expected to.
    pub why: Option<String>,
}

/// A process that was just started.
pub struct Launched {
    /// The process.
    pub body: Box<dyn Confined>,
    /// Non-blocking stream sockets: for a runtime that speaks frames as many as its concurrency, else none.
    pub lanes: Vec<OwnedFd>,
    /// A non-blocking listener inside, for a runtime that asks for its invocations.
    pub listener: Option<OwnedFd>,
    /// The non-blocking read end of its log pipe.
    pub log: OwnedFd,
    /// What it was started from: [`Start::Forked`], [`Start::Pooled`] or [`Start::Cold`]; [`Start::Ahead`] when its process ran
    /// already and waits for `load`.
    pub start: Start,
    /// What it waits for before it loads its handler.
    pub load: Option<Load>,
    /// How long its parts took.
    pub stages: Stages,
}

/// The process and everything it starts. Dropping it kills all of that.
pub trait Confined: Send + Sync + 'static {
    /// Kills all of it. Harmless when it is gone already.
    fn kill(&self);
    /// Asks its program to end, and does not wait.
    fn terminate(&self) {}
    /// Waits until nothing of it is left. May be awaited many times.
    fn gone(&self) -> Later<'_, Ending>;
    /// What it uses now.
    fn usage(&self) -> Usage;
    /// The number of its sandbox, where it has one.
    fn number(&self) -> Option<u64> {
        None
    }
    /// Connects to a server inside. Neither waits for one nor tries twice: errors of the kinds `ConnectionRefused`,
    /// `NotFound` and `WouldBlock` say that one may come yet.
    fn connect<'a>(&'a self, _door: &'a Door) -> Later<'a, io::Result<Box<dyn Stream>>> {
        Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
    }
    /// Waits until its program listens to a socket, whichever, or is about to: at once when it did since this was last answered.
    /// A hint, and no proof. May be dropped and awaited anew.
    ///
    /// # Errors
    /// `Unsupported` where nobody hears of that: then one can only try to connect.
    fn listens(&self) -> Later<'_, io::Result<()>> {
        Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
    }
    /// Stops its processes, until they are continued or killed. `None` where no process can be stopped.
    ///
    /// # Errors
    /// When this one could not be.
    fn freeze(&self) -> io::Result<Option<Thaw>> {
        Ok(None)
    }
    /// Gives its memory back to the host as long as `go_on` says so, and returns the bytes that it holds less. `None` where that can't be done.
    /// May block for as long as a disk takes.
    ///
    /// # Errors
    /// When it was refused; part of it may have been given back.
    fn reclaim(&self, _go_on: &dyn Fn() -> bool) -> io::Result<Option<u64>> {
        Ok(None)
    }
}

/// Continues what was stopped.
pub type Thaw = Box<dyn FnOnce() -> io::Result<()> + Send>;

/// Where a server inside is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Door {
    /// A TCP port of 127.0.0.1.
    Port(u16),
    /// The absolute path of a unix socket.
    Path(&'static str),
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Door::Port(port) => write!(f, "port {port} (the variable PORT)"),
            Door::Path(path) => write!(f, "the unix socket {path}"),
        }
    }
}

/// A connection to a server inside.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

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
    /// The most of it that ever was in use.
    pub memory_peak: Option<u64>,
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
    /// Processes that it was refused because of its limit.
    pub pids_hits: u64,
}
