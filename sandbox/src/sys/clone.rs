//! `clone3(2)`: new processes with namespaces, a pidfd, and a cgroup to be born in.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// From `linux/sched.h`; the constant of `libc` does not fit its type.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// What `clone3` returned, on either side.
pub(crate) enum Side {
    /// This is the new process.
    Child,
    /// This is the caller; `pid` is as seen in its pid namespace.
    Parent {
        /// Process id of the child.
        pid: i32,
        /// A handle that keeps meaning this very process.
        pidfd: OwnedFd,
    },
}

/// Forks with the given `CLONE_NEW*` and other flags (`CLONE_PIDFD` is always added), into the cgroup whose directory
/// `cgroup` is, when there is one (cgroup v2 only, Linux 5.7).
///
/// The caller and the errors are those of [`clone3_as`].
pub(crate) fn clone3(flags: i32, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Side> {
    clone3_as(flags, cgroup, None)
}

/// The same; the child gets `pid` in the caller's pid namespace, when one is named (Linux 5.5; with `CAP_SYS_ADMIN` over that
/// namespace).
///
/// The caller must be single-threaded: the spawner and its children are, from their exec on. Then the copy of memory is
/// consistent, and the child may run any code.
///
/// # Errors
/// The errno of clone3(2): `EPERM` where user namespaces are forbidden, `EAGAIN` at a pid limit, `EBADF`, `EACCES` or
/// `ENOENT` for the cgroup, `EEXIST` when somebody has that pid.
pub(crate) fn clone3_as(flags: i32, cgroup: Option<BorrowedFd<'_>>, pid: Option<i32>) -> io::Result<Side> {
    let mut pidfd: RawFd = -1;
    let with_parent = flags & libc::CLONE_PARENT != 0;
    let mut flags = flags as u32 as u64 | libc::CLONE_PIDFD as u64;
    let cgroup = match cgroup {
        Some(fd) => {
            flags |= CLONE_INTO_CGROUP;
            fd.as_raw_fd() as u64
        }
        None => 0,
    };
    let set_tid = [pid.unwrap_or_default()];
    let args = libc::clone_args {
        flags,
        pidfd: &raw mut pidfd as u64,
        child_tid: 0,
        parent_tid: 0,
        // With CLONE_PARENT the kernel takes the caller's own exit signal and refuses another.
        exit_signal: if with_parent { 0 } else { libc::SIGCHLD as u64 },
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: if pid.is_some() { set_tid.as_ptr() as u64 } else { 0 },
        set_tid_size: u64::from(pid.is_some()),
        cgroup,
    };
    // SAFETY: the struct is fully initialised and outlives the call, its size is passed, `pidfd` and `set_tid` are live. No
    // CLONE_VM: the child gets a copy of memory and stack, which is consistent as the caller is single-threaded.
    let result = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<libc::clone_args>()) };
    match result {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Side::Child),
        pid => {
            // SAFETY: clone3 succeeded with CLONE_PIDFD, so `pidfd` is a new descriptor that nobody else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Side::Parent { pid: pid as i32, pidfd })
        }
    }
}
