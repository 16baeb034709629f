//! What one invocation at a time of an instance goes through.
//!
//! Which one an instance has is decided by its runtime, for all its life; the shelf only counts them.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::lane::{Lane, LaneError};
use crate::link::Link;
use crate::runtime_api::{Answer, Desk, Invocation};

/// See the module's head.
#[derive(Debug)]
pub(crate) enum Channel {
    /// Frames over an inherited socket: `python`, `node`, `stdio`.
    Frames(Lane),
    /// HTTP to a server that the function is: `http`, `fdk`.
    Http(Link),
    /// Invocations that the function asks for: `lambda`.
    Runtime(Turn),
}

/// One invocation at a time of those that a runtime asks for.
#[derive(Debug)]
pub(crate) struct Turn {
    desk: Arc<Desk>,
    /// Whether an exchange has begun, and which invocation it is.
    open: Option<Option<String>>,
}

impl Turn {
    pub(crate) fn new(desk: Arc<Desk>) -> Turn {
        Turn { desk, open: None }
    }

    /// Where its invocations are handed out.
    pub(crate) fn desk(&self) -> &Arc<Desk> {
        &self.desk
    }

    pub(crate) fn call(&mut self, invocation: Invocation) -> oneshot::Receiver<Answer> {
        self.open = Some(Some(invocation.id.clone()));
        self.desk.call(invocation)
    }

    /// Ends the exchange, if the runtime has said all that it may.
    pub(crate) fn finish(&mut self) -> Result<(), LaneError> {
        if let Some(Some(id)) = &self.open
            && !self.desk.is_over(id)
        {
            return Err(LaneError::Unfinished);
        }
        self.open = None;
        Ok(())
    }
}

impl Channel {
    /// Starts an exchange: the channel is dirty until the exchange is finished.
    pub(crate) fn begin(&mut self) {
        match self {
            Channel::Frames(lane) => {
                lane.begin();
            }
            Channel::Http(link) => link.begin(),
            Channel::Runtime(turn) => turn.open = Some(None),
        }
    }

    /// Whether nothing is left of the last exchange.
    pub(crate) fn is_clean(&self) -> bool {
        match self {
            Channel::Frames(lane) => lane.is_clean(),
            Channel::Http(link) => link.is_clean(),
            Channel::Runtime(turn) => turn.open.is_none(),
        }
    }
}
