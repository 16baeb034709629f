//! What pid 1 hears of listen(2) in its sandbox, and when the host is told.
//!
//! ```text
//!  a process calls listen --filter--> it waits --> pid 1 lets it go on --> the call is made
//!                                                      |
//!                 the host wished to hear of it -------+--> told, once
//!                 nobody did --------------------------+--> kept, for the next wish
//! ```
//!
//! The filter that every worker attaches ahead of its start has one more answer for this (see `filter::policy`), so it costs a
//! start nothing: no second filter, which would be attached on the way, no message of its own, as the descriptor travels beside
//! the word that the worker is confined, and nobody is woken. What it costs is a turn through pid 1 for each call of listen. A second
//! filter for those alone who are going to be connected to is not possible: a worker is confined before it is known whose it will be, and
//! what confines it forbids any further filter.
//!
//! Pid 1 and nobody else holds the descriptor, for as long as the sandbox lives: without it listen would fail. It stands in the
//! sandbox's cgroup, so a program that listens in a loop uses up its own processor time; the host hears once for each time that it asks.
//! While the sandbox is frozen both sides stand still.
//!
//! Nothing is decided by this. What is told is that a call is about to be made: on which socket is not looked at, it may fail, and
//! whoever made it may be gone. One difference can be seen from inside: a handler without SA_RESTART that runs just when the call waits ends it
//! with `EINTR`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::packet;
use crate::reach::Answer;
use crate::stage::{At, Stage, StageError};
use crate::sys::seccomp;

/// See the module's head. The default hears of nothing.
#[derive(Default)]
pub(super) struct Listening {
    calls: Option<OwnedFd>,
    /// One was made of which the host was not told.
    untold: bool,
    /// Where the host waits to be told.
    wish: Option<OwnedFd>,
}

impl Listening {
    /// Hears of the calls that come by `calls`.
    pub(super) fn to(calls: OwnedFd) -> Self {
        Self {
            calls: Some(calls),
            ..Self::default()
        }
    }

    /// What can be read when a call waits.
    pub(super) fn calls(&self) -> Option<BorrowedFd<'_>> {
        self.calls.as_ref().map(AsFd::as_fd)
    }

    /// Lets a call go on that waits.
    pub(super) fn hear(&mut self) -> Result<(), StageError> {
        let Some(calls) = self.calls() else { return Ok(()) };
        if let Some(id) = seccomp::next_call(calls).at(Stage::Filter)? {
            // First, as the host is going to connect, and with a turn of the processor, as the call is not made yet. Where all
            // processors were busy, one of fifteen hosts connected too early, and one of five without that turn.
            seccomp::let_go_on(calls, id).at(Stage::Filter)?;
            rustix::thread::sched_yield();
            self.untold = true;
            self.tell();
        }
        Ok(())
    }

    /// Nobody is left who could make a call.
    pub(super) fn end(&mut self) {
        self.calls = None;
    }

    /// The host wants to be told of the next call, or of one before. What to answer through is beside the wish, unless there was no
    /// room for it: its end is the answer then.
    pub(super) fn wished(&mut self, mut beside: Vec<OwnedFd>) {
        self.wish = beside.pop();
        if self.calls.is_some() {
            self.tell();
        } else if let Some(to) = self.wish.take() {
            let _gone = packet::send(to.as_fd(), &Answer::Untold, &[]);
        }
    }

    fn tell(&mut self) {
        if !self.untold {
            return;
        }
        let Some(to) = self.wish.take() else { return };
        // A host that waits no longer was not told.
        self.untold = packet::send(to.as_fd(), &Answer::Listens, &[]).is_err();
    }
}
