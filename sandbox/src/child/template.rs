//! The process that becomes a template: foreign code, and so confined as such, with one thing more. It can enter the slots
//! of its cell and fork into them.
//!
//! What it has beyond a worker: CAP_SYS_ADMIN and CAP_SYS_CHROOT over its cell alone, which setns(2) asks for, and a
//! filter that lets `setns`, `clone3` and `seccomp` pass. It has no /proc, so that nothing in its slots can be looked
//! into. Each fork gives all of that up before it serves, see `filter::policy::GIVEN_UP`.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::resource::Resource;
use nix::sys::stat::{Mode, umask};
use rustix::thread::CapabilitySet;

use super::worker::{self, Filters, FromWorker};
use super::{procfs, rootfs};
use crate::packet;
use crate::plan::{BindPlan, SlotPlan};
use crate::stage::{At, Stage, StageError};
use crate::sys::{descriptors, seccomp};

/// Descriptors that it is started with: /dev/null, its log twice, its orders, and its own pid namespace, which it goes back
/// to after each fork.
pub(crate) const FIRST_OF_ITS_OWN: RawFd = 5;

/// What a template starts from.
pub(crate) struct Start<'a> {
    /// Socket to pid 1 of the cell, which closes by itself when the program is executed.
    pub(crate) socket: OwnedFd,
    /// Numbers of the descriptors of its orders and its log.
    pub(crate) orders: RawFd,
    pub(crate) log: RawFd,
    pub(crate) bind: &'a BindPlan,
    pub(crate) plan: &'a SlotPlan,
    /// What it attaches.
    pub(crate) filters: Filters<'a>,
    /// Whether anything is watched.
    pub(crate) watched: bool,
}

/// Runs as the template, for good.
pub(crate) fn run(start: Start<'_>) -> ! {
    // Lifted above every number that is taken below.
    let Ok(socket) = rustix::io::fcntl_dupfd_cloexec(&start.socket, worker::ABOVE_ALL) else {
        std::process::exit(1)
    };
    let socket = socket.as_fd();
    let outcome = confine(&start).and_then(|calls| {
        let confined = FromWorker::Confined {
            micros: 0,
            tells: calls.is_some(),
        };
        let beside: Vec<BorrowedFd<'_>> = calls.iter().map(AsFd::as_fd).collect();
        packet::send(socket, &confined, &beside).at(Stage::Message)?;
        packet::send(socket, &FromWorker::Starting, &[]).at(Stage::Message)?;
        worker::execute(start.bind.argv.clone(), start.bind.env.clone())
    });
    match outcome {
        Ok(never) => match never {},
        Err(failure) => {
            // Nobody else can be told.
            let _gone = packet::send(socket, &FromWorker::Failed(failure), &[]);
            std::process::exit(1)
        }
    }
}

/// What comes back is for pid 1 of the cell, which hears by it of the calls of the template and of all its forks.
fn confine(start: &Start<'_>) -> Result<Option<OwnedFd>, StageError> {
    // Its files in /proc belong to nobody in the cell as long as it is not dumpable.
    prctl::set_dumpable(true).at(Stage::Identity)?;
    fs::write("/proc/self/oom_score_adj", "500").at(Stage::Identity)?;
    prctl::set_dumpable(false).at(Stage::Identity)?;
    unshare(CloneFlags::CLONE_NEWNS).at(Stage::Worker)?;
    let pids = fs::File::open("/proc/self/ns/pid").at(Stage::Descriptors)?;
    hide_proc()?;
    rootfs::memory(start.plan.tmp_bytes, &start.plan.restrictions)?;
    rootfs::make_read_only(&start.plan.restrictions.read_only)?;
    let null = fs::File::open("/dev/null").at(Stage::Descriptors)?;
    let numbers = [null.as_raw_fd(), start.log, start.log, start.orders, pids.as_raw_fd()];
    descriptors::place(&numbers, 0).at(Stage::Descriptors)?;
    // Their numbers are taken or close by themselves: nothing may drop them.
    std::mem::forget((null, pids));
    descriptors::cloexec_from(FIRST_OF_ITS_OWN).at(Stage::Descriptors)?;
    worker::limit_resources()?;
    worker::limit_open_files()?;
    worker::lower(Resource::RLIMIT_FSIZE, start.bind.file_bytes)?;
    worker::reset_signals()?;
    umask(Mode::from_bits_truncate(0o022));
    nix::unistd::chdir(start.bind.cwd.as_str()).at(Stage::WorkingDirectory)?;
    keep_what_setns_asks_for()?;
    worker::give_up_privileges()?;
    let calls = match start.watched {
        true => seccomp::attach_telling(start.filters.telling).at(Stage::Filter)?,
        false => None,
    };
    if calls.is_none() {
        seccomp::attach(start.filters.silent).at(Stage::Filter)?;
    }
    Ok(calls)
}

fn hide_proc() -> Result<(), StageError> {
    let (from, to) = (Path::new(procfs::EMPTY), Path::new("/proc"));
    mount(Some(from), to, None::<&str>, MsFlags::MS_BIND, None::<&str>).at(Stage::Procfs)
}

fn keep_what_setns_asks_for() -> Result<(), StageError> {
    let kept = CapabilitySet::SYS_ADMIN | CapabilitySet::SYS_CHROOT;
    // Raised while that is allowed still; it takes a set that may be inherited.
    worker::hold(kept | CapabilitySet::SETPCAP, kept)?;
    for capability in [CapabilitySet::SYS_ADMIN, CapabilitySet::SYS_CHROOT] {
        rustix::thread::configure_capability_in_ambient_set(capability, true).at(Stage::Capabilities)?;
    }
    // The ambient set outlives that and the exec (capabilities(7)), and a fork, which can't empty it any more, finds it empty.
    worker::bound_to(CapabilitySet::empty())?;
    worker::lock_rules()?;
    worker::hold(kept, kept)
}
