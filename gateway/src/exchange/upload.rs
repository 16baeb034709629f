//! A request body on its way to a `stdio` process.

use axum::body::Body;
use bytes::Bytes;
use warm_pool::{Lane, LaneError};

use crate::limits::{self, BodyError, Counted};

/// The rest of a request body. Counted against the function's `max_body` while it flows.
pub(crate) struct Upload {
    body: Body,
    counted: Counted,
    done: bool,
}

impl Upload {
    /// A body that may have `limit` bytes.
    pub(crate) fn new(body: Body, limit: u64) -> Self {
        Self { body, counted: Counted::new(limit), done: false }
    }

    /// Whether there may be more.
    pub(super) fn is_open(&self) -> bool {
        !self.done
    }

    /// The next piece, `None` at the end. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        limits::next(&mut self.body, &mut self.counted).await
    }

    /// Queues a piece on the lane, or the end.
    pub(super) fn push(&mut self, piece: Option<Bytes>, lane: &mut Lane) -> Result<(), LaneError> {
        match piece {
            Some(piece) => lane.push_body(piece),
            None => {
                self.done = true;
                lane.push_end()
            }
        }
    }
}
