//! The second process of a spawner: pid 1 of the outer pid namespace, single-threaded, without environment.
//!
//! It owns every slot's process and leaf; those of slots in cells by way of the cell's pid 1, see `cells`. The control socket is its life line: when that ends it kills what runs, removes
//! the cgroups and ends, and should it not get to that, every slot has a socket to the host of its own that ends too. It decides nothing; the host says build and kill, it says refused and gone.

mod cells;
mod visits;

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::epoll;
use rustix::process::{WaitOptions, wait};
use rustix::thread::CapabilitiesSecureBits;

use self::visits::Visitor;
use super::base;
use super::protocol::{Config, FromSpawner, ToSpawner};
use crate::cgroup::leaf::{Entrance, Leaf, LeafError};
use crate::cgroup::{CgroupTree, Hierarchy};
use crate::child::worker::{Filters, micros};
use crate::child::{Resident, slot};
use crate::filter::policy::Subject;
use crate::filter::program_denying;
use crate::packet;
use crate::plan::{Rootfs, SlotPlan};
use crate::sandbox::Exit;
use crate::sighting::Watch;
use crate::stage::{At, Stage, StageError};
use crate::switches::{Layer, Switches};
use crate::sys::clone::{Side, clone3};
use crate::sys::credentials;
use crate::sys::seccomp::Instruction;

const CONTROL_TOKEN: u64 = u64::MAX;
const CHILD_TOKEN: u64 = u64::MAX - 1;
/// How long to wait before a leaf that is still in use is tried again.
const RETRY: rustix::event::Timespec = rustix::event::Timespec {
    tv_sec: 0,
    tv_nsec: 2_000_000,
};

/// Bytes of a `/tmp` whose size is off: more than any machine has.
const WITHOUT_SIZE: u64 = 1 << 40;

/// How long the last processes may take to die once the host is gone.
const FAREWELL: Duration = Duration::from_secs(5);

/// A slot or a cell that runs.
struct Running {
    leaf: Leaf,
    process: Process,
    /// Version 1 only: the kernel kills one task of a leaf that is out of memory, this tells us to kill the rest.
    out_of_memory: Option<OwnedFd>,
    /// That event has come: we are often faster than the kernel's own kill, which is then never counted.
    ran_out: bool,
    /// How its worker ended, where pid 1 of a cell saw it.
    exit: Option<Exit>,
}

/// What of it is a child of this process.
enum Process {
    /// Pid 1 of a slot, and what can be written in it.
    Slot { pidfd: OwnedFd, rootfs: Rootfs },
    /// Pid 1 of a cell, and the socket to it.
    Cell { pidfd: OwnedFd, socket: OwnedFd },
    /// Nothing: pid 1 of this cell is the parent.
    InCell(u64),
}

struct Spawner<'a> {
    control: BorrowedFd<'a>,
    sightings: BorrowedFd<'a>,
    events: OwnedFd,
    tree: CgroupTree,
    worker_ids: u32,
    filter: Vec<Instruction>,
    telling_filter: Vec<Instruction>,
    template_filter: Vec<Instruction>,
    telling_template_filter: Vec<Instruction>,
    watcher_filter: Vec<Instruction>,
    /// This mount namespace, and a copy of it without the store, in which cells begin.
    mounts: File,
    without_store: File,
    residents: &'a [Resident],
    switches: Switches,
    /// What any sandbox may be told to watch.
    watch: Watch,
    running: HashMap<u64, Running>,
    /// Pid 1 of each running slot, as seen here, and the slot's id.
    by_pid: HashMap<i32, u64>,
    /// Processes that are in a slot for a moment, by their pids.
    visitors: HashMap<i32, Visitor>,
    /// Slots whose processes are gone and whose leaf is still in use.
    leaving: Vec<(u64, Running)>,
}

/// Serves until the host is gone.
pub(super) fn run(
    config: Config,
    control: BorrowedFd<'_>,
    sightings: BorrowedFd<'_>,
    residents: &[Resident],
) -> Result<(), StageError> {
    // The directories of the cgroups are not part of the new root: descriptors keep the way to them.
    let (tree, _held) = reach_by_descriptor(&config.tree).at(Stage::Leaf)?;
    leave_keyring()?;
    base::build(&config)?;
    let (mounts, without_store) = cells::copy_without_store()?;
    // Files are opened as other users of the outer namespace, which must not cost the right to do so.
    rustix::thread::set_capabilities_secure_bits(CapabilitiesSecureBits::NO_SETUID_FIXUP).at(Stage::BaseRoot)?;
    if config.switches.on(Layer::Dumpable) {
        prctl::set_dumpable(false).at(Stage::BaseRoot)?;
    }
    let mut children = SigSet::empty();
    children.add(Signal::SIGCHLD);
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&children), None).at(Stage::BaseRoot)?;
    let signals =
        SignalFd::with_flags(&children, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).at(Stage::BaseRoot)?;
    let events = epoll::create(epoll::CreateFlags::CLOEXEC).at(Stage::BaseRoot)?;
    let readable = epoll::EventFlags::IN;
    epoll::add(&events, control, epoll::EventData::new_u64(CONTROL_TOKEN), readable).at(Stage::BaseRoot)?;
    epoll::add(&events, &signals, epoll::EventData::new_u64(CHILD_TOKEN), readable).at(Stage::BaseRoot)?;
    let mut spawner = Spawner {
        control,
        sightings,
        events,
        tree,
        worker_ids: config.subordinate.map_or(0, |ids| ids.count),
        filter: crate::filter::program(Subject::Foreign),
        telling_filter: crate::filter::program(Subject::Worker(config.watch)),
        template_filter: crate::filter::program(Subject::Template(Watch::default())),
        telling_template_filter: crate::filter::program(Subject::Template(config.watch)),
        watcher_filter: crate::filter::program(Subject::Watcher),
        mounts,
        without_store,
        residents,
        switches: config.switches,
        watch: config.watch,
        running: HashMap::new(),
        by_pid: HashMap::new(),
        visitors: HashMap::new(),
        leaving: Vec::new(),
    };
    spawner.say(&FromSpawner::Ready)?;
    spawner.serve(&signals)
}

/// All sandboxes inherit one sealed keyring: one of its own for each would count against what the user may hold, 200 keys
/// mostly, and let no more than that many live.
fn leave_keyring() -> Result<(), StageError> {
    match credentials::sealed_session_keyring() {
        // A kernel without keyrings has nothing to inherit.
        Err(e) if e.raw_os_error() == Some(libc::ENOSYS) => Ok(()),
        other => other.at(Stage::Identity),
    }
}

/// The same tree by way of `/proc/self/fd`, and the descriptors that hold it open.
fn reach_by_descriptor(tree: &CgroupTree) -> std::io::Result<(CgroupTree, Vec<File>)> {
    let mut held: Vec<(std::path::PathBuf, File)> = Vec::new();
    let mut reach = |hierarchy: &Option<Hierarchy>| -> std::io::Result<Option<Hierarchy>> {
        let Some(Hierarchy { dir, version }) = hierarchy else {
            return Ok(None);
        };
        let number = match held.iter().find(|(path, _)| path == dir) {
            Some((_, file)) => file.as_raw_fd(),
            None => {
                let file = File::open(dir)?;
                let number = file.as_raw_fd();
                held.push((dir.clone(), file));
                number
            }
        };
        Ok(Some(Hierarchy {
            dir: format!("/proc/self/fd/{number}").into(),
            version: *version,
        }))
    };
    let tree = CgroupTree {
        memory: reach(&tree.memory)?,
        cpu: reach(&tree.cpu)?,
        pids: reach(&tree.pids)?,
        cpu_account: reach(&tree.cpu_account)?,
        freezer: reach(&tree.freezer)?,
    };
    Ok((tree, held.into_iter().map(|(_, file)| file).collect()))
}

/// The namespaces that a slot is born in.
fn namespaces(switches: Switches) -> i32 {
    let mut flags = libc::CLONE_NEWNS | libc::CLONE_NEWUTS;
    for (layer, flag) in [
        (Layer::PidNamespace, libc::CLONE_NEWPID),
        (Layer::IpcNamespace, libc::CLONE_NEWIPC),
        (Layer::NetNamespace, libc::CLONE_NEWNET),
    ] {
        if switches.on(layer) {
            flags |= flag;
        }
    }
    flags
}

impl Spawner<'_> {
    fn say(&self, message: &FromSpawner) -> Result<(), StageError> {
        match packet::send(self.control, message, &[]) {
            // The host is gone, which the end of the socket is about to tell.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            other => other.at(Stage::Message),
        }
    }

    /// The host is gone: nothing of any sandbox is left behind, its cgroups included.
    fn leave(&mut self, signals: &SignalFd) -> Result<(), StageError> {
        for id in self.running.keys() {
            self.kill(*id);
        }
        let until = Instant::now() + FAREWELL;
        while !(self.running.is_empty() && self.leaving.is_empty()) && Instant::now() < until {
            let mut child = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
            match poll(&mut child, PollTimeout::from(2u8)) {
                Err(nix::Error::EINTR) => {}
                other => other.map(drop).at(Stage::Message)?,
            }
            while signals.read_signal().at(Stage::Message)?.is_some() {}
            self.reap()?;
            self.part()?;
        }
        // What can't go now is found by the next start.
        let _left = self.tree.sweep();
        Ok(())
    }

    fn serve(&mut self, signals: &SignalFd) -> Result<(), StageError> {
        let mut ready = Vec::with_capacity(64);
        loop {
            let timeout = (!self.leaving.is_empty()).then_some(&RETRY);
            ready.clear();
            match epoll::wait(&self.events, rustix::buffer::spare_capacity(&mut ready), timeout) {
                Err(rustix::io::Errno::INTR) => {}
                other => other.map(drop).at(Stage::Message)?,
            }
            for event in &ready {
                match event.data.u64() {
                    CONTROL_TOKEN => match packet::receive::<ToSpawner>(self.control).at(Stage::Message)? {
                        None => return self.leave(signals),
                        Some((ToSpawner::Kill { id }, _)) => self.kill(id),
                        Some((ToSpawner::Visit { id, path }, fds)) => self.visit(id, path, fds),
                        Some((ToSpawner::Build { id, leaf, plan }, fds)) => self.build(id, &leaf, plan, fds)?,
                        Some((ToSpawner::Cell { id, leaf, plan, bind }, fds)) => {
                            self.build_cell(id, &leaf, plan, *bind, fds)?;
                        }
                        Some((
                            ToSpawner::SlotInCell {
                                id,
                                cell,
                                leaf,
                                plan,
                                hostname,
                            },
                            fds,
                        )) => self.build_in_cell(id, cell, &leaf, plan, hostname, fds)?,
                    },
                    CHILD_TOKEN => {
                        while signals.read_signal().at(Stage::Message)?.is_some() {}
                        self.reap()?;
                    }
                    token if token & cells::TOKEN != 0 => self.hear_cell(token & !cells::TOKEN)?,
                    id => self.out_of_memory(id),
                }
            }
            self.part()?;
        }
    }

    fn build(&mut self, id: u64, name: &str, mut plan: SlotPlan, mut fds: Vec<OwnedFd>) -> Result<(), StageError> {
        let Some(control) = fds.pop() else {
            // It was sent, and found no room here.
            return self.refuse(id, Stage::Descriptors, libc::EMFILE);
        };
        if self.switches.off(Layer::TmpfsSizes) {
            plan.tmp_bytes = WITHOUT_SIZE;
        }
        let began = Instant::now();
        let made = Leaf::create(&self.tree, &plan.group, name, &plan.limits, plan.own_pids);
        let (leaf, Entrance { unified, tasks }) = match made {
            Ok(made) => made,
            Err(error) => return self.refuse_leaf(id, &error),
        };
        let leaf_micros = micros(began.elapsed());
        let namespaces = namespaces(self.switches);
        let rootfs = plan.rootfs;
        let denied = plan.restrictions.denials();
        let subjects = [Subject::Worker(self.watch), Subject::Foreign];
        let restricted = (!denied.is_empty()).then(|| subjects.map(|subject| program_denying(subject, &denied)));
        let [telling, silent] = restricted
            .as_ref()
            .map_or([&self.telling_filter, &self.filter], |[telling, silent]| {
                [telling, silent]
            });
        let cloning = Instant::now();
        match clone3(namespaces, unified.as_ref().map(AsFd::as_fd)) {
            Ok(Side::Child) => slot::run(slot::Start {
                id,
                sightings: self.sightings,
                worker_id: self.worker_id(id),
                plan,
                tasks,
                control,
                filter: &self.filter,
                worker_filters: Filters { telling, silent },
                watcher_filter: &self.watcher_filter,
                residents: self.residents,
                switches: self.switches,
                leaf: leaf_micros,
                cloning,
            }),
            Ok(Side::Parent { pid, pidfd }) => {
                drop((control, tasks, unified));
                self.by_pid.insert(pid, id);
                self.admit(id, leaf, Process::Slot { pidfd, rootfs });
                Ok(())
            }
            Err(source) => {
                leaf.remove();
                self.refuse(id, Stage::Clone, source.raw_os_error().unwrap_or(libc::EIO))
            }
        }
    }

    fn refuse(&self, id: u64, stage: Stage, errno: i32) -> Result<(), StageError> {
        self.say(&FromSpawner::Refused {
            id,
            failure: StageError { stage, errno },
            detail: None,
        })
    }

    fn refuse_leaf(&self, id: u64, error: &LeafError) -> Result<(), StageError> {
        let errno = error.source.raw_os_error().unwrap_or(libc::EIO);
        self.say(&FromSpawner::Refused {
            id,
            failure: StageError {
                stage: Stage::Leaf,
                errno,
            },
            detail: Some(error.to_string()),
        })
    }

    /// It runs from now on.
    fn admit(&mut self, id: u64, leaf: Leaf, process: Process) {
        let watched = self.watch_memory(id, &leaf);
        // A limit that could not be watched would be enforced by halves.
        let unwatched = watched.is_err();
        let running = Running {
            leaf,
            process,
            out_of_memory: watched.unwrap_or_default(),
            ran_out: false,
            exit: None,
        };
        self.running.insert(id, running);
        if unwatched {
            self.kill(id);
        }
    }

    /// With subordinate ids every slot has one of its own (0 is the user himself); without there is only the one.
    fn worker_id(&self, slot: u64) -> u32 {
        match u64::from(self.worker_ids) {
            0 => 0,
            ids => 1 + u32::try_from(slot % ids).unwrap_or_default(),
        }
    }

    /// Version 1 only: the event by which the kernel tells that the leaf is out of memory.
    fn watch_memory(&self, id: u64, leaf: &Leaf) -> std::io::Result<Option<OwnedFd>> {
        let event = leaf.out_of_memory_event().map_err(|error| error.source)?;
        if let Some(event) = &event {
            epoll::add(
                &self.events,
                event,
                epoll::EventData::new_u64(id),
                epoll::EventFlags::IN,
            )?;
        }
        Ok(event)
    }

    fn kill(&self, id: u64) {
        let Some(running) = self.running.get(&id) else { return };
        running.leaf.kill();
        // It may have ended by itself in the meantime; its pidfd can't mean anybody else.
        match &running.process {
            Process::Slot { pidfd, .. } | Process::Cell { pidfd, .. } => {
                let _ended = rustix::process::pidfd_send_signal(pidfd, rustix::process::Signal::KILL);
            }
            Process::InCell(cell) => self.kill_in_cell(*cell, id),
        }
    }

    fn out_of_memory(&mut self, id: u64) {
        let Some(running) = self.running.get_mut(&id) else {
            return;
        };
        if let Some(event) = &running.out_of_memory {
            let _counted = rustix::io::read(event, &mut [0u8; 8]);
        }
        // The event comes before the kernel has chosen whom to kill, and again when the group is removed. Whatever it
        // chooses, half a sandbox is of no use: all of it goes.
        running.ran_out = true;
        self.kill(id);
    }

    fn reap(&mut self) -> Result<(), StageError> {
        loop {
            // By rustix, as nix calls an end by a real-time signal an error.
            let ended = match wait(WaitOptions::NOHANG) {
                Err(rustix::io::Errno::CHILD) => None,
                other => other.at(Stage::Message)?,
            };
            let Some((pid, _)) = ended else { return Ok(()) };
            self.visitors.remove(&pid.as_raw_pid());
            // Pid 1 of a sandbox ends after all others in it, so its leaf is empty.
            let id = self.by_pid.remove(&pid.as_raw_pid());
            if let Some((id, running)) = id.and_then(|id| self.running.remove_entry(&id)) {
                if matches!(running.process, Process::Cell { .. }) {
                    self.empty_cell(id, &running)?;
                }
                self.send_away(id);
                self.leaving.push((id, running));
            }
        }
    }

    /// Removes the leaves of what is gone, and says so.
    fn part(&mut self) -> Result<(), StageError> {
        let mut at = 0;
        while at < self.leaving.len() {
            let (id, running) = &self.leaving[at];
            let Running {
                leaf, ran_out, exit, ..
            } = running;
            let mut account = leaf.account();
            account.oom_kills = account.oom_kills.max(u64::from(*ran_out));
            if !self.is_visited(*id) && leaf.remove() {
                if !matches!(running.process, Process::Slot { .. }) {
                    leaf.remove_group();
                }
                let gone = FromSpawner::Gone {
                    id: *id,
                    account,
                    exit: *exit,
                };
                self.leaving.swap_remove(at);
                self.say(&gone)?;
            } else {
                at += 1;
            }
        }
        Ok(())
    }
}
