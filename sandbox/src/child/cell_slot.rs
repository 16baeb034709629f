//! Pid 1 of a slot in a cell: makes it ready for a fork of the cell's template, tells the template how to enter it, and then
//! only waits for its own end, and makes TCP sockets for the host.
//!
//! It never becomes anything else and runs no foreign code. Who runs in the slot, the fork, is a child of the cell's
//! pid 1, which sees its end; processes that the fork leaves behind come here to be reaped.

use std::fs::File;
use std::io::Write;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{sethostname, setsid};
use serde::{Deserialize, Serialize};

use super::calls::Calls;
use super::rootfs;
use super::slot::{self, FromSlot};
use super::watching::Viewpoint;
use super::worker::{self, INNER_ID};
use crate::packet;
use crate::plan::SlotPlan;
use crate::stage::{At, Stage, StageError};
use crate::switches::Switches;
use crate::sys::{descriptors, loopback, seccomp};

/// What a slot of a cell starts from.
pub(crate) struct Start {
    pub(crate) id: u64,
    /// The pid in the cell that the fork is to take.
    pub(crate) fork: i32,
    pub(crate) plan: SlotPlan,
    pub(crate) hostname: String,
    /// Control socket, log, lanes, and as many entrances of the leaf.
    pub(crate) fds: Vec<OwnedFd>,
    pub(crate) entrances: usize,
    pub(crate) born_in: bool,
}

/// What a template reads when a slot stands. Beside it are the descriptors of six namespaces, of which the first is the pid
/// namespace, then the log, the lanes, and the entrances of the leaf.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Announcement {
    /// Its id, by which a fork is ordered.
    pub(crate) slot: u64,
    /// The pid that the fork is to take in the cell; in the slot it is to be 2.
    pub(crate) pid: i32,
    /// How many lanes.
    pub(crate) lanes: usize,
    /// Whether the last entrance is a directory to be born in; the others are `tasks` files to write `0` to.
    pub(crate) born_in: bool,
}

/// The namespaces that a fork enters, in the order in which they are announced.
const NAMESPACES: [&str; 6] = ["pid", "mnt", "net", "ipc", "uts", "cgroup"];
const CONTROL: RawFd = 3;
const ANNOUNCE: RawFd = 4;
const LOG: RawFd = 5;
const FIRST_LANE: RawFd = 6;

impl Start {
    /// The leaf to be born in.
    pub(crate) fn birthplace(&self) -> Result<Option<BorrowedFd<'_>>, StageError> {
        // A control socket, a log and a lane at the least; fewer have come when there was no room for them here.
        if self.fds.len() < 3 + self.entrances {
            return Err(StageError {
                stage: Stage::Descriptors,
                errno: libc::EMFILE,
            });
        }
        Ok(self.fds.last().filter(|_| self.born_in).map(AsFd::as_fd))
    }
}

/// Runs as pid 1 of the slot, for good.
pub(crate) fn run(start: Start, announce: BorrowedFd<'_>, filter: &[seccomp::Instruction]) -> ! {
    // Its descriptors are closed by number below; nothing may close those numbers again.
    let start = ManuallyDrop::new(start);
    let outcome = serve(&start, announce, filter);
    if let Err(failure) = outcome
        && let Ok(control) = descriptors::inherited(CONTROL)
    {
        let _gone = packet::send(control.as_fd(), &FromSlot::Failed(failure), &[]);
    }
    std::process::exit(0)
}

fn serve(start: &Start, announce: BorrowedFd<'_>, filter: &[seccomp::Instruction]) -> Result<(), StageError> {
    let null = File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .at(Stage::Descriptors)?;
    let number = null.as_raw_fd();
    let mut numbers = vec![number, number, number, start.fds[0].as_raw_fd(), announce.as_raw_fd()];
    numbers.extend(start.fds[1..].iter().map(AsRawFd::as_raw_fd));
    descriptors::place(&numbers, 0).at(Stage::Descriptors)?;
    drop(null);
    let end = numbers.len() as RawFd;
    descriptors::close_from(end).at(Stage::Descriptors)?;
    let control = descriptors::standing(CONTROL);
    let entrances = end - start.entrances as RawFd;
    for number in entrances..end - RawFd::from(start.born_in) {
        let tasks = ManuallyDrop::new(File::from(descriptors::inherited(number).at(Stage::Descriptors)?));
        (&*tasks).write_all(b"0").at(Stage::EnterLeaf)?;
    }
    setsid().at(Stage::Identity)?;
    umask(Mode::from_bits_truncate(0o077));
    // Once in its leaf: the leaf is then the root of what it sees.
    unshare(CloneFlags::CLONE_NEWCGROUP).at(Stage::Identity)?;
    sethostname(&start.hostname).at(Stage::Identity)?;
    loopback::up().at(Stage::Loopback)?;
    rootfs::prepare(&start.plan, INNER_ID, Switches::default())?;
    rootfs::make_read_only(&start.plan.restrictions.read_only)?;
    announce_slot(start, (FIRST_LANE..entrances).len(), end)?;
    descriptors::close_from(CONTROL + 1).at(Stage::Descriptors)?;
    worker::drop_capabilities()?;
    nix::sys::prctl::set_no_new_privs().at(Stage::NoNewPrivileges)?;
    seccomp::attach(filter).at(Stage::Filter)?;
    packet::send(control, &FromSlot::Ready, &[]).at(Stage::Message)?;
    // The calls of what runs here are told to pid 1 of the cell.
    slot::reap(control, None, &mut Calls::default(), &Nobody).map(drop)
}

/// Of whom no call is heard here.
struct Nobody;

impl Viewpoint for Nobody {
    fn sandbox_of(&self, _pid: i32) -> u64 {
        0
    }

    fn is_own(&self, _pid: i32, _path: &str) -> bool {
        false
    }
}

/// Opened before anything is given up: afterwards nobody may look these up any more.
fn announce_slot(start: &Start, lanes: usize, end: RawFd) -> Result<(), StageError> {
    let mut namespaces = Vec::with_capacity(NAMESPACES.len());
    for name in NAMESPACES {
        namespaces.push(File::open(format!("/proc/self/ns/{name}")).at(Stage::Descriptors)?);
    }
    let announcement = Announcement {
        slot: start.id,
        pid: start.fork,
        lanes,
        born_in: start.born_in,
    };
    let mut beside: Vec<BorrowedFd<'_>> = namespaces.iter().map(AsFd::as_fd).collect();
    for number in LOG..end {
        beside.push(descriptors::standing(number));
    }
    packet::send(descriptors::standing(ANNOUNCE), &announcement, &beside).at(Stage::Message)
}
