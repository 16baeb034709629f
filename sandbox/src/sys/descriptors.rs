//! File descriptors by number: what a new process keeps, and what it is handed.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Closes every descriptor from `first` on. Owned descriptors with such numbers must not be used or dropped afterwards:
/// only a new process that forgets all it inherited calls this.
///
/// # Errors
/// `ENOSYS` before Linux 5.9.
pub(crate) fn close_from(first: RawFd) -> io::Result<()> {
    // SAFETY: close_range takes integers only. The caller promises that no owner of a closed number runs afterwards.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first as u32, u32::MAX, 0u32) };
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Makes every descriptor from `first` on close-on-exec.
///
/// # Errors
/// `EINVAL` before Linux 5.11.
pub(crate) fn cloexec_from(first: RawFd) -> io::Result<()> {
    // SAFETY: close_range takes integers only and with CLOSE_RANGE_CLOEXEC closes nothing now.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first as u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Hands every descriptor from `first` on to the next program: what [`cloexec_from`] is there to prevent, for the abuse suite.
pub(crate) fn keep_all_from(first: RawFd) {
    /// Above the numbers of all that a sandbox is built from.
    const END: RawFd = 1024;
    for number in first..END {
        // SAFETY: fcntl takes integers; a number that is not open is an error that changes nothing.
        unsafe { libc::fcntl(number, libc::F_SETFD, 0) };
    }
}

/// The most descriptors that one process is handed.
pub(crate) const MOST: usize = 72;

/// Puts copies of `fds` at the numbers `first..first + fds.len()`, without close-on-exec. Allocates nothing; the
/// originals stay open unless their number was taken.
///
/// # Errors
/// `EMFILE` when the numbers pass the limit, `EINVAL` for more than [`MOST`].
pub(crate) fn place(fds: &[RawFd], first: RawFd) -> io::Result<()> {
    let mut lifted = [-1; MOST];
    let Some(lifted) = lifted.get_mut(..fds.len()) else {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    };
    // A source may sit on a number that another is to take: lift all of them above the range first.
    for (fd, slot) in fds.iter().zip(lifted.iter_mut()) {
        // SAFETY: fcntl takes integers; the result is checked. Legal after fork: no allocation, no lock.
        *slot = unsafe { libc::fcntl(*fd, libc::F_DUPFD_CLOEXEC, first + fds.len() as RawFd) };
        if *slot == -1 {
            return Err(io::Error::last_os_error());
        }
    }
    for (number, fd) in (first..).zip(lifted.iter()) {
        // SAFETY: dup2 and close on the copies made above, onto numbers that the caller gives away.
        let result = unsafe { libc::dup2(*fd, number) };
        if result == -1 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the copy was made above and nobody else knows its number.
        unsafe { libc::close(*fd) };
    }
    Ok(())
}

/// Takes ownership of the inherited descriptor `number`.
///
/// # Errors
/// `EBADF` when nothing is open there.
pub(crate) fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_GETFD reads a flag and reports EBADF for a number that is not open.
    if unsafe { libc::fcntl(number, libc::F_GETFD) } == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, and by the convention between parent and exec'd child it is ours; each number is taken once.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Borrows the descriptor at `number` for as long as the process lives: nobody closes it.
pub(crate) fn standing(number: RawFd) -> BorrowedFd<'static> {
    // SAFETY: the caller has just put it there and keeps it open until the process ends.
    unsafe { BorrowedFd::borrow_raw(number) }
}

/// Takes ownership of a descriptor that a packet brought.
pub(crate) fn received(number: RawFd) -> OwnedFd {
    // SAFETY: SCM_RIGHTS made a new descriptor for this process, and the packet was read by one reader alone.
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// Makes `command` start with `fds` at the numbers 3, 4, ... and with nothing else above 2.
pub(crate) fn hand_over(command: &mut Command, fds: Vec<OwnedFd>) {
    let numbers: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let between_fork_and_exec = move || {
        // Keeps the descriptors open for as long as the command can be started.
        let _owned = &fds;
        place(&numbers, 3)?;
        cloexec_from(3 + numbers.len() as RawFd)
    };
    // SAFETY: between fork and exec of a threaded parent only async-signal-safe calls are legal: `place` and
    // `cloexec_from` make system calls alone, they allocate nothing and take no lock.
    unsafe { command.pre_exec(between_fork_and_exec) };
}
