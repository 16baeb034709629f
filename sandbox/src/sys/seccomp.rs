//! Attaching a compiled filter, and hearing of the calls that one tells of.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// One classic BPF instruction, as the kernel reads it.
pub(crate) use libc::sock_filter as Instruction;

/// Attaches `program` to this process and its future children, for good. `no_new_privs` must stand.
///
/// # Errors
/// `EACCES` without `no_new_privs`, `EINVAL` for a malformed program.
pub(crate) fn attach(program: &[Instruction]) -> io::Result<()> {
    attach_with(program, 0).map(drop)
}

/// The same with a program that tells of calls. What comes back is where to hear of them, close-on-exec: when its last copy is
/// closed, each call that the program tells of fails with `ENOSYS`. `None` where this can't be had, and nothing is attached
/// then: the kernel has no such thing, or this process runs under a filter of somebody else that tells of calls, and there can
/// be but one.
///
/// A call that was heard of and not yet let go on is interrupted by a deadly signal alone, from Linux 5.19 on.
///
/// # Errors
/// As [`attach`], and `EMFILE`.
pub(crate) fn attach_telling(program: &[Instruction]) -> io::Result<Option<OwnedFd>> {
    const TELLING: libc::c_ulong = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    for flags in [TELLING | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, TELLING] {
        match attach_with(program, flags) {
            // SAFETY: with this flag the call answers a new descriptor, which nobody else knows.
            Ok(number) => return Ok(Some(unsafe { OwnedFd::from_raw_fd(number) })),
            Err(error) => match error.raw_os_error() {
                Some(libc::EINVAL) => {}
                Some(libc::EBUSY) => return Ok(None),
                _ => return Err(error),
            },
        }
    }
    Ok(None)
}

fn attach_with(program: &[Instruction], flags: libc::c_ulong) -> io::Result<RawFd> {
    let length = u16::try_from(program.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let header = libc::sock_fprog {
        len: length,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: `header` and the instructions live through the call; the kernel copies and verifies them and writes to
    // neither. Legal after clone: one system call, no allocation.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const header,
        )
    };
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result as RawFd)
    }
}

/// A call that waits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    /// By which it is answered.
    pub(crate) id: u64,
    /// The thread that made it, as this process sees it; 0 where it does not.
    pub(crate) pid: i32,
    /// Which call.
    pub(crate) number: i32,
    /// Its arguments.
    pub(crate) arguments: [u64; 6],
}

/// What a call that waits is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is made, as far as the rest of its filters allow.
    GoOn,
    /// It is not made, and fails with this errno.
    Refuse(i32),
}

/// Takes the next call that waits. `None` when whoever made it has ended, or was interrupted, meanwhile. Waits
/// itself unless poll(2) has said that `calls` can be read.
///
/// # Errors
/// None that a call of foreign code could cause (seccomp_unotify(2)).
pub(crate) fn next_call(calls: BorrowedFd<'_>) -> io::Result<Option<Call>> {
    // SAFETY: plain numbers, for which all-zero bytes are a valid value, and the one that the kernel wants to find.
    let mut call: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the request's number holds the size of the struct, which is writable and outlives the call.
    let result = unsafe { libc::ioctl(calls.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut call) };
    match result {
        -1 => unless_over(io::Error::last_os_error()).map(|()| None),
        _ => Ok(Some(Call {
            id: call.id,
            pid: call.pid as i32,
            number: call.data.nr,
            arguments: call.data.args,
        })),
    }
}

/// Answers the call of this id. `false` when whoever made it has ended, or was interrupted, and it was not made (Linux 5.5).
///
/// # Errors
/// As [`next_call`].
pub(crate) fn answer(calls: BorrowedFd<'_>, id: u64, answer: Answer) -> io::Result<bool> {
    let (error, flags) = match answer {
        Answer::GoOn => (0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32),
        Answer::Refuse(errno) => (-errno, 0),
    };
    let mut answer = libc::seccomp_notif_resp {
        id,
        val: 0,
        error,
        flags,
    };
    // SAFETY: as above; the kernel only reads the answer.
    match unsafe { libc::ioctl(calls.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut answer) } {
        -1 => unless_over(io::Error::last_os_error()).map(|()| false),
        _ => Ok(true),
    }
}

fn unless_over(error: io::Error) -> io::Result<()> {
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::EINTR) => Ok(()),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsFd;
    use std::sync::mpsc;
    use std::thread;

    use super::*;
    use crate::filter::policy::Subject;
    use crate::filter::program;
    use crate::sighting::Watch;

    /// A filter is a thread's own: one that tells of calls, in a thread that then does what `then` says.
    fn under_a_filter<T: Send + 'static>(
        then: impl FnOnce() -> T + Send + 'static,
    ) -> (OwnedFd, thread::JoinHandle<T>) {
        let (send, receive) = mpsc::sync_channel(1);
        let thread = thread::spawn(move || {
            nix::sys::prctl::set_no_new_privs().unwrap();
            send.send(
                attach_telling(&program(Subject::Worker(Watch::default())))
                    .unwrap()
                    .unwrap(),
            )
            .unwrap();
            then()
        });
        (receive.recv().unwrap(), thread)
    }

    #[test]
    fn a_call_is_made_when_it_is_let_go_on() {
        if !tells() {
            return;
        }
        let (calls, thread) = under_a_filter(|| TcpListener::bind("127.0.0.1:0").map(drop));
        let call = next_call(calls.as_fd()).unwrap().unwrap();
        assert_eq!(libc::c_long::from(call.number), libc::SYS_listen);
        assert!(answer(calls.as_fd(), call.id, Answer::GoOn).unwrap());
        thread.join().unwrap().unwrap();
        // Who made it is gone, and was answered.
        assert!(!answer(calls.as_fd(), call.id, Answer::GoOn).unwrap());
    }

    #[test]
    fn a_call_that_is_refused_is_not_made() {
        if !tells() {
            return;
        }
        let (calls, thread) = under_a_filter(|| TcpListener::bind("127.0.0.1:0").map(drop));
        let call = next_call(calls.as_fd()).unwrap().unwrap();
        assert!(answer(calls.as_fd(), call.id, Answer::Refuse(libc::EPERM)).unwrap());
        let refused = thread.join().unwrap().unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EPERM));
    }

    #[test]
    fn nobody_to_let_it_go_on_is_as_if_there_were_no_such_call() {
        if !tells() {
            return;
        }
        let (calls, thread) = under_a_filter(|| TcpListener::bind("127.0.0.1:0").map(drop));
        drop(calls);
        let refused = thread.join().unwrap().unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::ENOSYS));
    }

    #[test]
    fn under_a_filter_that_tells_there_is_no_second_one() {
        if !tells() {
            return;
        }
        // A filter of somebody else's, which lets another be attached.
        let all: Vec<Instruction> = program(Subject::Template(Watch::default()));
        let thread = thread::spawn(move || {
            nix::sys::prctl::set_no_new_privs().unwrap();
            let first = attach_telling(&all).unwrap();
            let second = attach_telling(&program(Subject::Worker(Watch::default()))).unwrap();
            attach(&program(Subject::Foreign)).unwrap();
            (
                first.is_some(),
                second.is_some(),
                TcpListener::bind("127.0.0.1:0").is_ok(),
            )
        });
        assert_eq!(thread.join().unwrap(), (true, false, true));
    }

    fn tells() -> bool {
        let actions = std::fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default();
        let tells = actions.contains("user_notif");
        if !tells {
            println!("SKIP: the kernel tells of no calls");
        }
        tells
    }
}
