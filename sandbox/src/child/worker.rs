//! Pid 2: the process that foreign code runs in. It confines itself while it waits, and then becomes the program.
//!
//! Order (each step needs the ones before): identity, own user namespace, limits, capabilities, no_new_privs, landlock,
//! seccomp. After that there is nothing left to give away, and only then does it learn what to run.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, Scope,
};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, execve, setresgid, setresuid};
use rustix::thread::{CapabilitiesSecureBits, CapabilitySet, CapabilitySets};
use serde::{Deserialize, Serialize};

use super::{Resident, ResidentCall};
use crate::packet;
use crate::plan::{BindPlan, Program, Rootfs};
use crate::stage::{At, Stage, StageError};
use crate::switches::{Layer, Switches};
use crate::sys::{descriptors, seccomp};

/// User and group id of foreign code, as it sees them itself.
pub(crate) const INNER_ID: u32 = 1000;
/// Descriptors that foreign code may hold.
const OPEN_FILES: u64 = 1024;
/// Bytes that it may lock into memory.
const LOCKED_BYTES: u64 = 64 << 10;
/// Numbers from here on are taken by none of the descriptors that a program is handed.
pub(super) const ABOVE_ALL: i32 = 100;
/// First descriptor of the lanes.
pub(crate) const FIRST_LANE: i32 = 3;

/// What the worker tells pid 1.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromWorker {
    /// Confined.
    Confined {
        /// How long that took.
        micros: u64,
        /// Where to hear of its calls is beside it.
        tells: bool,
    },
    /// The program comes next: what follows is the end of the stream, or a failure.
    Starting,
    /// A step failed; the worker is gone.
    Failed(StageError),
}

/// The compiled policy of a process of foreign code.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Filters<'a> {
    /// With calls that are told of.
    pub(crate) telling: &'a [seccomp::Instruction],
    /// The same without, for where nothing can be told.
    pub(crate) silent: &'a [seccomp::Instruction],
}

/// What a worker starts from.
pub(crate) struct Start<'a> {
    /// Socket to pid 1, which closes by itself when the program is executed.
    pub(crate) socket: OwnedFd,
    /// Its id in the outer user namespace.
    pub(crate) outer_id: u32,
    /// What it will be able to write.
    pub(crate) rootfs: Rootfs,
    /// What it attaches.
    pub(crate) filters: Filters<'a>,
    /// What may stay in place of a program.
    pub(crate) residents: &'a [Resident],
    /// Layers that are off.
    pub(crate) switches: Switches,
}

/// Runs as the worker, for good.
pub(crate) fn run(start: Start<'_>) -> ! {
    let began = Instant::now();
    // Lifted above every number that the program's descriptors are going to take.
    let Ok(socket) = rustix::io::fcntl_dupfd_cloexec(&start.socket, ABOVE_ALL) else {
        std::process::exit(1)
    };
    let socket = socket.as_fd();
    let outcome = confine(&start)
        .and_then(|calls| {
            let confined = FromWorker::Confined {
                micros: micros(began.elapsed()),
                tells: calls.is_some(),
            };
            let beside: Vec<BorrowedFd<'_>> = calls.iter().map(AsFd::as_fd).collect();
            packet::send(socket, &confined, &beside).at(Stage::Message)
        })
        .and_then(|()| match start.switches.on(Layer::Rlimits) {
            true => limit_open_files(),
            false => Ok(()),
        })
        .and_then(|()| packet::receive::<BindPlan>(socket).at(Stage::Message))
        .and_then(|message| match message {
            // Pid 1 is gone, so this one is about to be as well.
            None => Ok(0),
            Some((plan, fds)) => become_program(&start, socket, plan, fds),
        });
    let code = outcome.unwrap_or_else(|failure| {
        // Nobody else can be told.
        let _gone = packet::send(socket, &FromWorker::Failed(failure), &[]);
        1
    });
    std::process::exit(code)
}

pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// What comes back is for pid 1, which hears by it of the calls that the filter tells of, and must not stay here.
fn confine(start: &Start<'_>) -> Result<Option<OwnedFd>, StageError> {
    let switches = start.switches;
    enter_own_user_namespace(start.outer_id, switches)?;
    if switches.on(Layer::Rlimits) {
        limit_resources()?;
    }
    if switches.on(Layer::Capabilities) {
        drop_capabilities()?;
    } else {
        keep_capabilities()?;
    }
    if switches.on(Layer::NoNewPrivileges) {
        give_up_privileges()?;
    }
    if switches.on(Layer::Landlock) {
        restrict_files(start.rootfs)?;
    }
    umask(Mode::from_bits_truncate(0o022));
    if switches.off(Layer::PidNamespace) {
        // Nobody but the pid namespace ends it with its parent.
        prctl::set_pdeathsig(Signal::SIGKILL).at(Stage::Worker)?;
    }
    if switches.off(Layer::Seccomp) {
        return Ok(None);
    }
    let calls = seccomp::attach_telling(start.filters.telling).at(Stage::Filter)?;
    if calls.is_none() {
        seccomp::attach(start.filters.silent).at(Stage::Filter)?;
    }
    Ok(calls)
}

/// Nothing that is executed from here on gives it a privilege.
pub(super) fn give_up_privileges() -> Result<(), StageError> {
    prctl::set_no_new_privs().at(Stage::NoNewPrivileges)?;
    // A kernel or a filter could pretend: believe only what is read back.
    if !prctl::get_no_new_privs().at(Stage::NoNewPrivileges)? {
        return Err(StageError {
            stage: Stage::NoNewPrivileges,
            errno: libc::EPERM,
        });
    }
    Ok(())
}

fn enter_own_user_namespace(outer_id: u32, switches: Switches) -> Result<(), StageError> {
    let (uid, gid) = (Uid::from_raw(outer_id), Gid::from_raw(outer_id));
    setresgid(gid, gid, gid).at(Stage::LeafUserNamespace)?;
    setresuid(uid, uid, uid).at(Stage::LeafUserNamespace)?;
    // Files in /proc of a process that is not dumpable belong to root: it could not write its own maps.
    prctl::set_dumpable(true).at(Stage::LeafUserNamespace)?;
    if switches.on(Layer::UserNamespace) {
        unshare(CloneFlags::CLONE_NEWUSER).at(Stage::LeafUserNamespace)?;
        let map = format!("{INNER_ID} {outer_id} 1");
        fs::write("/proc/self/setgroups", "deny").at(Stage::LeafUserNamespace)?;
        fs::write("/proc/self/uid_map", &map).at(Stage::LeafUserNamespace)?;
        fs::write("/proc/self/gid_map", &map).at(Stage::LeafUserNamespace)?;
    }
    // When the host itself runs out of memory, functions go before it. Only root could keep one from taking that back, down
    // to the value of the server.
    fs::write("/proc/self/oom_score_adj", "500").at(Stage::LeafUserNamespace)?;
    if switches.on(Layer::Dumpable) {
        prctl::set_dumpable(false).at(Stage::LeafUserNamespace)?;
    }
    Ok(())
}

/// Where the host's own limit is lower it stays, as nobody here could raise it.
pub(super) fn lower(resource: Resource, value: u64) -> Result<(), StageError> {
    let (_, hard) = getrlimit(resource).at(Stage::Rlimits)?;
    setrlimit(resource, value.min(hard), value.min(hard)).at(Stage::Rlimits)
}

/// Once nothing more is handed to pid 1: the limit is also what the kernel holds against all descriptors in flight of the user, and
/// without subordinate ids the functions of all sandboxes are one user. They stop each other at this limit, and never us at ours.
pub(super) fn limit_open_files() -> Result<(), StageError> {
    lower(Resource::RLIMIT_NOFILE, OPEN_FILES)
}

/// All but open files.
pub(super) fn limit_resources() -> Result<(), StageError> {
    let limits = [
        // Not 0: a handler of core dumps (`|` in core_pattern) runs as root of the host, outside of every limit, and is
        // called for 0 as well. For 1, and for 1 alone, the kernel calls none (do_coredump in fs/coredump.c).
        (Resource::RLIMIT_CORE, 1),
        (Resource::RLIMIT_MEMLOCK, LOCKED_BYTES),
        (Resource::RLIMIT_MSGQUEUE, LOCKED_BYTES),
        (Resource::RLIMIT_RTPRIO, 0),
        (Resource::RLIMIT_NICE, 0),
    ];
    for (resource, value) in limits {
        lower(resource, value)?;
    }
    // Programs that map their stack by the soft limit expect the usual one.
    let (_, hard) = getrlimit(Resource::RLIMIT_STACK).at(Stage::Rlimits)?;
    setrlimit(Resource::RLIMIT_STACK, hard.min(8 << 20), hard).at(Stage::Rlimits)
}

/// Empties every set, and locks the rule by which a user id of 0 would get them back.
pub(crate) fn drop_capabilities() -> Result<(), StageError> {
    keep(CapabilitySet::empty())
}

/// The same, but for `kept`, which whoever is executed from here on does not get.
pub(crate) fn keep(kept: CapabilitySet) -> Result<(), StageError> {
    bound_to(kept)?;
    lock_rules()?;
    rustix::thread::clear_ambient_capability_set().at(Stage::Capabilities)?;
    hold(kept, CapabilitySet::empty())
}

/// The contrary, for the abuse suite: every capability that it has outlives the next programs as well.
fn keep_capabilities() -> Result<(), StageError> {
    let held = rustix::thread::capabilities(None).at(Stage::Capabilities)?.permitted;
    hold(held, held)?;
    for capability in held.iter() {
        rustix::thread::configure_capability_in_ambient_set(capability, true).at(Stage::Capabilities)?;
    }
    Ok(())
}

/// Takes all but `kept` out of the bounding set.
pub(super) fn bound_to(kept: CapabilitySet) -> Result<(), StageError> {
    for bit in 0..64 {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        if kept.contains(capability) {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // The first number that this kernel does not know.
            Err(rustix::io::Errno::INVAL) => break,
            other => other.at(Stage::Capabilities)?,
        }
    }
    Ok(())
}

/// From here on no user id and no ambient set gives a capability back.
pub(super) fn lock_rules() -> Result<(), StageError> {
    let locked = CapabilitiesSecureBits::NO_ROOT
        | CapabilitiesSecureBits::NO_ROOT_LOCKED
        | CapabilitiesSecureBits::NO_SETUID_FIXUP
        | CapabilitiesSecureBits::NO_SETUID_FIXUP_LOCKED
        | CapabilitiesSecureBits::KEEP_CAPS_LOCKED
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED;
    rustix::thread::set_capabilities_secure_bits(locked).at(Stage::Capabilities)
}

/// Holds the capabilities of `held` and no other; `inheritable` may become ambient.
pub(super) fn hold(held: CapabilitySet, inheritable: CapabilitySet) -> Result<(), StageError> {
    let sets = CapabilitySets {
        effective: held,
        permitted: held,
        inheritable,
    };
    rustix::thread::set_capabilities(None, sets).at(Stage::Capabilities)
}

/// Landlock, as far as this kernel has it: writes only where they are meant to go, no abstract sockets and no signals
/// beyond this sandbox.
pub(super) fn restrict_files(rootfs: Rootfs) -> Result<(), StageError> {
    const KNOWN: ABI = ABI::V6;
    let failed = |_: landlock::RulesetError| StageError {
        stage: Stage::Landlock,
        errno: libc::EINVAL,
    };
    let all = AccessFs::from_all(KNOWN);
    let read = AccessFs::from_read(KNOWN);
    let write_file: BitFlags<AccessFs> = AccessFs::WriteFile | AccessFs::Truncate | AccessFs::IoctlDev;
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(all)
        .and_then(|rules| rules.scope(Scope::from_all(KNOWN)))
        .and_then(|rules| rules.create())
        .map_err(failed)?;
    let places: &[(&str, BitFlags<AccessFs>)] = match rootfs {
        Rootfs::Writable => &[("/", all)],
        Rootfs::ReadOnly => &[
            ("/", read),
            ("/tmp", all),
            ("/dev/shm", all),
            ("/dev/null", write_file | AccessFs::ReadFile),
            ("/dev/zero", write_file | AccessFs::ReadFile),
            ("/dev/full", write_file | AccessFs::ReadFile),
            ("/dev/random", write_file | AccessFs::ReadFile),
            ("/dev/urandom", write_file | AccessFs::ReadFile),
            ("/proc", read | AccessFs::WriteFile | AccessFs::Truncate),
        ],
    };
    for (path, access) in places {
        let Ok(fd) = PathFd::new(path) else { continue };
        rules = rules.add_rule(PathBeneath::new(fd, *access)).map_err(failed)?;
    }
    rules.restrict_self().map_err(failed)?;
    Ok(())
}

/// Returns only for a resident that has finished, or with a failure.
fn become_program(
    start: &Start<'_>,
    socket: BorrowedFd<'_>,
    plan: BindPlan,
    fds: Vec<OwnedFd>,
) -> Result<i32, StageError> {
    // The log first, then the lanes.
    if fds.len() != usize::from(plan.lanes) + 1 {
        return Err(StageError {
            stage: Stage::Descriptors,
            errno: libc::EBADF,
        });
    }
    if start.switches.on(Layer::Rlimits) {
        lower(Resource::RLIMIT_FSIZE, plan.file_bytes)?;
    }
    reset_signals()?;
    let null = fs::File::open("/dev/null").at(Stage::Descriptors)?;
    let mut numbers = vec![null.as_raw_fd(), fds[0].as_raw_fd(), fds[0].as_raw_fd()];
    numbers.extend(fds[1..].iter().map(AsRawFd::as_raw_fd));
    let resident = match &plan.program {
        Program::Exec => None,
        Program::Resident(name) => {
            let known = start.residents.iter().find(|resident| resident.name == name);
            Some(*known.ok_or(StageError {
                stage: Stage::Exec,
                errno: libc::ENOENT,
            })?)
        }
    };
    descriptors::place(&numbers, 0).at(Stage::Descriptors)?;
    // Their numbers are taken or about to be closed: nothing may drop them.
    std::mem::forget((null, fds));
    nix::unistd::chdir(plan.cwd.as_str()).at(Stage::WorkingDirectory)?;
    packet::send(socket, &FromWorker::Starting, &[]).at(Stage::Message)?;
    let end = FIRST_LANE + i32::from(plan.lanes);
    if let Some(resident) = resident {
        if start.switches.on(Layer::Descriptors) {
            descriptors::close_from(end).at(Stage::Descriptors)?;
        } else {
            // But for the socket, whose end is what pid 1 waits for.
            drop(descriptors::inherited(socket.as_raw_fd()));
            descriptors::keep_all_from(end);
        }
        let lanes = (FIRST_LANE..end)
            .map(descriptors::inherited)
            .collect::<Result<_, _>>()
            .at(Stage::Descriptors)?;
        return Ok((resident.serve)(ResidentCall {
            lanes,
            argv: plan.argv,
            env: plan.env,
            cwd: plan.cwd,
        }));
    }
    descriptors::cloexec_from(end).at(Stage::Descriptors)?;
    match execute(plan.argv, plan.env)? {}
}

/// Becomes `argv`, whose descriptors are in their places.
pub(super) fn execute(argv: Vec<String>, env: Vec<(String, String)>) -> Result<Infallible, StageError> {
    let text = |text: String| {
        CString::new(text).map_err(|_| StageError {
            stage: Stage::Exec,
            errno: libc::EINVAL,
        })
    };
    let argv: Vec<CString> = argv.into_iter().map(text).collect::<Result<_, _>>()?;
    let env: Vec<CString> = env
        .into_iter()
        .map(|(name, value)| text(format!("{name}={value}")))
        .collect::<Result<_, _>>()?;
    let program = argv.first().ok_or(StageError {
        stage: Stage::Exec,
        errno: libc::EINVAL,
    })?;
    execve(program, &argv, &env).at(Stage::Exec)
}

/// Whatever a parent ignored or blocked would be inherited by the program.
pub(super) fn reset_signals() -> Result<(), StageError> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    for signal in Signal::iterator().filter(|s| !matches!(s, Signal::SIGKILL | Signal::SIGSTOP)) {
        crate::sys::signals::set(signal, &default).at(Stage::Exec)?;
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None).at(Stage::Exec)
}
