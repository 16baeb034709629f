//! A request's body on its way to a server: counted against the function's bound while it flows.
//!
//! It is sent as long as somebody waits for the reply. A server may have answered before it has read all, and its caller may send the rest for hours;
//! nothing but this ends that. What the caller still sends is read for a moment, so that he can use his connection again.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;

use crate::limits::{BodyError, Counted};

/// Most bytes that are read of a body that nobody wants.
const REST: usize = 16 * 1024 * 1024;
/// How long that may take. Less than the head of a next request may, whose time runs meanwhile.
const REST_TIME: Duration = Duration::from_secs(5);

/// See the module's head. Its task belongs to the connection, so what happened to it is told through [`Watched`].
pub(super) struct Sent {
    body: Body,
    counted: Counted,
    progress: Arc<Mutex<Progress>>,
}

/// What is known of a body that is on its way. Dropping it stops the body.
pub(super) struct Watched(Arc<Mutex<Progress>>);

#[derive(Default)]
struct Progress {
    over: bool,
    stopped: bool,
    error: Option<BodyError>,
    /// The task that sends it, to be told of a stop.
    sender: Option<Waker>,
}

/// The body broke off; why is told elsewhere.
#[derive(Debug, thiserror::Error)]
#[error("the request's body broke off")]
struct BrokenOff;

impl Sent {
    /// A body that may have `limit` bytes.
    pub(super) fn new(body: Body, limit: u64) -> (Self, Watched) {
        let progress = Arc::new(Mutex::new(Progress {
            over: body.is_end_stream(),
            ..Progress::default()
        }));
        let sent = Self {
            body,
            counted: Counted::new(limit),
            progress: progress.clone(),
        };
        (sent, Watched(progress))
    }
}

fn lock(progress: &Mutex<Progress>) -> MutexGuard<'_, Progress> {
    progress.lock().expect("nothing panics under the lock")
}

impl Watched {
    /// Whether there may be more of it.
    pub(super) fn is_open(&self) -> bool {
        !lock(&self.0).over
    }

    /// Why it broke off, if it did. Told once.
    pub(super) fn error(&self) -> Option<BodyError> {
        lock(&self.0).error.take()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let sender = {
            let mut progress = lock(&self.0);
            progress.stopped = true;
            progress.sender.take()
        };
        if let Some(sender) = sender {
            sender.wake();
        }
    }
}

impl http_body::Body for Sent {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        {
            let mut progress = lock(&self.progress);
            if progress.stopped {
                return Poll::Ready(Some(Err(BrokenOff.into())));
            }
            progress.sender = Some(context.waker().clone());
        }
        let frame = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
            None => None,
            // What a caller says behind his body was not looked at as his head was, and some servers put it there.
            Some(Ok(frame)) if frame.is_trailers() => None,
            Some(Ok(frame)) => Some(match frame.data_ref().map_or(0, Bytes::len) {
                0 => Ok(frame),
                bytes => self.counted.add(bytes).map(|()| frame),
            }),
            Some(Err(cause)) => Some(Err(BodyError::Broken(cause))),
        };
        Poll::Ready(match frame {
            Some(Ok(frame)) => Some(Ok(frame)),
            None => {
                lock(&self.progress).over = true;
                None
            }
            Some(Err(error)) => {
                lock(&self.progress).error = Some(error);
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
        lock(&self.progress).over = true;
        let body = std::mem::take(&mut self.body);
        // A task needs a runtime; without one the process is ending, and so is the connection.
        if !body.is_end_stream()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(tokio::time::timeout(REST_TIME, read_rest(body)));
        }
    }
}

async fn read_rest(mut body: Body) {
    let mut left = REST;
    while let Some(Ok(frame)) = body.frame().await {
        match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt, stream};
    use http_body_util::BodyExt;

    use super::*;

    /// A piece, and then nothing for ever.
    fn endless() -> Body {
        Body::from_stream(stream::iter([Ok::<_, std::io::Error>("piece")]).chain(stream::pending()))
    }

    #[tokio::test]
    async fn a_body_that_nobody_waits_for_is_stopped() {
        let (mut sent, watched) = Sent::new(endless(), 100);
        assert!(watched.is_open());
        sent.frame().await.unwrap().unwrap();
        let sending = tokio::spawn(async move { sent.frame().await.unwrap().is_err() });
        tokio::task::yield_now().await;
        drop(watched);
        assert!(sending.await.unwrap());
    }

    #[tokio::test]
    async fn trailers_are_left_out() {
        let trailers = http::HeaderMap::from_iter([("x-fn-forged".parse().unwrap(), "1".parse().unwrap())]);
        let frames = [
            Ok::<_, BrokenOff>(Frame::data(Bytes::from("all"))),
            Ok(Frame::trailers(trailers)),
        ];
        let body = Body::new(http_body_util::StreamBody::new(stream::iter(frames)));
        let (mut sent, watched) = Sent::new(body, 100);
        assert!(sent.frame().await.unwrap().unwrap().is_data());
        assert!(sent.frame().await.is_none() && !watched.is_open());
    }

    #[tokio::test]
    async fn a_body_beyond_its_bound_says_so() {
        let (mut sent, watched) = Sent::new(endless(), 4);
        assert!(sent.frame().await.unwrap().is_err());
        assert!(matches!(watched.error(), Some(BodyError::TooLarge { limit: 4 })));
        drop(sent);
        assert!(!watched.is_open());
    }
}
