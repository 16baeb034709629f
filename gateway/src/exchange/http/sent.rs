//! A request's body on its way to a server: counted against the function's bound while it flows.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};

use crate::limits::{BodyError, Counted};

/// See the module's head. Its task belongs to the connection, so what happened to it is told through [`Watched`].
pub(super) struct Sent {
    body: Body,
    counted: Counted,
    watched: Watched,
}

/// What is known of a body that is on its way.
#[derive(Clone, Default)]
pub(super) struct Watched(Arc<Mutex<Progress>>);

#[derive(Default)]
struct Progress {
    over: bool,
    error: Option<BodyError>,
}

/// The body broke off; why is told elsewhere.
#[derive(Debug, thiserror::Error)]
#[error("the request's body broke off")]
struct BrokenOff;

impl Sent {
    /// A body that may have `limit` bytes.
    pub(super) fn new(body: Body, limit: u64) -> (Self, Watched) {
        let watched = Watched::default();
        watched.lock().over = body.is_end_stream();
        let sent = Self {
            body,
            counted: Counted::new(limit),
            watched: watched.clone(),
        };
        (sent, watched)
    }
}

impl Watched {
    fn lock(&self) -> std::sync::MutexGuard<'_, Progress> {
        self.0.lock().expect("nothing panics under the lock")
    }

    /// Whether there may be more of it.
    pub(super) fn is_open(&self) -> bool {
        !self.lock().over
    }

    /// Why it broke off, if it did. Told once.
    pub(super) fn error(&self) -> Option<BodyError> {
        self.lock().error.take()
    }
}

impl http_body::Body for Sent {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
            None => None,
            Some(Ok(frame)) => Some(match frame.data_ref().map_or(0, Bytes::len) {
                0 => Ok(frame),
                bytes => self.counted.add(bytes).map(|()| frame),
            }),
            Some(Err(cause)) => Some(Err(BodyError::Broken(cause))),
        };
        Poll::Ready(match frame {
            Some(Ok(frame)) => Some(Ok(frame)),
            None => {
                self.watched.lock().over = true;
                None
            }
            Some(Err(error)) => {
                self.watched.lock().error = Some(error);
                Some(Err(BrokenOff.into()))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        self.watched.lock().over = true;
    }
}
