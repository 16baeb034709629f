//! Which reply frame may follow which.

use super::error::WireError;
use super::frame::{Frame, InstanceFrame};

/// Watches the frames of one reply and refuses any that may not come where it comes.
///
/// ```text
///  Due --RESULT|HEAD--> Body --END|ERROR--> Done
///   `--------------ERROR-------------------^
/// ```
#[derive(Debug, Clone)]
pub struct ReplyOrder {
    seq: u32,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Due,
    Body,
    Done,
}

impl ReplyOrder {
    /// The reply to invocation `seq` of a lane.
    pub fn new(seq: u32) -> Self {
        Self { seq, state: State::Due }
    }

    /// Takes note of a frame.
    ///
    /// # Errors
    /// [`WireError::Sequence`] for a frame of another invocation, [`WireError::OutOfOrder`] for one that may not come
    /// now.
    pub fn accept(&mut self, seq: u32, frame: &InstanceFrame) -> Result<(), WireError> {
        if seq != self.seq {
            return Err(WireError::Sequence {
                kind: frame.kind(),
                expected: self.seq,
                got: seq,
            });
        }
        self.state = match (self.state, frame) {
            (State::Due, InstanceFrame::Result(_) | InstanceFrame::Head(_)) => State::Body,
            (State::Body, InstanceFrame::Body(_)) => State::Body,
            (State::Body, InstanceFrame::End(_)) => State::Done,
            (State::Due | State::Body, InstanceFrame::Error { .. }) => State::Done,
            _ => return Err(WireError::OutOfOrder(frame.kind())),
        };
        Ok(())
    }

    /// Whether END or ERROR has come.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }
}
