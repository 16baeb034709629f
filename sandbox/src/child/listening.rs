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
//! The host hears once for each time that it asks.
//!
//! Nothing is decided by this. What is told is that a call is about to be made: on which socket is not looked at, it may fail, and
//! whoever made it may be gone. One difference can be seen from inside: a handler without SA_RESTART that runs just when the call waits ends it
//! with `EINTR`.

use std::os::fd::{AsFd, OwnedFd};

use crate::packet;
use crate::reach::Answer;

/// See the module's head.
#[derive(Default)]
pub(super) struct Listening {
    /// A call was made of which the host was not told.
    untold: bool,
    /// Where the host waits to be told.
    wish: Option<OwnedFd>,
}

impl Listening {
    /// A call went on.
    pub(super) fn made(&mut self) {
        self.untold = true;
        self.tell();
    }

    /// The host wants to be told of the next call, or of one before. What to answer through is beside the wish, unless there was no
    /// room for it: its end is the answer then. Where no calls are `heard` of, that is said.
    pub(super) fn wished(&mut self, mut beside: Vec<OwnedFd>, heard: bool) {
        self.wish = beside.pop();
        if heard {
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
