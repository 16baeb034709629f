//! The launcher of the product: each revision in a sandbox of its own, forked from its template where there is one, or in a
//! parked process where it can't tell that from its own.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use functions::runtimes::parked::load;
use functions::runtimes::{HostRuntimes, launch};
use functions::wire::Load;
use functions::{FunctionName, Revision};
use prometheus::proto::MetricFamily;
use sandbox::{Cell, LaunchError, Obituary, Plan, ReachError, Sandbox, Spawner};
use tokio::net::{TcpSocket, UnixStream};

use super::cells::Cells;
use super::host_memory;
use super::launcher::{
    Confined, Door, Ending, Exit, HostMemory, Later, Launched, Launcher, Listener, Stages, StartClass, Stream,
    Template, Thaw, Usage,
};
use super::ledger::Ledger;
use super::parked::Parking;
use super::refill::Refill;
use crate::egress::{Egress, Outlets};
use crate::fate::{Fate, StartFailure};
use crate::log_tap::LogSink;
use crate::plan::plan;
use crate::start::{Purpose, Start};
use crate::watch::Watcher;

/// See the module's head.
pub(crate) struct Sandboxed {
    spawner: Spawner,
    runtimes: HostRuntimes,
    refill: Arc<Refill>,
    parking: Arc<Parking>,
    cells: Arc<Cells>,
    ledger: Arc<Ledger>,
    watcher: Arc<Watcher>,
    egress: Egress,
}

/// A sandbox that was started, from what, and the cell that it lives in.
struct Begun {
    sandbox: Sandbox,
    start: Start,
    load: Option<Load>,
    cell: Option<Arc<Cell>>,
}

impl Sandboxed {
    /// `sink` takes what templates print, `egress` leads connections of functions.
    pub(crate) fn new(
        spawner: Spawner,
        runtimes: HostRuntimes,
        sink: Arc<dyn LogSink>,
        watcher: Arc<Watcher>,
        egress: Egress,
    ) -> Sandboxed {
        let ledger = Arc::<Ledger>::default();
        Sandboxed {
            refill: Refill::start(spawner.clone()),
            parking: Parking::start(spawner.clone(), &runtimes),
            cells: Cells::new(spawner.clone(), runtimes.clone(), sink, ledger.clone(), watcher.clone()),
            spawner,
            runtimes,
            ledger,
            watcher,
            egress,
        }
    }

    async fn fork(&self, revision: &Revision, purpose: Purpose) -> Option<Begun> {
        if purpose == Purpose::Check {
            return None;
        }
        let (sandbox, cell) = self.cells.fork(revision, purpose == Purpose::Ahead).await?;
        Some(Begun {
            sandbox,
            start: Start::Forked,
            load: None,
            cell: Some(cell),
        })
    }

    async fn begin(&self, revision: &Revision, purpose: Purpose) -> Result<Begun, StartFailure> {
        let launch = launch(revision, &self.runtimes).map_err(|error| StartFailure::Plan(error.into()))?;
        let load = match purpose {
            Purpose::Check => None,
            Purpose::Call | Purpose::Ahead => load(revision, &launch),
        };
        let mut plan = plan(revision, launch).map_err(|error| StartFailure::Plan(error.into()))?;
        if purpose != Purpose::Check {
            plan.watch = self.watcher.watch_of(revision);
        }
        if let Some(load) = load
            && let Some(sandbox) = self.parking.bind(&plan).await
        {
            return Ok(Begun {
                sandbox,
                start: Start::Ahead,
                load: Some(load),
                cell: None,
            });
        }
        let (sandbox, start) = self.sandbox(&plan).await.map_err(failed)?;
        Ok(Begun {
            sandbox,
            start,
            load: None,
            cell: None,
        })
    }

    async fn sandbox(&self, plan: &Plan) -> Result<(Sandbox, Start), LaunchError> {
        if let Some(slot) = self.refill.take(plan) {
            match slot.bind(plan).await {
                Ok(sandbox) => return Ok((sandbox, Start::Pooled)),
                Err(error) if fell(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok((self.spawner.launch(plan).await?, Start::Cold))
    }
}

impl Sandboxed {
    /// Opens the account of what was begun.
    ///
    /// # Errors
    /// When the doors of the sandbox can't be served; it is gone then.
    fn launched(&self, revision: &Revision, purpose: Purpose, begun: Begun) -> Result<Launched, StartFailure> {
        let Begun {
            mut sandbox,
            start,
            load,
            cell,
        } = begun;
        let lanes = sandbox.take_lanes();
        let listener = sandbox.take_listener();
        let outlets = self
            .egress
            .open(revision, sandbox.take_outlets())
            .map_err(|error| StartFailure::Sandbox(error.into()))?;
        let log = sandbox.take_log().expect("nobody took the log before");
        let phases = sandbox.phases();
        let stages = Stages {
            leaf: phases.leaf,
            clone: phases.clone,
            rootfs: phases.rootfs,
            confine: phases.confine,
            exec: phases.exec,
        };
        let sandbox = Arc::new(sandbox);
        let before = load.as_ref().and_then(|_| sandbox.usage().cpu).unwrap_or_default();
        self.ledger.open(&revision.name, &sandbox, before);
        if purpose != Purpose::Check {
            self.watcher.open(revision, &sandbox);
        }
        let body = Body {
            sandbox,
            function: revision.name.clone(),
            ledger: self.ledger.clone(),
            watcher: self.watcher.clone(),
            outlets,
            _cell: cell,
        };
        Ok(Launched {
            body: Box::new(body),
            lanes,
            listener,
            log,
            start,
            load,
            stages,
        })
    }
}

impl Launcher for Sandboxed {
    fn launch<'a>(&'a self, revision: &'a Revision, purpose: Purpose) -> Later<'a, Result<Launched, StartFailure>> {
        Box::pin(async move {
            let begun = match self.fork(revision, purpose).await {
                Some(forked) => forked,
                None => self.begin(revision, purpose).await?,
            };
            self.launched(revision, purpose, begun)
        })
    }

    fn execute<'a>(&'a self, revision: &'a Revision, purpose: Purpose) -> Later<'a, Result<Launched, StartFailure>> {
        Box::pin(async move {
            let begun = self.begin(revision, purpose).await?;
            self.launched(revision, purpose, begun)
        })
    }

    fn came_up(&self, revision: &Revision) {
        self.cells.prepare(revision);
    }

    fn is_up(&self) -> bool {
        self.spawner.is_up()
    }

    fn cpu(&self, function: &FunctionName) -> Option<Duration> {
        self.ledger.total(function)
    }

    fn slots_standing(&self) -> usize {
        self.refill.standing()
    }

    fn memory(&self) -> Option<HostMemory> {
        host_memory::read()
    }

    fn parked_standing(&self) -> usize {
        self.parking.standing()
    }

    fn templates_standing(&self) -> usize {
        self.cells.standing()
    }

    fn templates(&self) -> Vec<Template> {
        self.cells.templates()
    }

    fn let_go(&self, template: &Template) {
        self.cells.let_go(template);
    }

    fn forks(&self, revision: &Revision) -> bool {
        self.cells.forks(revision)
    }

    fn class(&self, revision: &Revision) -> StartClass {
        self.cells.class(revision)
    }

    fn forget_prepared(&self, function: &FunctionName) {
        self.cells.forget(function);
    }

    fn gather(&self) -> Vec<MetricFamily> {
        self.egress.gather()
    }

    fn announce_to(&self, listener: Listener) {
        self.cells.announce_to(listener);
    }

    fn forget(&self, function: &FunctionName) {
        self.cells.forget(function);
        self.ledger.close(function);
        self.watcher.removed(function);
        self.egress.forget(function);
    }
}

/// A sandbox with whose function it is.
struct Body {
    sandbox: Arc<Sandbox>,
    function: FunctionName,
    ledger: Arc<Ledger>,
    watcher: Arc<Watcher>,
    /// Where its connections lead.
    outlets: Outlets,
    /// Which would take it along when it goes.
    _cell: Option<Arc<Cell>>,
}

/// Whether what stood ahead fell while it waited, with its spawner for example: no code of a function ran in it.
fn fell(error: &LaunchError) -> bool {
    matches!(
        error,
        LaunchError::Killed(Obituary { oom_kills: 0, .. }) | LaunchError::SpawnerGone
    )
}

fn failed(error: LaunchError) -> StartFailure {
    match error {
        LaunchError::Killed(Obituary { oom_kills: 1.., .. }) => StartFailure::Died(Fate::OutOfMemory),
        LaunchError::Plan(error) => StartFailure::Plan(error.into()),
        error => StartFailure::Sandbox(error.into()),
    }
}

fn unreached(error: ReachError) -> io::Error {
    let kind = match error {
        ReachError::NotThere => io::ErrorKind::NotFound,
        ReachError::Refused => io::ErrorKind::ConnectionRefused,
        ReachError::Full => io::ErrorKind::WouldBlock,
        ReachError::Ended => io::ErrorKind::BrokenPipe,
        ReachError::Untold => io::ErrorKind::Unsupported,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

impl Confined for Body {
    fn kill(&self) {
        self.sandbox.kill();
    }

    fn terminate(&self) {
        self.sandbox.terminate();
    }

    fn gone(&self) -> Later<'_, Ending> {
        Box::pin(async {
            let obituary = self.sandbox.gone().await;
            self.outlets.close();
            self.ledger.settle(&self.function, self.sandbox.id(), obituary.cpu);
            let exit = match obituary.exit {
                sandbox::Exit::Code(code) => Exit::Code(code),
                sandbox::Exit::Signal(signal) => Exit::Signal(signal),
                sandbox::Exit::Unknown => Exit::Unknown,
            };
            Ending {
                exit,
                oom_kills: obituary.oom_kills,
                pids_hits: obituary.pids_hits,
            }
        })
    }

    fn usage(&self) -> Usage {
        let sandbox::Usage {
            memory_bytes,
            memory_peak,
            pids,
            ..
        } = self.sandbox.usage();
        Usage {
            memory_bytes,
            memory_peak,
            pids,
        }
    }

    fn number(&self) -> Option<u64> {
        Some(self.sandbox.id())
    }

    fn connect<'a>(&'a self, door: &'a Door) -> Later<'a, io::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            let stream: Box<dyn Stream> = match door {
                Door::Port(port) => {
                    let socket = self.sandbox.tcp_socket().await.map_err(unreached)?;
                    let socket = TcpSocket::from_std_stream(socket.into());
                    let stream = socket.connect((Ipv4Addr::LOCALHOST, *port).into()).await?;
                    stream.set_nodelay(true)?;
                    Box::new(stream)
                }
                Door::Path(path) => {
                    let socket = self.sandbox.connect_unix(path).await.map_err(unreached)?;
                    Box::new(UnixStream::from_std(socket.into())?)
                }
            };
            Ok(stream)
        })
    }

    fn listens(&self) -> Later<'_, io::Result<()>> {
        Box::pin(async { self.sandbox.listens().await.map_err(unreached) })
    }

    fn freeze(&self) -> io::Result<Option<Thaw>> {
        let frozen = self.sandbox.freeze()?;
        Ok(frozen.map(|frozen| -> Thaw { Box::new(|| frozen.thaw()) }))
    }

    fn reclaim(&self, go_on: &dyn Fn() -> bool) -> io::Result<Option<u64>> {
        self.sandbox.reclaim(go_on)
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        // Nobody waited for its end: what is read now is the most that will be known.
        let cpu = self.sandbox.usage().cpu.unwrap_or_default();
        self.ledger.settle(&self.function, self.sandbox.id(), cpu);
        self.watcher.close(self.sandbox.id());
    }
}
