//! How the kernel is asked: raw system calls, past every library that would look at the arguments first.
//!
//! The only unsafe code of the probe. What is attempted is made in a child that exists for it alone ([`fork`]), which then only
//! reports and ends.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use libc::c_long;

/// An argument of a raw call.
pub(crate) enum Arg<'a> {
    /// A number, a flag or a descriptor.
    Int(i64),
    /// A pointer to text.
    Text(&'a CStr),
    /// A pointer to memory that the kernel may read and write.
    Bytes(&'a mut [u8]),
    /// No pointer.
    Null,
}

/// Makes the call `number`.
///
/// # Errors
/// What the kernel answers.
pub(crate) fn call(number: c_long, args: &mut [Arg<'_>]) -> io::Result<i64> {
    let mut words: [i64; 6] = [0; 6];
    for (word, arg) in words.iter_mut().zip(args.iter_mut()) {
        *word = match arg {
            Arg::Int(value) => *value,
            Arg::Text(text) => text.as_ptr() as i64,
            Arg::Bytes(bytes) => bytes.as_mut_ptr() as i64,
            Arg::Null => 0,
        };
    }
    let [a, b, c, d, e, f] = words;
    // SAFETY: every pointer is null or leads to memory that lives and may be written until the call is over, as long as the call takes it
    // for. The callers name calls that neither unmap nor share the memory of this process, which is a child made for one attempt.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Asks for the process id by the 32-bit system call gate.
#[cfg(target_arch = "x86_64")]
pub(crate) fn getpid_of_32_bit() -> i64 {
    let result: i64;
    // SAFETY: getpid (20 in that table) takes no argument and touches no memory; the registers that the gate may change are named. Where
    // the kernel has no such gate this process gets a signal.
    unsafe {
        std::arch::asm!("int 0x80", inlateout("rax") 20i64 => result, out("r8") _, out("r9") _, out("r10") _, out("r11") _);
    }
    result
}

/// Makes a child. `None` in the child.
///
/// # Errors
/// `EAGAIN` at the limit of processes.
pub(crate) fn fork() -> io::Result<Option<i32>> {
    // SAFETY: the probe has one thread, so the copy is consistent and the child may run any code.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        child => Ok(Some(child)),
    }
}

/// Ends this process at once, without what its parent registered for its own end.
pub(crate) fn exit() -> ! {
    // SAFETY: nothing of this process is used afterwards.
    unsafe { libc::_exit(0) }
}

/// Kills a child, whatever it does.
///
/// # Errors
/// When there is no such child.
pub(crate) fn kill(child: i32) -> io::Result<()> {
    // SAFETY: plain numbers.
    match unsafe { libc::kill(child, libc::SIGKILL) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Waits for a child's end; the signal that ended it, if one did.
///
/// # Errors
/// When there is no such child.
pub(crate) fn wait(child: i32) -> io::Result<Option<i32>> {
    let mut status = 0;
    // SAFETY: `status` lives and is writable.
    match unsafe { libc::waitpid(child, &raw mut status, 0) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status))),
    }
}

/// Whether there is something to read, or the end, within `patience`.
///
/// # Errors
/// None that is expected.
pub(crate) fn readable(from: &impl AsFd, patience: Duration) -> io::Result<bool> {
    let mut poll = libc::pollfd {
        fd: from.as_fd().as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    let timeout = i32::try_from(patience.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: one entry, which lives and is writable.
    match unsafe { libc::poll(&raw mut poll, 1, timeout) } {
        -1 => Err(io::Error::last_os_error()),
        ready => Ok(ready == 1),
    }
}

/// Both values of a limit.
///
/// # Errors
/// None for a limit that the kernel knows.
pub(crate) fn limit(of: u32) -> io::Result<(u64, u64)> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` lives and is writable.
    match unsafe { libc::getrlimit(of, &raw mut limit) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok((limit.rlim_cur, limit.rlim_max)),
    }
}
