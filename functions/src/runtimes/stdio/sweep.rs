//! Killing what a program left behind.

use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpid};

/// How far a sweep reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sweep {
    /// Everything in the pid namespace but its init and this process.
    PidNamespace,
    /// Only the process group of each program, which was killed when the program ended.
    Group,
}

/// How long to wait for killed processes to be gone: 5000 times a fifth of a millisecond.
const ROUNDS: u32 = 5000;
const ROUND: Duration = Duration::from_micros(200);

impl Sweep {
    /// What this process may sweep. In a sandbox the resident is pid 2, the only child of the namespace's init. No other
    /// process in user space can have that number, because on the host it belongs to a kernel thread; anywhere else a
    /// signal to everybody would hit strangers.
    pub(super) fn of_this_process() -> Sweep {
        if getpid() == Pid::from_raw(2) {
            Sweep::PidNamespace
        } else {
            Sweep::Group
        }
    }

    /// Kills every stray. Returns when they are gone, which takes init a moment to notice, or after a second or so: killed
    /// they are all the same, but they may still count against the limits.
    pub(super) fn strays(self) {
        if self == Sweep::Group {
            return;
        }
        for _ in 0..ROUNDS {
            // One signal reaches all: the kernel lets no process fork away while it goes through them.
            if kill(Pid::from_raw(-1), Signal::SIGKILL) == Err(Errno::ESRCH) {
                return;
            }
            std::thread::sleep(ROUND);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outside_a_sandbox_only_groups_are_swept() {
        assert_eq!(Sweep::of_this_process(), Sweep::Group);
    }
}
