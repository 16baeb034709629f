//! Pid 1 of a sandbox: builds what is not code, waits to be bound, and then only reaps.
//!
//! ```text
//!  born in its namespaces -> leaf -> identity -> /proc, /tmp -> worker forked -> waiting
//!        waiting --bind--> layers mounted -> worker told -> no capability left that it does not need -> reaping
//!        waiting --park--> worker told -> program runs, waiting --show--> layers mounted -> the same -> reaping
//!        reaping --worker ended--> says how, and exits
//! ```
//!
//! The end of its control socket is the end of the sandbox: pid 1 exits and the kernel kills the rest. So is the end of the
//! worker, also of one that is parked. It looks there while it waits and while it reaps; in between, and while it is frozen,
//! only the spawner's kill reaches it. Three words do not end a sandbox that runs: the wish for a TCP socket ([`tcp`]), the wish to hear
//! that something listens (`calls`), and that the worker be asked to end. They name nothing, so that nothing of what runs inside
//! decides what pid 1 does. It lives in the outer user namespace, so it is never the one that foreign code runs
//! in; foreign code inside can neither signal it (it is pid 1), nor trace it (it is not dumpable).

use std::fs::File;
use std::io::{self, Write};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Pid, Uid, fchown, sethostname, setsid};
use rustix::process::{WaitOptions, wait};
use rustix::thread::CapabilitySet;
use serde::{Deserialize, Serialize};

use super::calls::Calls;
use super::cell::Holdings;
use super::watching::{SIGHTINGS, Viewpoint, Watching, lineage};
use super::worker::{self, Filters, FromWorker, micros};
use super::{Resident, rootfs, tcp};
use crate::packet;
use crate::plan::{BindPlan, LayerName, Program, Rootfs, ShowPlan, SlotPlan};
use crate::sandbox::Exit;
use crate::sighting::Watch;
use crate::stage::{At, Stage, StageError};
use crate::switches::{Layer, Switches};
use crate::sys::clone::{Side, clone3};
use crate::sys::{descriptors, loopback, seccomp};

/// What the host tells pid 1.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToSlot {
    /// Run this. The log and the lanes come beside it.
    Bind(BindPlan),
    /// Run this, which has no layers, and wait for them. The log and the lanes come beside it.
    Park(BindPlan),
    /// The layers for what is parked.
    Show(ShowPlan),
    /// Make a TCP socket. What to answer through comes beside it.
    Socket,
    /// Tell of a call of listen(2). What to answer through comes beside it.
    Listening,
    /// Ask the worker to end.
    Terminate,
}

/// What pid 1 tells the host.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromSlot {
    /// It stands and waits to be bound. Not said when the word to bind was there before.
    Ready,
    /// The program runs (or the resident serves); microseconds of each part. Said again when a parked one has its layers. The
    /// first time the listener, where the plan has one, is beside it, and after that one for each outlet.
    Bound(PhaseMicros),
    /// Of a cell alone: what its template holds.
    Holds(Holdings),
    /// A step failed and the sandbox is gone.
    Failed(StageError),
    /// The worker ended, and with it the sandbox.
    Ended(Exit),
}

/// Microseconds of the parts of a start.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct PhaseMicros {
    pub(crate) leaf: u64,
    pub(crate) clone: u64,
    pub(crate) rootfs: u64,
    pub(crate) confine: u64,
    pub(crate) exec: u64,
}

/// What a slot starts from.
pub(crate) struct Start<'a> {
    pub(crate) id: u64,
    pub(crate) plan: SlotPlan,
    /// `tasks` files of the leaf.
    pub(crate) tasks: Vec<File>,
    /// Socket to the host.
    pub(crate) control: OwnedFd,
    /// Socket by which all sandboxes tell what they see.
    pub(crate) sightings: BorrowedFd<'a>,
    /// Id of foreign code in the outer user namespace.
    pub(crate) worker_id: u32,
    /// The filter of this process.
    pub(crate) filter: &'a [seccomp::Instruction],
    /// Those of the worker.
    pub(crate) worker_filters: Filters<'a>,
    /// That of pid 1 where something is watched.
    pub(crate) watcher_filter: &'a [seccomp::Instruction],
    pub(crate) residents: &'a [Resident],
    pub(crate) switches: Switches,
    /// Microseconds that the leaf took, and when the clone began.
    pub(crate) leaf: u64,
    pub(crate) cloning: Instant,
}

/// Runs as pid 1, for good.
pub(crate) fn run(start: Start<'_>) -> ! {
    // Its descriptors are closed by number below; nothing may close those numbers again.
    let start = ManuallyDrop::new(start);
    let mut phases = PhaseMicros {
        leaf: start.leaf,
        clone: micros(start.cloning.elapsed()),
        ..PhaseMicros::default()
    };
    let control = match own_descriptors(&start) {
        Ok(control) => control,
        Err(failure) => {
            let _gone = packet::send(start.control.as_fd(), &FromSlot::Failed(failure), &[]);
            std::process::exit(1)
        }
    };
    let outcome = serve(&start, control, &mut phases);
    let last = match outcome {
        Ok(None) => std::process::exit(0),
        Ok(Some(exit)) => FromSlot::Ended(exit),
        Err(failure) => FromSlot::Failed(failure),
    };
    let control = descriptors::inherited(CONTROL);
    if let Ok(control) = control {
        let _gone = packet::send(control.as_fd(), &last, &[]);
    }
    std::process::exit(0)
}

/// Number of the control socket.
const CONTROL: i32 = 3;

/// Enters the leaf, then keeps only the control socket and that of the sightings of all that the spawner had open. From here on the structures
/// inherited from it name closed descriptors and are never dropped: this process ends by `exit`.
fn own_descriptors(start: &Start<'_>) -> Result<BorrowedFd<'static>, StageError> {
    for mut file in &start.tasks {
        file.write_all(b"0").at(Stage::EnterLeaf)?;
    }
    let null = File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .at(Stage::Descriptors)?;
    let number = null.as_raw_fd();
    let numbers = [
        number,
        number,
        number,
        start.control.as_raw_fd(),
        start.sightings.as_raw_fd(),
    ];
    descriptors::place(&numbers, 0).at(Stage::Descriptors)?;
    drop(null);
    descriptors::close_from(SIGHTINGS + 1).at(Stage::Descriptors)?;
    Ok(descriptors::standing(CONTROL))
}

/// `None` when the host is gone, else how the worker ended.
fn serve(
    start: &Start<'_>,
    control: BorrowedFd<'static>,
    phases: &mut PhaseMicros,
) -> Result<Option<Exit>, StageError> {
    let began = Instant::now();
    take_identity(start.switches)?;
    rootfs::prepare(&start.plan, start.worker_id, start.switches)?;
    phases.rootfs = micros(began.elapsed());

    let mut waited_for = SigSet::empty();
    waited_for.add(Signal::SIGCHLD);
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&waited_for), None).at(Stage::Worker)?;
    let (ours, theirs) = packet::pair().at(Stage::Worker)?;
    let worker = match clone3(0, None).at(Stage::Worker)? {
        Side::Parent { pid, .. } => Pid::from_raw(pid),
        Side::Child => worker::run(worker::Start {
            socket: close_all_but(theirs)?,
            outer_id: start.worker_id,
            rootfs: start.plan.rootfs,
            filters: start.worker_filters,
            residents: start.residents,
            switches: start.switches,
        }),
    };
    drop(theirs);

    let mut calls = Calls::watched_by(Watching::by(descriptors::standing(SIGHTINGS)));
    let confined = await_bind(control, ours.as_fd(), &mut calls)?;
    let mut inside = Inside {
        id: start.id,
        worker,
        starts: None,
    };
    if confined.is_some() {
        // It was built ahead: what that took is no part of the start that begins now.
        *phases = PhaseMicros::default();
    }
    let Some((word, fds)) = packet::receive::<ToSlot>(control).at(Stage::Message)? else {
        return Ok(None);
    };
    let watch;
    let mut listeners = Vec::new();
    match word {
        ToSlot::Bind(bind) => {
            let began = Instant::now();
            show(start, &bind.hostname, bind.tmp_bytes, &bind.layers)?;
            phases.rootfs += micros(began.elapsed());
            let began = Instant::now();
            listeners = listen(&bind)?;
            let told = tell(start, ours.as_fd(), &bind, fds)?;
            worker::keep(kept(bind.terminable, bind.watch))?;
            phases.confine = follow(ours, told, &mut calls, &inside)?.unwrap_or_default();
            phases.exec = micros(began.elapsed());
            inside.starts = started_by_resident(bind.program, bind.argv);
            watch = bind.watch;
        }
        ToSlot::Park(bind) => {
            // Where worker and store have one owner, the modes of the store don't keep the program out.
            rootfs::cover_store()?;
            let listeners = listen(&bind)?;
            let told = tell(start, ours.as_fd(), &bind, fds)?;
            follow(ours, told, &mut calls, &inside)?;
            say_bound(control, *phases, listeners)?;
            let plan = match reap(control, Some(worker), &mut calls, &inside)? {
                Reaped::Ended(exit) => return Ok(Some(exit)),
                Reaped::Told(ToSlot::Show(plan)) => plan,
                Reaped::Told(_) => return Err(out_of_order()),
                Reaped::HostGone => return Ok(None),
            };
            let began = Instant::now();
            rootfs::uncover_store()?;
            show(start, &plan.hostname, plan.tmp_bytes, &plan.layers)?;
            worker::keep(kept(false, plan.watch))?;
            watch = plan.watch;
            // One that ended meanwhile is not bound.
            if let Some(exit) = reap_all(Some(worker))? {
                return Ok(Some(exit));
            }
            phases.rootfs = micros(began.elapsed());
        }
        ToSlot::Show(_) | ToSlot::Socket | ToSlot::Listening | ToSlot::Terminate => return Err(out_of_order()),
    }
    say_bound(control, *phases, listeners)?;
    nix::sys::prctl::set_no_new_privs().at(Stage::NoNewPrivileges)?;
    let filter = if watch.any() {
        start.watcher_filter
    } else {
        start.filter
    };
    seccomp::attach(filter).at(Stage::Filter)?;
    calls.watching().begin(watch);
    match reap(control, Some(worker), &mut calls, &inside)? {
        Reaped::Ended(exit) => Ok(Some(exit)),
        Reaped::Told(_) | Reaped::HostGone => Ok(None),
    }
}

/// What pid 1 keeps. Foreign code may have another user id than pid 1, which then needs the right to signal it, or to read what it is about to
/// execute. In its own pid namespace pid 1 can name no process but those of its sandbox.
fn kept(terminable: bool, watch: Watch) -> CapabilitySet {
    let mut kept = CapabilitySet::empty();
    kept.set(CapabilitySet::KILL, terminable);
    kept.set(CapabilitySet::SYS_PTRACE, watch.any());
    kept
}

/// The program that a resident starts itself, as often as it likes.
fn started_by_resident(program: Program, argv: Vec<String>) -> Option<String> {
    match program {
        Program::Exec => None,
        Program::Resident(_) => argv.into_iter().next(),
    }
}

/// The one sandbox that a pid 1 sees.
struct Inside {
    id: u64,
    worker: Pid,
    /// What the worker, which is ours still, starts.
    starts: Option<String>,
}

impl Viewpoint for Inside {
    fn sandbox_of(&self, _pid: i32) -> u64 {
        self.id
    }

    fn is_own(&self, pid: i32, path: &str) -> bool {
        self.starts.as_deref() == Some(path) && lineage(pid).is_some_and(|of| of.parent == self.worker.as_raw())
    }
}

/// The listener of the plan, if it has one, then those of its outlets.
fn listen(bind: &BindPlan) -> Result<Vec<OwnedFd>, StageError> {
    let mut listeners = tcp::open(&bind.outlets)?;
    if let Some(port) = bind.listen {
        listeners.insert(0, tcp::listen(port)?);
    }
    Ok(listeners)
}

/// The listeners go outward for good: what connects to one meanwhile waits in its queue.
fn say_bound(control: BorrowedFd<'_>, phases: PhaseMicros, listeners: Vec<OwnedFd>) -> Result<(), StageError> {
    let beside: Vec<BorrowedFd<'_>> = listeners.iter().map(AsFd::as_fd).collect();
    packet::send(control, &FromSlot::Bound(phases), &beside).at(Stage::Message)
}

/// Makes the slot that of its owner: its name, the size of its /tmp, its code.
fn show(start: &Start<'_>, hostname: &str, tmp_bytes: u64, layers: &[LayerName]) -> Result<(), StageError> {
    sethostname(hostname).at(Stage::Identity)?;
    if start.switches.on(Layer::TmpfsSizes)
        && tmp_bytes != start.plan.tmp_bytes
        && start.plan.rootfs == Rootfs::ReadOnly
    {
        rootfs::resize(tmp_bytes)?;
    }
    rootfs::bind(start.plan.rootfs, layers)?;
    rootfs::make_read_only(&start.plan.restrictions.read_only)
}

/// Tells the worker what to run. The inner result is whether it heard that, which [`follow`] wants to know.
fn tell(
    start: &Start<'_>,
    worker: BorrowedFd<'_>,
    bind: &BindPlan,
    fds: Vec<OwnedFd>,
) -> Result<io::Result<()>, StageError> {
    if let Some(log) = fds.first().filter(|_| start.worker_id != 0) {
        // A pipe can be opened again, as /dev/stderr, by its owner alone.
        let owner = start.worker_id;
        fchown(log, Some(Uid::from_raw(owner)), Some(Gid::from_raw(owner))).at(Stage::Descriptors)?;
    }
    let borrowed: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
    Ok(packet::send(worker, bind, &borrowed))
}

fn out_of_order() -> StageError {
    StageError {
        stage: Stage::Message,
        errno: libc::EPROTO,
    }
}

/// The worker keeps its own socket alone: the control socket must end with pid 1.
fn close_all_but(socket: OwnedFd) -> Result<OwnedFd, StageError> {
    descriptors::place(&[socket.as_raw_fd()], CONTROL).at(Stage::Descriptors)?;
    descriptors::close_from(CONTROL + 1).at(Stage::Descriptors)?;
    std::mem::forget(socket);
    let socket = descriptors::inherited(CONTROL).at(Stage::Descriptors)?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC).at(Stage::Descriptors)?;
    Ok(socket)
}

fn take_identity(switches: Switches) -> Result<(), StageError> {
    setsid().at(Stage::Identity)?;
    umask(Mode::from_bits_truncate(0o077));
    // Once in its leaf: the leaf is then the root of what it sees.
    if switches.on(Layer::CgroupNamespace) {
        unshare(CloneFlags::CLONE_NEWCGROUP).at(Stage::Identity)?;
    }
    if switches.on(Layer::NetNamespace) {
        loopback::up().at(Stage::Loopback)?;
    }
    Ok(())
}

/// Waits for the word to bind. A worker that is confined before that makes the slot ready, which the host is told; the
/// result is how long its confinement took.
fn await_bind(control: BorrowedFd<'_>, worker: BorrowedFd<'_>, calls: &mut Calls) -> Result<Option<u64>, StageError> {
    let mut both = [
        PollFd::new(control, PollFlags::POLLIN),
        PollFd::new(worker, PollFlags::POLLIN),
    ];
    loop {
        match poll(&mut both, PollTimeout::NONE) {
            Err(nix::Error::EINTR) => continue,
            other => other.at(Stage::Worker)?,
        };
        if both[0].any().unwrap_or(true) {
            return Ok(None);
        }
        match packet::receive::<FromWorker>(worker).at(Stage::Message)? {
            Some((FromWorker::Confined { micros, tells }, beside)) => {
                heed(calls, tells, beside)?;
                packet::send(control, &FromSlot::Ready, &[]).at(Stage::Message)?;
                return Ok(Some(micros));
            }
            Some((FromWorker::Failed(failure), _)) => return Err(failure),
            Some((FromWorker::Starting, _)) | None => return Err(cut_off()),
        }
    }
}

/// Reads what the worker says until it executes the program, and lets it. The result is how long it took to confine itself, unless that
/// was said before. One that failed to confine itself has said why and is gone: its message counts, not that it was not
/// `told`.
fn follow(
    worker: OwnedFd,
    told: io::Result<()>,
    calls: &mut Calls,
    inside: &Inside,
) -> Result<Option<u64>, StageError> {
    let mut confined = None;
    let mut starting = false;
    loop {
        until_said(worker.as_fd(), calls, inside)?;
        match packet::receive::<FromWorker>(worker.as_fd()).at(Stage::Message)? {
            Some((FromWorker::Confined { micros, tells }, beside)) => {
                heed(calls, tells, beside)?;
                confined = Some(micros);
            }
            Some((FromWorker::Starting, _)) => starting = true,
            Some((FromWorker::Failed(failure), _)) => return Err(failure),
            None if starting => break,
            None => return Err(cut_off()),
        }
    }
    told.at(Stage::Message)?;
    Ok(confined)
}

/// Answers calls until there is something to read of who is being started, which may be the caller.
pub(super) fn until_said(starting: BorrowedFd<'_>, calls: &mut Calls, from: &dyn Viewpoint) -> Result<(), StageError> {
    loop {
        let looked_at = [Some(starting), calls.told()];
        let mut looked_at: Vec<PollFd<'_>> = looked_at
            .into_iter()
            .flatten()
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
            .collect();
        match poll(&mut looked_at, PollTimeout::NONE) {
            Err(nix::Error::EINTR) => continue,
            other => other.at(Stage::Worker)?,
        };
        if looked_at[0].any().unwrap_or(true) {
            return Ok(());
        }
        let waits = looked_at.get(1).and_then(PollFd::revents);
        if waits.is_some_and(|waits| waits.contains(PollFlags::POLLIN)) {
            calls.answer(from)?;
        } else {
            calls.end();
        }
    }
}

/// From here on pid 1 hears of the calls of who is being started, if they are told of.
pub(super) fn heed(calls: &mut Calls, tells: bool, mut beside: Vec<OwnedFd>) -> Result<(), StageError> {
    if tells {
        // What was sent found no room here, and without it calls would fail.
        let missing = io::Error::from_raw_os_error(libc::EMFILE);
        calls.hear_by(beside.pop().ok_or(missing).at(Stage::Descriptors)?);
    }
    Ok(())
}

/// A worker that ended without a word was killed, most likely by the limit of memory.
pub(super) fn cut_off() -> StageError {
    StageError {
        stage: Stage::Worker,
        errno: libc::ECHILD,
    }
}

/// Why pid 1 stopped reaping.
pub(super) enum Reaped {
    /// The worker ended.
    Ended(Exit),
    /// The host said something that is not answered on the way.
    Told(ToSlot),
    /// The host hung up.
    HostGone,
}

/// Reaps every process that ends, makes sockets for the host, and answers the calls that it is told of, until the worker ends,
/// where there is one, or the host says something else or is gone.
pub(super) fn reap(
    control: BorrowedFd<'_>,
    worker: Option<Pid>,
    calls: &mut Calls,
    from: &dyn Viewpoint,
) -> Result<Reaped, StageError> {
    let mut waited_for = SigSet::empty();
    waited_for.add(Signal::SIGCHLD);
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&waited_for), None).at(Stage::Worker)?;
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    let signals = SignalFd::with_flags(&waited_for, flags).at(Stage::Worker)?;
    loop {
        if let Some(exit) = reap_all(worker)? {
            return Ok(Reaped::Ended(exit));
        }
        let looked_at = [Some(signals.as_fd()), Some(control), calls.told()];
        let mut looked_at: Vec<PollFd<'_>> = looked_at
            .into_iter()
            .flatten()
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
            .collect();
        match poll(&mut looked_at, PollTimeout::NONE) {
            Err(nix::Error::EINTR) => continue,
            other => other.at(Stage::Worker)?,
        };
        let seen = |at: usize| {
            looked_at
                .get(at)
                .and_then(PollFd::revents)
                .unwrap_or(PollFlags::empty())
        };
        let (host, told) = (seen(1), seen(2));
        if told.contains(PollFlags::POLLIN) {
            calls.answer(from)?;
        } else if !told.is_empty() {
            calls.end();
        }
        if !host.is_empty() {
            match packet::receive::<ToSlot>(control).at(Stage::Message)? {
                Some((ToSlot::Socket, beside)) => tcp::answer(beside),
                Some((ToSlot::Listening, beside)) => calls.wished(beside),
                Some((ToSlot::Terminate, _)) => {
                    // It has ended, which is seen next, or its ids are not ours and the plan said nothing of this.
                    let _unheard = worker.map(|worker| kill(worker, Signal::SIGTERM));
                }
                Some((word, _)) => return Ok(Reaped::Told(word)),
                None => return Ok(Reaped::HostGone),
            }
        }
        while signals.read_signal().at(Stage::Worker)?.is_some() {}
    }
}

fn reap_all(worker: Option<Pid>) -> Result<Option<Exit>, StageError> {
    loop {
        // By rustix, as nix knows no real-time signals and calls an end by one an error.
        let ended = match wait(WaitOptions::NOHANG) {
            Err(rustix::io::Errno::CHILD) => None,
            other => other.at(Stage::Worker)?,
        };
        let Some((pid, status)) = ended else { return Ok(None) };
        if worker.is_some_and(|worker| pid.as_raw_pid() == worker.as_raw()) {
            let code = status.exit_status().map(Exit::Code);
            return Ok(code.or(status.terminating_signal().map(Exit::Signal)));
        }
    }
}
