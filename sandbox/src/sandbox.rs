//! One sandbox, as the host holds it.
//!
//! ```text
//!  launch -> starting -> running -> ending -> gone
//!                 \_________________/
//!                   kill, drop, exit, out of memory, spawner lost
//! ```
//!
//! Dropping a [`Sandbox`] kills everything in it; [`Sandbox::gone`] resolves when nothing of it is left.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::socket::{AddressFamily, Shutdown, SockFlag, SockType, shutdown, socketpair};
use nix::unistd::pipe2;
use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::sync::watch;

use crate::cgroup::leaf::{Account, Frozen, Leaf, Usage};
use crate::child::cell::{Holdings, Question};
use crate::child::slot::{FromSlot, PhaseMicros, ToSlot};
use crate::packet;
use crate::plan::{Plan, PlanError};
use crate::reach::Reach;
use crate::spawner::process::Connection;
use crate::stage::{Stage, StageError};
use crate::sys::readiness;

/// How the worker of a sandbox ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// It exited with this status.
    Code(i32),
    /// It was killed by this signal.
    Signal(i32),
    /// Nobody was left to see it: the whole sandbox was killed.
    #[default]
    Unknown,
}

/// What is known of a sandbox that is gone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Obituary {
    /// How its worker ended.
    pub exit: Exit,
    /// Tasks that the kernel killed because the limit of memory was reached.
    pub oom_kills: u64,
    /// Forks that were refused because the limit of processes was reached.
    pub pids_hits: u64,
    /// The most bytes that it held at one time; 0 where nothing counts them.
    pub memory_peak: u64,
    /// Processor time that it used in its life; 0 where nothing counts it.
    pub cpu: Duration,
}

impl Obituary {
    pub(crate) fn of(account: Account, exit: Option<Exit>) -> Self {
        let Account {
            oom_kills,
            pids_hits,
            memory_peak,
            cpu,
        } = account;
        Self {
            exit: exit.unwrap_or_default(),
            oom_kills,
            pids_hits,
            memory_peak,
            cpu,
        }
    }
}

/// A sandbox that did not start.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LaunchError {
    /// The plan can't be carried out by anybody.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A step failed.
    #[error("{failure}{}", detail.as_deref().map(|d| format!(" ({d})")).unwrap_or_default())]
    Stage {
        /// The step and its errno.
        failure: StageError,
        /// The file or directory at which it failed, where there is one.
        detail: Option<String>,
    },
    /// It was killed while it started; the obituary says why, if anything does.
    #[error("the sandbox was killed while it started{}", if .0.oom_kills > 0 { ": its limit of memory is too small to start in" } else { "" })]
    Killed(Obituary),
    /// The spawner is gone and did not come back in time.
    #[error("no spawner is running; it is being restarted")]
    SpawnerGone,
    /// Sockets and pipes could not be made: the limit of open files of this process, most likely.
    #[error("no descriptors for another sandbox ({0}); raise the limit of open files (ulimit -n)")]
    Descriptors(Arc<io::Error>),
}

/// Time that each part of a start took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Phases {
    /// The cgroup leaf and its limits.
    pub leaf: Duration,
    /// The processes and namespaces.
    pub clone: Duration,
    /// Mounts.
    pub rootfs: Duration,
    /// The worker's confinement; it overlaps with the mounts.
    pub confine: Duration,
    /// From the last mount to the execution of the program.
    pub exec: Duration,
}

impl From<PhaseMicros> for Phases {
    fn from(micros: PhaseMicros) -> Self {
        let PhaseMicros {
            leaf,
            clone,
            rootfs,
            confine,
            exec,
        } = micros;
        let [leaf, clone, rootfs, confine, exec] = [leaf, clone, rootfs, confine, exec].map(Duration::from_micros);
        Self {
            leaf,
            clone,
            rootfs,
            confine,
            exec,
        }
    }
}

/// What both the owner of a sandbox and the listener of the spawner know of it.
#[derive(Debug)]
pub(crate) struct SlotState {
    control: Arc<OwnedFd>,
    end: watch::Sender<Option<Obituary>>,
    refusal: Mutex<Option<(StageError, Option<String>)>>,
    /// What it said before it ended and nobody had read by then.
    unread: Mutex<Vec<(FromSlot, Vec<OwnedFd>)>>,
}

impl SlotState {
    /// Nothing was built.
    pub(crate) fn refuse(&self, failure: StageError, detail: Option<String>) {
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some((failure, detail));
        self.end.send_replace(Some(Obituary::default()));
    }

    /// Nothing is left. Pid 1 may have said how the worker ended before it went itself.
    pub(crate) fn end(&self, mut obituary: Obituary) {
        while let Ok(Some((message, beside))) = packet::receive::<FromSlot>(self.control.as_fd()) {
            match message {
                FromSlot::Ended(exit) => obituary.exit = exit,
                FromSlot::Failed(failure) => self.fail(failure),
                said @ (FromSlot::Ready | FromSlot::Bound(_) | FromSlot::Holds(_)) => {
                    let mut unread = self.unread.lock().unwrap_or_else(PoisonError::into_inner);
                    unread.push((said, beside));
                }
            }
        }
        self.end.send_replace(Some(obituary));
    }

    /// Waits until nothing is left.
    pub(crate) async fn gone(&self) -> Obituary {
        let mut end = self.end.subscribe();
        match end.wait_for(Option::is_some).await {
            Ok(obituary) => obituary.unwrap_or_default(),
            // The sender lives in `self`.
            Err(_) => Obituary::default(),
        }
    }

    fn fail(&self, failure: StageError) {
        let mut refusal = self.refusal.lock().unwrap_or_else(PoisonError::into_inner);
        refusal.get_or_insert((failure, None));
    }
}

/// Listeners that pid 1 makes and sends when it is bound.
#[derive(Debug, Default)]
struct Awaited {
    listener: bool,
    outlets: usize,
}

/// One sandbox. Dropping it kills everything in it.
#[derive(Debug)]
pub struct Sandbox {
    id: u64,
    leaf: Leaf,
    state: Arc<SlotState>,
    connection: Arc<Connection>,
    lanes: Vec<OwnedFd>,
    log: Option<OwnedFd>,
    /// What listens on the port of its plan, once it has come.
    listener: Option<OwnedFd>,
    /// What listens at its outlets, in their order.
    outlets: Vec<OwnedFd>,
    /// Which listeners are still to come.
    awaited: Awaited,
    reach: Reach,
    phases: Phases,
}

impl Sandbox {
    /// A sandbox that is to be built, and the end of its control socket that goes into it.
    pub(crate) fn new(id: u64, leaf: Leaf, connection: Arc<Connection>) -> Result<(Self, OwnedFd), LaunchError> {
        let (control, theirs) = packet::pair()
            .and_then(|(control, theirs)| nonblocking(&control).map(|()| (control, theirs)))
            .map_err(no_descriptors)?;
        let state = SlotState {
            control: Arc::new(control),
            end: watch::channel(None).0,
            refusal: Mutex::default(),
            unread: Mutex::default(),
        };
        let sandbox = Self {
            id,
            leaf,
            state: Arc::new(state),
            connection,
            lanes: Vec::new(),
            log: None,
            listener: None,
            outlets: Vec::new(),
            awaited: Awaited::default(),
            reach: Reach::default(),
            phases: Phases::default(),
        };
        Ok((sandbox, theirs))
    }

    pub(crate) fn state(&self) -> Arc<SlotState> {
        Arc::clone(&self.state)
    }

    /// Sets other limits than those that it was built with.
    pub(crate) fn limit(&self, plan: &Plan) -> Result<(), LaunchError> {
        self.leaf.limit(&plan.limits, plan.own_pids()).map_err(|error| {
            let errno = error.source.raw_os_error().unwrap_or(libc::EIO);
            LaunchError::Stage {
                failure: StageError {
                    stage: Stage::Leaf,
                    errno,
                },
                detail: Some(error.to_string()),
            }
        })
    }

    /// Opens its channels and says what is to run. The slot reads it as soon as it stands.
    pub(crate) fn bind(&mut self, plan: &Plan) -> Result<(), LaunchError> {
        self.open(plan, &ToSlot::Bind(plan.bind()))
    }

    /// As [`Sandbox::bind`] with a program that is to run before its code is known.
    pub(crate) fn park(&mut self, plan: &Plan) -> Result<(), LaunchError> {
        self.open(plan, &ToSlot::Park(plan.bind()))
    }

    /// Gives code to a program that is parked.
    pub(crate) fn show(&self, plan: &Plan) -> Result<(), LaunchError> {
        self.say(&ToSlot::Show(plan.show()), &[])
    }

    fn open(&mut self, plan: &Plan, word: &ToSlot) -> Result<(), LaunchError> {
        self.awaited = Awaited {
            listener: plan.listen.is_some(),
            outlets: plan.outlets.len(),
        };
        let inside = self.open_channels(plan.lanes)?;
        let inside: Vec<_> = inside.iter().map(AsFd::as_fd).collect();
        self.say(word, &inside)
    }

    fn say(&self, word: &ToSlot, fds: &[BorrowedFd<'_>]) -> Result<(), LaunchError> {
        match packet::send(self.state.control.as_fd(), word, fds) {
            // A slot that failed already says why in what it sent.
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other.map_err(no_descriptors),
        }
    }

    /// Opens its log; the end that it will write to.
    pub(crate) fn open_log(&mut self) -> Result<OwnedFd, LaunchError> {
        let (log, inside) = pipe2(nix::fcntl::OFlag::O_CLOEXEC).map_err(|e| no_descriptors(e.into()))?;
        nonblocking(&log).map_err(no_descriptors)?;
        self.log = Some(log);
        Ok(inside)
    }

    /// Opens its log and its lanes; the ends that go into it, the log first.
    pub(crate) fn open_channels(&mut self, lanes: u8) -> Result<Vec<OwnedFd>, LaunchError> {
        let mut inside = vec![self.open_log()?];
        for _ in 0..lanes {
            let pair = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC);
            let (ours, theirs) = pair.map_err(|e| no_descriptors(e.into()))?;
            nonblocking(&ours).map_err(no_descriptors)?;
            self.lanes.push(ours);
            inside.push(theirs);
        }
        Ok(inside)
    }

    /// Asks pid 1 of a cell.
    pub(crate) fn ask(&self, question: &Question) -> Result<(), LaunchError> {
        packet::send(self.state.control.as_fd(), question, &[]).map_err(no_descriptors)
    }

    /// Waits for its answer.
    pub(crate) async fn holdings(&self) -> Result<Holdings, LaunchError> {
        match self.until(|said| matches!(said, FromSlot::Holds(_))).await? {
            (FromSlot::Holds(holdings), _) => Ok(holdings),
            _ => unreachable!("nothing else was waited for"),
        }
    }

    /// Waits until it stands and can be bound.
    pub(crate) async fn ready(&self) -> Result<(), LaunchError> {
        self.until(|said| matches!(said, FromSlot::Ready)).await.map(drop)
    }

    /// Waits until the program runs, or until one that was parked has its code.
    pub(crate) async fn started(&mut self) -> Result<(), LaunchError> {
        if let (FromSlot::Bound(phases), mut beside) = self.until(|said| matches!(said, FromSlot::Bound(_))).await? {
            self.phases = phases.into();
            let awaited = std::mem::take(&mut self.awaited);
            if beside.len() != awaited.outlets + usize::from(awaited.listener) {
                // They were sent, and found no room here.
                return Err(no_descriptors(io::Error::from_raw_os_error(libc::EMFILE)));
            }
            // A parked one says so again, with nothing beside it.
            if awaited.listener {
                self.listener = Some(beside.remove(0));
            }
            self.outlets.append(&mut beside);
        }
        Ok(())
    }

    async fn until(&self, wanted: impl Fn(&FromSlot) -> bool) -> Result<(FromSlot, Vec<OwnedFd>), LaunchError> {
        let control = readiness::watch(Arc::clone(&self.state.control), Interest::READABLE).map_err(no_descriptors)?;
        loop {
            let message = control
                .async_io(Interest::READABLE, |fd| packet::receive::<FromSlot>(fd.as_fd()))
                .await;
            let (said, beside) = match message {
                Ok(Some((FromSlot::Failed(failure), _))) => {
                    self.state.fail(failure);
                    break;
                }
                Ok(Some((FromSlot::Ended(_), _)) | None) | Err(_) => break,
                Ok(Some(heard)) => heard,
            };
            if wanted(&said) {
                return Ok((said, beside));
            }
        }
        drop(control);
        // It is ending: what the spawner says of it completes the picture.
        let obituary = self.gone().await;
        // A program may have ended so soon after it began that its end was heard first.
        let unread = std::mem::take(&mut *self.state.unread.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(heard) = unread.into_iter().find(|(said, _)| wanted(said)) {
            return Ok(heard);
        }
        let refusal = self.state.refusal.lock().unwrap_or_else(PoisonError::into_inner).take();
        match refusal {
            // A worker that is out of memory is cut off in whatever it was doing.
            Some((
                StageError {
                    stage: Stage::Worker, ..
                },
                _,
            ))
            | None => Err(LaunchError::Killed(obituary)),
            Some((failure, detail)) => Err(LaunchError::Stage { failure, detail }),
        }
    }

    /// Whether nothing of it is left.
    pub fn has_ended(&self) -> bool {
        self.state.end.borrow().is_some()
    }

    /// Number of this sandbox, unique within the life of the server.
    pub fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn control(&self) -> BorrowedFd<'_> {
        self.state.control.as_fd()
    }

    pub(crate) fn connection(&self) -> Arc<Connection> {
        Arc::clone(&self.connection)
    }

    pub(crate) fn reach(&self) -> &Reach {
        &self.reach
    }

    pub(crate) fn lanes(&self) -> &[OwnedFd] {
        &self.lanes
    }

    /// The host's ends of the lanes, nonblocking stream sockets; empty at the second call.
    pub fn take_lanes(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.lanes)
    }

    /// The readable end of the pipe that standard output and error go to, nonblocking; `None` at the second call.
    pub fn take_log(&mut self) -> Option<OwnedFd> {
        self.log.take()
    }

    /// What listens on the port of the plan inside, a nonblocking and close-on-exec TCP socket: it listens since before the
    /// program was executed, and up to 128 connections wait in its queue. `None` without a port in the plan, and at the
    /// second call. Nothing inside holds it. See [`crate::reach`] for what its user has to mind.
    pub fn take_listener(&mut self) -> Option<OwnedFd> {
        self.listener.take()
    }

    /// What listens at the outlets of the plan, in their order: as [`Sandbox::take_listener`]. Empty at the second call.
    pub fn take_outlets(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.outlets)
    }

    /// How long each part of its start took. What was done ahead is no part of it.
    pub fn phases(&self) -> Phases {
        self.phases
    }

    /// What it holds now.
    pub fn usage(&self) -> Usage {
        self.leaf.usage()
    }

    /// Stops every process in it, pid 1 included: what asks that one, [`Sandbox::tcp_socket`], waits for the thaw. `None` where this
    /// host can't (cgroup v1 without a unified hierarchy of ours).
    ///
    /// # Errors
    /// When there is no descriptor left, or the kernel refuses the write.
    pub fn freeze(&self) -> io::Result<Option<Frozen>> {
        self.leaf.freeze().map_err(|error| error.source)
    }

    /// Gives its memory back to the host, to swap where there is some, and returns the bytes that it holds less; `None` where this host can't. It
    /// comes back page by page when it is touched, so this is for one that is frozen. Blocks for as long as the disk takes, and asks
    /// `go_on` now and then.
    ///
    /// # Errors
    /// When the kernel refuses; part of it may have been given back.
    pub fn reclaim(&self, go_on: &dyn Fn() -> bool) -> io::Result<Option<u64>> {
        self.leaf.reclaim(go_on).map_err(|error| error.source)
    }

    /// Asks its program to end: SIGTERM for the first process of the plan, if that is terminable. Nothing waits for it, and nothing says
    /// whether it came; [`Sandbox::gone`] tells when the program has ended, and pid 1 with it. One that is frozen hears it when it is thawed.
    pub fn terminate(&self) {
        // Nobody is there any more to be asked, or the queue is full of wishes: whoever waits kills it in the end.
        let _unsaid = self.say(&ToSlot::Terminate, &[]);
    }

    /// Kills everything in it, now; [`Sandbox::gone`] tells when it is done.
    pub fn kill(&self) {
        // Two ways, as either may be blocked: pid 1 exits at the end of its socket, unless it is frozen, and the spawner kills it.
        let _ended = shutdown(std::os::fd::AsRawFd::as_raw_fd(&self.state.control), Shutdown::Write);
        self.connection.kill(self.id);
    }

    /// Waits until no process, mount or cgroup of it is left. Can be awaited any number of times.
    pub async fn gone(&self) -> Obituary {
        self.state.gone().await
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if !self.has_ended() {
            self.kill();
        }
    }
}

pub(crate) fn no_descriptors(error: io::Error) -> LaunchError {
    LaunchError::Descriptors(Arc::new(error))
}

pub(crate) fn nonblocking(fd: &OwnedFd) -> io::Result<()> {
    Ok(rustix::io::ioctl_fionbio(fd, true)?)
}
