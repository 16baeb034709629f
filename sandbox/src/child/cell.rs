//! Pid 1 of a cell: the user and pid namespace of one function, in which its template lives and its slots are built.
//!
//! ```text
//!  born in its namespaces -> ids mapped -> root with the function's layers, once -> template executed -> serving
//!        serving: slots are cloned here (their root is a copy of this one), killed, and reaped with their forks
//! ```
//!
//! A fork of the template runs in a slot, and is a child of this process (CLONE_PARENT), with a pid that was named ahead:
//! so its end is seen here, whatever the template says. The end of the host's or the spawner's socket is the end of the
//! cell and, by the kernel's hand, of all in it. It holds every capability over the cell's own namespaces and runs no
//! foreign code.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, mkdir, sethostname, setresgid, setresuid, setsid};
use rustix::fs::CWD;
use rustix::mount::{MoveMountFlags, move_mount};
use rustix::process::{WaitOptions, wait};
use rustix::thread::CapabilitiesSecureBits;
use serde::{Deserialize, Serialize};

use super::calls::Calls;
use super::slot::{self, FromSlot, PhaseMicros};
use super::watching::{Lineage, Viewpoint, Watching, lineage};
use super::worker::{Filters, FromWorker, INNER_ID};
use super::{cell_slot, procfs, rootfs, template};
use crate::packet;
use crate::plan::{BindPlan, Rootfs, SlotPlan};
use crate::sandbox::Exit;
use crate::spawner::protocol::{FromCell, ToCell};
use crate::stage::{At, Stage, StageError};
use crate::sys::clone::{Side, clone3, clone3_as};
use crate::sys::{descriptors, loopback, seccomp};

/// What a cell starts from.
pub(crate) struct Start<'a> {
    pub(crate) id: u64,
    pub(crate) plan: SlotPlan,
    pub(crate) bind: BindPlan,
    /// `tasks` files of the leaf of the template and of this process.
    pub(crate) tasks: Vec<File>,
    /// Sockets to the host and to the spawner.
    pub(crate) control: OwnedFd,
    pub(crate) spawner: OwnedFd,
    /// The template's end of its orders, and the other end, through which slots are announced to it.
    pub(crate) orders: OwnedFd,
    pub(crate) announce: OwnedFd,
    pub(crate) log: OwnedFd,
    /// Socket by which all sandboxes tell what they see.
    pub(crate) sightings: BorrowedFd<'a>,
    /// A detached tree for each layer of the plan.
    pub(crate) layers: Vec<OwnedFd>,
    pub(crate) filter: &'a [seccomp::Instruction],
    /// Those of the template.
    pub(crate) template_filters: Filters<'a>,
}

/// What the host asks of a cell.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Question {
    /// What does the template hold?
    Inspect,
}

/// What a template holds, as its cell sees it: its own word would be worth nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holdings {
    /// Threads, the first one included.
    pub threads: usize,
    /// Open descriptors beside those it was started with, by what they lead to.
    pub descriptors: Vec<String>,
    /// Memory that it could write and that its forks would share, by what is mapped.
    pub shared: Vec<String>,
}

/// Pid of the template in its cell. It must differ from the pid of each of its forks, which is 2 in its own pid namespace:
/// OpenSSL tells a fork by getpid(), and two that take themselves for one another draw the same random bytes.
const TEMPLATE: i32 = 19_999;
/// Pids of forks in the cell begin here, one for each slot. Below the smallest `pid_max` that is common.
const FIRST_FORK: u64 = 20_000;
const MOST_FORKS: u64 = 10_000;
/// How many ancestors of a process are looked at to find whose it is.
const MOST_ANCESTORS: usize = 32;

const CONTROL: RawFd = 3;
const SPAWNER: RawFd = 4;
const ORDERS: RawFd = 5;
const ANNOUNCE: RawFd = 6;
const LOG: RawFd = 7;
const SIGHTINGS: RawFd = 8;
const FIRST_LAYER: RawFd = 9;

/// Runs as pid 1 of the cell, for good.
pub(crate) fn run(start: Start<'_>) -> ! {
    // Its descriptors are closed by number below; nothing may close those numbers again.
    let start = ManuallyDrop::new(start);
    let outcome = own_descriptors(&start)
        .and_then(|()| stand(&start))
        .and_then(|(cell, calls)| cell.serve(calls));
    if let Err(failure) = outcome
        && let Ok(control) = descriptors::inherited(CONTROL)
    {
        let _gone = packet::send(control.as_fd(), &FromSlot::Failed(failure), &[]);
    }
    std::process::exit(0)
}

fn own_descriptors(start: &Start<'_>) -> Result<(), StageError> {
    // While it is still the user who opened them.
    for mut file in &start.tasks {
        file.write_all(b"0").at(Stage::EnterLeaf)?;
    }
    let null = File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .at(Stage::Descriptors)?;
    let number = null.as_raw_fd();
    let mut numbers = vec![number, number, number];
    let own = [
        &start.control,
        &start.spawner,
        &start.orders,
        &start.announce,
        &start.log,
    ];
    numbers.extend(own.into_iter().map(AsRawFd::as_raw_fd));
    numbers.push(start.sightings.as_raw_fd());
    numbers.extend(start.layers.iter().map(AsRawFd::as_raw_fd));
    descriptors::place(&numbers, 0).at(Stage::Descriptors)?;
    drop(null);
    descriptors::close_from(numbers.len() as RawFd).at(Stage::Descriptors)
}

fn stand(start: &Start<'_>) -> Result<(Cell, Calls), StageError> {
    let (control, spawner) = (descriptors::standing(CONTROL), descriptors::standing(SPAWNER));
    match packet::receive::<ToCell>(spawner).at(Stage::IdMap)? {
        Some((ToCell::Mapped, _)) => {}
        _ => std::process::exit(0),
    }
    take_identity(&start.bind.hostname)?;
    build_root(start)?;
    let mut waited_for = SigSet::empty();
    waited_for.add(Signal::SIGCHLD);
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&waited_for), None).at(Stage::Worker)?;
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    let signals = SignalFd::with_flags(&waited_for, flags).at(Stage::Worker)?;
    let (ours, theirs) = packet::pair().at(Stage::Worker)?;
    match clone3_as(0, None, Some(TEMPLATE)).at(Stage::Worker)? {
        Side::Parent { .. } => drop(theirs),
        Side::Child => template::run(template::Start {
            socket: theirs,
            orders: ORDERS,
            log: LOG,
            bind: &start.bind,
            plan: &start.plan,
            filters: start.template_filters,
            watched: start.bind.watch.any(),
        }),
    }
    // Nobody but the template reads its orders.
    for number in [ORDERS, LOG] {
        drop(descriptors::inherited(number).at(Stage::Descriptors)?);
    }
    let cell = Cell {
        id: start.id,
        control,
        spawner,
        signals,
        filter: start.filter.to_vec(),
        slots: HashMap::new(),
        inits: HashMap::new(),
    };
    let mut calls = Calls::watched_by(Watching::by(descriptors::standing(SIGHTINGS)));
    follow(ours.as_fd(), &mut calls, &cell)?;
    calls.watching().begin(start.bind.watch);
    packet::send(control, &FromSlot::Bound(PhaseMicros::default()), &[]).at(Stage::Message)?;
    Ok((cell, calls))
}

fn take_identity(hostname: &str) -> Result<(), StageError> {
    // A new user namespace begins without it: the ids below must not cost the capabilities.
    rustix::thread::set_capabilities_secure_bits(CapabilitiesSecureBits::NO_SETUID_FIXUP).at(Stage::Identity)?;
    let (uid, gid) = (Uid::from_raw(INNER_ID), Gid::from_raw(INNER_ID));
    setresgid(gid, gid, gid).at(Stage::Identity)?;
    setresuid(uid, uid, uid).at(Stage::Identity)?;
    setsid().at(Stage::Identity)?;
    umask(Mode::from_bits_truncate(0o077));
    sethostname(hostname).at(Stage::Identity)?;
    loopback::up().at(Stage::Loopback)
}

/// The root that every slot of the cell begins with a copy of: the base with the function's layers. Its /proc is the cell's own
/// until the slot mounts another one over it.
fn build_root(start: &Start<'_>) -> Result<(), StageError> {
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).at(Stage::BaseRoot)?;
    procfs::mount_fresh(Path::new("/proc"))?;
    rootfs::capped(rootfs::LAYERS, 1 << 16, rootfs::NO_DEVICES)?;
    for (number, layer) in (FIRST_LAYER..).zip(&start.bind.layers) {
        let tree = descriptors::inherited(number).at(Stage::Descriptors)?;
        let at = Path::new(rootfs::LAYERS).join(layer.as_str());
        mkdir(&at, Mode::S_IRWXU).at(Stage::Layers)?;
        move_mount(&tree, "", CWD, &at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).at(Stage::Layers)?;
    }
    rootfs::bind(Rootfs::ReadOnly, &start.bind.layers)
}

/// Waits until the template is executed, and lets it be.
fn follow(template: BorrowedFd<'_>, calls: &mut Calls, cell: &Cell) -> Result<(), StageError> {
    let mut starting = false;
    loop {
        slot::until_said(template, calls, cell)?;
        match packet::receive::<FromWorker>(template).at(Stage::Message)? {
            Some((FromWorker::Confined { tells, .. }, beside)) => slot::heed(calls, tells, beside)?,
            Some((FromWorker::Starting, _)) => starting = true,
            Some((FromWorker::Failed(failure), _)) => return Err(failure),
            None if starting => return Ok(()),
            None => return Err(slot::cut_off()),
        }
    }
}

/// A cell that stands.
struct Cell {
    id: u64,
    control: BorrowedFd<'static>,
    spawner: BorrowedFd<'static>,
    signals: SignalFd,
    filter: Vec<seccomp::Instruction>,
    /// By the slot's id.
    slots: HashMap<u64, Tenant>,
    /// Pid 1 of each slot, as seen here, and the slot's id.
    inits: HashMap<i32, u64>,
}

/// A slot of the cell.
struct Tenant {
    pidfd: OwnedFd,
    /// How the fork in it ended.
    exit: Exit,
}

impl Cell {
    fn serve(mut self, mut calls: Calls) -> Result<(), StageError> {
        loop {
            self.reap()?;
            let all = [
                Some(self.signals.as_fd()),
                Some(self.spawner),
                Some(self.control),
                calls.told(),
            ];
            let mut all: Vec<PollFd<'_>> = all
                .into_iter()
                .flatten()
                .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
                .collect();
            match poll(&mut all, PollTimeout::NONE) {
                Err(nix::Error::EINTR) => continue,
                other => other.at(Stage::Worker)?,
            };
            let seen = |at: usize| all.get(at).and_then(PollFd::revents).unwrap_or(PollFlags::empty());
            let (from_spawner, from_host, told) = (!seen(1).is_empty(), !seen(2).is_empty(), seen(3));
            while self.signals.read_signal().at(Stage::Worker)?.is_some() {}
            if told.contains(PollFlags::POLLIN) {
                calls.answer(&self)?;
            } else if !told.is_empty() {
                calls.end();
            }
            if from_spawner {
                match packet::receive::<ToCell>(self.spawner).at(Stage::Message)? {
                    None => return Ok(()),
                    Some((ToCell::Mapped, _)) => {}
                    Some((ToCell::Kill { id }, _)) => self.kill(id),
                    Some((
                        ToCell::Slot {
                            id,
                            plan,
                            hostname,
                            born_in,
                            entrances,
                        },
                        fds,
                    )) => {
                        let start = cell_slot::Start {
                            id,
                            fork: fork_pid(id),
                            plan,
                            hostname,
                            fds,
                            entrances,
                            born_in,
                        };
                        if let Err(failure) = self.build(id, start) {
                            self.say(&FromCell::Refused { id, failure })?;
                        }
                    }
                }
            }
            if from_host {
                match packet::receive::<Question>(self.control).at(Stage::Message)? {
                    None => return Ok(()),
                    Some((Question::Inspect, _)) => {
                        let holdings = inspect().at(Stage::Procfs)?;
                        packet::send(self.control, &FromSlot::Holds(holdings), &[]).at(Stage::Message)?;
                    }
                }
            }
        }
    }

    /// The slot whose pid 1, or whose fork, has this pid.
    fn slot_of(&self, process: i32) -> Option<u64> {
        let init = self.inits.get(&process).copied();
        init.or_else(|| self.slot_of_fork(process))
    }

    fn say(&self, message: &FromCell) -> Result<(), StageError> {
        packet::send(self.spawner, message, &[]).at(Stage::Message)
    }

    fn build(&mut self, id: u64, start: cell_slot::Start) -> Result<(), StageError> {
        let leaf = start.birthplace()?;
        let namespaces =
            libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS | libc::CLONE_NEWNET;
        match clone3(namespaces, leaf).at(Stage::Clone)? {
            Side::Child => cell_slot::run(start, descriptors::standing(ANNOUNCE), &self.filter),
            Side::Parent { pid, pidfd } => {
                self.inits.insert(pid, id);
                let exit = Exit::Unknown;
                self.slots.insert(id, Tenant { pidfd, exit });
                Ok(())
            }
        }
    }

    fn kill(&self, id: u64) {
        if let Some(slot) = self.slots.get(&id) {
            // It may have ended by itself in the meantime; its pidfd can't mean anybody else.
            let _ended = rustix::process::pidfd_send_signal(&slot.pidfd, rustix::process::Signal::KILL);
        }
    }

    fn reap(&mut self) -> Result<(), StageError> {
        loop {
            // By rustix, as nix calls an end by a real-time signal an error.
            let ended = match wait(WaitOptions::NOHANG) {
                Err(rustix::io::Errno::CHILD) => None,
                other => other.at(Stage::Worker)?,
            };
            let Some((pid, status)) = ended else { return Ok(()) };
            let pid = pid.as_raw_pid();
            let code = status.exit_status().map(Exit::Code);
            let exit = code
                .or(status.terminating_signal().map(Exit::Signal))
                .unwrap_or_default();
            if let Some(id) = self.inits.remove(&pid) {
                let seen = self.slots.remove(&id).map_or(Exit::Unknown, |slot| slot.exit);
                self.say(&FromCell::Gone { id, exit: seen })?;
            } else if let Some(id) = self.slot_of_fork(pid) {
                if let Some(slot) = self.slots.get_mut(&id) {
                    slot.exit = exit;
                }
                self.kill(id);
            }
        }
    }

    fn slot_of_fork(&self, pid: i32) -> Option<u64> {
        self.slots.keys().copied().find(|id| fork_pid(*id) == pid)
    }
}

impl Viewpoint for Cell {
    /// By its ancestors. One that is the template's, or whose ancestors can't be followed, is of the cell.
    fn sandbox_of(&self, pid: i32) -> u64 {
        let mut pid = pid;
        for _ in 0..MOST_ANCESTORS {
            let Some(Lineage { process, parent }) = lineage(pid) else {
                break;
            };
            if let Some(slot) = self.slot_of(process) {
                return slot;
            }
            pid = parent;
        }
        self.id
    }

    fn is_own(&self, _pid: i32, _path: &str) -> bool {
        false
    }
}

/// The pid in the cell of the fork in a slot.
fn fork_pid(slot: u64) -> i32 {
    i32::try_from(FIRST_FORK + slot % MOST_FORKS).expect("it is below 30,000")
}

fn inspect() -> std::io::Result<Holdings> {
    let proc = Path::new("/proc").join(TEMPLATE.to_string());
    let mut holdings = Holdings {
        threads: fs::read_dir(proc.join("task"))?.count(),
        ..Holdings::default()
    };
    for entry in fs::read_dir(proc.join("fd"))? {
        let entry = entry?;
        let number = entry.file_name().to_string_lossy().parse().unwrap_or(RawFd::MAX);
        if number >= template::FIRST_OF_ITS_OWN {
            let target = fs::read_link(entry.path())?;
            holdings.descriptors.push(target.to_string_lossy().into_owned());
        }
    }
    for line in fs::read_to_string(proc.join("maps"))?.lines() {
        let mut fields = line.split_ascii_whitespace();
        let rights = fields.nth(1).unwrap_or_default();
        if rights.contains('w') && rights.ends_with('s') {
            holdings.shared.push(fields.nth(3).unwrap_or("memory").to_owned());
        }
    }
    Ok(holdings)
}
