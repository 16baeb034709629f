//! A process that enters a slot for a moment, connects to a unix socket in it, and hands the connection to the host.
//!
//! ```text
//!  spawner --clone3--> mounts and network of the slot -> id of the worker -> own user namespace -> no capability
//!        -> no new privileges -> landlock -> filter -> the path is looked up -> connected -> sent -> gone
//! ```
//!
//! What runs in the slot decides what the path leads to, so whoever follows it must have no right that the function lacks.
//! Pid 1 can't be that: it is another user (where there are subordinate ids), without landlock, and nobody becomes the
//! worker's user once pid 1 has given up its capabilities. A process that waits in the slot could be, but the function could
//! stop, starve and signal it. This one is confined as the worker is, before it looks at the path, and stays in the
//! spawner's pid namespace and cgroup: the function can't see, signal, trace, freeze or starve it.
//!
//! It can't be made to wait. Looking up a path opens nothing, so that a FIFO or a device is only looked at; links of
//! procfs, which lead wherever a process stands, are not followed; and a queue that is full is an error. What was looked at
//! is what is connected to, whatever is put in its place meanwhile.

use std::fs::File;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::poll::{PollFd, PollFlags, poll};
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{Gid, Uid, setresgid, setresuid};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::process::fchdir;

use super::worker;
use crate::packet;
use crate::plan::Rootfs;
use crate::reach::Answer;
use crate::stage::{At, Stage, StageError};
use crate::sys::{descriptors, seccomp};

/// What a visit starts from.
pub(crate) struct Start<'a> {
    /// Pid 1 of the slot.
    pub(crate) pidfd: BorrowedFd<'a>,
    /// Where to connect.
    pub(crate) path: &'a str,
    /// Socket to the host.
    pub(crate) answer: OwnedFd,
    /// Id of foreign code in the outer user namespace.
    pub(crate) worker_id: u32,
    /// What foreign code can write.
    pub(crate) rootfs: Rootfs,
    pub(crate) filter: &'a [seccomp::Instruction],
}

const ANSWER: RawFd = 3;
const PIDFD: RawFd = 4;
/// The directory of its own descriptors, in the /proc of the spawner: in that of the slot it does not exist.
const OWN: RawFd = 5;

/// How long pid 1 may take to end, in milliseconds.
const DYING: u16 = 1000;

/// Why there is no connection.
enum Failure {
    /// It could not enter, or not be confined.
    Stage(StageError),
    /// The path leads to no socket that it may connect to.
    Path(Errno),
}

impl From<StageError> for Failure {
    fn from(failure: StageError) -> Self {
        Self::Stage(failure)
    }
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self::Path(errno)
    }
}

/// Runs as the visitor, for good.
pub(crate) fn run(start: Start<'_>) -> ! {
    // Its descriptors are closed by number below; nothing may close those numbers again.
    let start = ManuallyDrop::new(start);
    if own_descriptors(&start).is_err() {
        std::process::exit(1)
    }
    let to = descriptors::standing(ANSWER);
    let outcome = visit(&start).and_then(|socket| {
        let sent = packet::send(to, &Answer::Made, &[socket.as_fd()]);
        Ok(sent.at(Stage::Descriptors)?)
    });
    let answer = match outcome {
        Ok(()) => std::process::exit(0),
        // The end of the socket says it.
        Err(Failure::Stage(_)) if slot_ends() => std::process::exit(0),
        Err(Failure::Stage(failure)) => Answer::Failed(failure),
        Err(Failure::Path(errno)) => Answer::Unconnected(errno.raw_os_error()),
    };
    let _gone = packet::send(to, &answer, &[]);
    std::process::exit(0)
}

/// A slot can't be entered while its pid 1 ends: that is no failure, if it really does.
fn slot_ends() -> bool {
    let mut end = [PollFd::new(descriptors::standing(PIDFD), PollFlags::POLLIN)];
    matches!(poll(&mut end, DYING), Ok(1..))
}

/// Nothing of the spawner's goes into the slot.
fn own_descriptors(start: &Start<'_>) -> Result<(), StageError> {
    let null = File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .at(Stage::Descriptors)?;
    let own = File::open("/proc/self/fd").at(Stage::Descriptors)?;
    let number = null.as_raw_fd();
    let numbers = [
        number,
        number,
        number,
        start.answer.as_raw_fd(),
        start.pidfd.as_raw_fd(),
        own.as_raw_fd(),
    ];
    descriptors::place(&numbers, 0).at(Stage::Descriptors)?;
    // Their numbers are taken or about to be closed.
    std::mem::forget((null, own));
    descriptors::close_from(numbers.len() as RawFd).at(Stage::Descriptors)
}

fn visit(start: &Start<'_>) -> Result<OwnedFd, Failure> {
    let namespaces = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET;
    setns(descriptors::standing(PIDFD), namespaces).at(Stage::Visit)?;
    confine(start)?;
    Ok(connected(start.path)?)
}

fn confine(start: &Start<'_>) -> Result<(), StageError> {
    let (uid, gid) = (Uid::from_raw(start.worker_id), Gid::from_raw(start.worker_id));
    setresgid(gid, gid, gid).at(Stage::Visit)?;
    setresuid(uid, uid, uid).at(Stage::Visit)?;
    // The owner of a user namespace has every capability over it, even without any: in one of its own it is a stranger to
    // that of the worker. Nothing looks up its ids, so they stay unmapped.
    unshare(CloneFlags::CLONE_NEWUSER).at(Stage::Visit)?;
    worker::drop_capabilities()?;
    nix::sys::prctl::set_no_new_privs().at(Stage::NoNewPrivileges)?;
    worker::restrict_files(start.rootfs)?;
    seccomp::attach(start.filter).at(Stage::Filter)
}

fn connected(path: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let found = openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS)?;
    let mode = fstat(&found)?.st_mode;
    if FileType::from_raw_mode(mode) != FileType::Socket {
        return Err(Errno::NOTSOCK);
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // By its descriptor, as a path could lead elsewhere by now.
    fchdir(descriptors::standing(OWN))?;
    connect(&socket, &SocketAddrUnix::new(found.as_raw_fd().to_string())?)?;
    Ok(socket)
}
