//! What one invocation at a time of an instance goes through.
//!
//! Which one an instance has is decided by its runtime, for all its life; the shelf only counts them.

use crate::lane::Lane;
use crate::link::Link;

/// See the module's head.
#[derive(Debug)]
pub(crate) enum Channel {
    /// Frames over an inherited socket: `python`, `node`, `stdio`.
    Frames(Lane),
    /// HTTP to a server that the function is: `http`.
    Http(Link),
}

impl Channel {
    /// Starts an exchange: the channel is dirty until the exchange is finished.
    pub(crate) fn begin(&mut self) {
        match self {
            Channel::Frames(lane) => {
                lane.begin();
            }
            Channel::Http(link) => link.begin(),
        }
    }

    /// Whether nothing is left of the last exchange.
    pub(crate) fn is_clean(&self) -> bool {
        match self {
            Channel::Frames(lane) => lane.is_clean(),
            Channel::Http(link) => link.is_clean(),
        }
    }
}
