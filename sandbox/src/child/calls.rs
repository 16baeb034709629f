//! The calls of foreign code that its filter stops at until pid 1 was told: who hears of which, and what they are answered.
//!
//! There is one listener for a filter, and pid 1 alone holds it, for as long as the sandbox lives: without it the calls would fail. What it
//! answers depends on the number alone ([`policy::goes_on`]), so that nothing of what foreign code wrote to memory decides it: a call of the few
//! that are allowed goes on, any other is refused with the errno that the filter would have answered itself.
//!
//! Pid 1 stands in the sandbox's cgroup, so a program that calls in a loop uses up its own processor time. While the sandbox is frozen both sides stand still.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::listening::Listening;
use super::watching::{Viewpoint, Watching};
use crate::filter::policy;
use crate::stage::{At, Stage, StageError};
use crate::sys::seccomp::{self, Answer};

/// See the module's head. The default hears of nothing.
#[derive(Default)]
pub(super) struct Calls {
    told: Option<OwnedFd>,
    listening: Listening,
    watching: Watching,
}

impl Calls {
    /// Hears of nothing yet, and will tell the host by `watching`.
    pub(super) fn watched_by(watching: Watching) -> Self {
        Self {
            watching,
            ..Self::default()
        }
    }

    /// From now on it hears of the calls that come by `told`.
    pub(super) fn hear_by(&mut self, told: OwnedFd) {
        self.told = Some(told);
    }

    /// What can be read when a call waits.
    pub(super) fn told(&self) -> Option<BorrowedFd<'_>> {
        self.told.as_ref().map(AsFd::as_fd)
    }

    /// Whom the host is told by.
    pub(super) fn watching(&mut self) -> &mut Watching {
        &mut self.watching
    }

    /// Answers a call that waits. `from` says whose it is.
    pub(super) fn answer(&mut self, from: &dyn Viewpoint) -> Result<(), StageError> {
        let Some(told) = self.told.as_ref().map(AsFd::as_fd) else {
            return Ok(());
        };
        let Some(call) = seccomp::next_call(told).at(Stage::Filter)? else {
            return Ok(());
        };
        if policy::LISTEN == i64::from(call.number) {
            // First, as the host is going to connect, and with a turn of the processor, as the call is not made yet. Where all
            // processors were busy, one of fifteen hosts connected too early, and one of five without that turn.
            seccomp::answer(told, call.id, Answer::GoOn).at(Stage::Filter)?;
            rustix::thread::sched_yield();
            self.listening.made();
            return Ok(());
        }
        // Looked at while it waits: afterwards its memory is that of another program.
        let sighting = self.watching.look(&call, from);
        let answer = match policy::goes_on(call.number) {
            true => Answer::GoOn,
            false => Answer::Refuse(libc::EPERM),
        };
        // One whose caller has ended meanwhile was not made, and its pid may have been another's already.
        if seccomp::answer(told, call.id, answer).at(Stage::Filter)?
            && let Some(sighting) = sighting
        {
            self.watching.tell(sighting);
        }
        Ok(())
    }

    /// Nobody is left who could make a call.
    pub(super) fn end(&mut self) {
        self.told = None;
    }

    /// The host wants to be told of the next call of listen, or of one before.
    pub(super) fn wished(&mut self, beside: Vec<OwnedFd>) {
        self.listening.wished(beside, self.told.is_some());
    }
}
