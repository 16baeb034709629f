//! A reply that flows: a task carries frames from the lane to the caller, and for `stdio` the request's body the other way.
//!
//! A task, and not the caller's own future, because the deadline must hold for a caller who does not read: hyper asks for a reply's body
//! only when the socket has room.
//!
//! ```text
//! lane --> waiting pieces (bounded) --> channel of one --> body --> hyper
//! ```
//!
//! While the request is still coming in, as much of the reply may wait as the request may be long: many clients read nothing before they
//! have sent everything, and a program like `cat` would wait for them for ever.
//!
//! A reply that breaks off ends in an error of the body, upon which hyper cuts the connection: it never looks complete.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ::http::{HeaderMap, HeaderValue};
use axum::body::Body;
use bytes::Bytes;
use functions::wire::InstanceFrame;
use http_body::Frame;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::sync::{mpsc, oneshot};
use warm_pool::{Lane, LaneError, Poison};

use super::held::Held;
use super::upload::Upload;
use super::{Failed, MOST_RESULT, http, lambda};
use crate::deadline::Deadline;

/// Bytes of a reply that wait for the caller.
pub(super) const WAITING: usize = 256 * 1024;
/// Bytes of a reply that wait while the request is still coming in.
pub(super) const WAITING_UPLOAD: usize = 8 * 1024 * 1024;

/// What happened on a lane.
pub(super) enum Turn {
    /// A frame came.
    Frame(InstanceFrame),
    /// What was queued is written, and there is room for more.
    Sent,
}

/// Waits for either. Cancel safe.
pub(super) async fn turn(lane: &mut Lane) -> Result<Turn, LaneError> {
    let queued = lane.queued_bytes() > 0;
    poll_fn(|context| {
        if let Poll::Ready(frame) = lane.poll_next(context) {
            return Poll::Ready(frame.map(Turn::Frame));
        }
        if queued && lane.queued_bytes() == 0 {
            Poll::Ready(Ok(Turn::Sent))
        } else {
            Poll::Pending
        }
    })
    .await
}

/// A reply whose head came and whose body has not begun to flow.
pub(crate) struct Flow(Source);

/// Where it flows from.
enum Source {
    Frames(Frames),
    Http(http::Stream),
    Lambda(lambda::Stream),
}

struct Frames {
    held: Held,
    deadline: Deadline,
    upload: Option<Upload>,
}

impl Flow {
    /// From the lane of an instance that speaks frames.
    pub(super) fn frames(held: Held, deadline: Deadline, upload: Option<Upload>) -> Self {
        Self(Source::Frames(Frames { held, deadline, upload }))
    }

    /// From a server.
    pub(super) fn http(stream: http::Stream) -> Self {
        Self(Source::Http(stream))
    }

    /// From a runtime of Lambda.
    pub(super) fn lambda(stream: lambda::Stream) -> Self {
        Self(Source::Lambda(stream))
    }

    /// The names of the fields that may follow its body, as a header names them.
    pub(crate) fn trailers(&self) -> Option<HeaderValue> {
        match &self.0 {
            Source::Http(stream) => stream.trailers(),
            Source::Frames(_) | Source::Lambda(_) => None,
        }
    }

    async fn run(self, caller: &mpsc::Sender<Piece>) -> Result<(), Failed> {
        match self.0 {
            Source::Frames(frames) => run(frames, caller).await,
            Source::Http(stream) => http::run(stream, caller).await,
            Source::Lambda(stream) => lambda::run(stream, caller).await,
        }
    }

    /// Lets it flow. `ended` is called once, when the last byte is handed over or when it breaks off.
    pub(crate) fn start(self, ended: impl FnOnce(Result<(), Failed>) + Send + 'static) -> Body {
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move { ended(self.run(&sender).await) });
        Body::new(Flowing { receiver, ended: false })
    }

    /// All of it, once the function has come to its end.
    ///
    /// # Errors
    /// [`Failed::ResultTooLarge`] as soon as it is over [`MOST_RESULT`], else how it broke off.
    pub(crate) async fn gather(self) -> Result<Bytes, Failed> {
        let (tell, told) = oneshot::channel();
        let body = self.start(move |ended| drop(tell.send(ended)));
        match Limited::new(body, MOST_RESULT).collect().await {
            Ok(body) => {
                told.await.unwrap_or(Err(Failed::ClientGone))?;
                Ok(body.to_bytes())
            }
            Err(error) if error.is::<LengthLimitError>() => Err(Failed::ResultTooLarge),
            Err(_) => {
                told.await.unwrap_or(Err(Failed::ClientGone))?;
                Err(Failed::ClientGone)
            }
        }
    }

    /// Lets it flow to nobody: the caller gets the head alone (HEAD, 204), and the function runs to its end all the same.
    pub(crate) fn drain(self, ended: impl FnOnce(Result<(), Failed>) + Send + 'static) {
        let (sender, mut receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            let drained = async { while receiver.recv().await.is_some() {} };
            let run = async move { self.run(&{ sender }).await };
            ended(tokio::join!(run, drained).0);
        });
    }
}

/// What goes through the channel.
pub(super) enum Piece {
    Data(Bytes),
    /// What follows the body; then it is over.
    Trailers(HeaderMap),
    End,
}

async fn run(frames: Frames, caller: &mpsc::Sender<Piece>) -> Result<(), Failed> {
    let Frames {
        held,
        deadline,
        mut upload,
    } = frames;
    let mut held = Some(held);
    let (mut waiting, mut bytes) = (VecDeque::new(), 0);
    let passed = deadline.passed();
    tokio::pin!(passed);
    loop {
        let Some(lane) = held.as_mut().map(Held::lane) else {
            return deliver(waiting, caller).await;
        };
        let sending = upload.as_ref().is_some_and(Upload::is_open);
        let room = sending && lane.queued_bytes() == 0;
        let reading = bytes < if sending { WAITING_UPLOAD } else { WAITING };
        let turned = tokio::select! {
            permit = caller.reserve(), if !waiting.is_empty() => {
                // The lease is dropped with this function, which means that the caller left.
                let permit = permit.map_err(|_| Failed::ClientGone)?;
                let piece: Bytes = waiting.pop_front().expect("the branch needs a waiting piece");
                bytes -= piece.len();
                permit.send(Piece::Data(piece));
                continue;
            }
            () = caller.closed(), if waiting.is_empty() => return Err(Failed::ClientGone),
            turned = turn(lane), if reading => turned,
            piece = next(&mut upload), if room => {
                let piece = match piece {
                    Ok(piece) => piece,
                    Err(error) => {
                        // Dropping the lease cancels the program.
                        drop(held);
                        hand_over(waiting, caller).await;
                        return Err(Failed::Body(error));
                    }
                };
                let held = held.as_mut().expect("this turn began with a lease");
                upload.as_mut().map_or(Ok(()), |upload| upload.push(piece, held.lane())).map(|()| Turn::Sent)
            }
            () = &mut passed => {
                take(&mut held).poison(Poison::Timeout);
                return Err(Failed::Timeout);
            }
        };
        match turned {
            Ok(Turn::Sent) => {}
            Ok(Turn::Frame(InstanceFrame::Body(piece))) => {
                bytes += piece.len();
                if !piece.is_empty() {
                    waiting.push_back(piece);
                }
            }
            Ok(Turn::Frame(InstanceFrame::End(_))) => {
                // The instance is free again although the caller may still be reading.
                take(&mut held).finish_quietly().await;
            }
            Ok(Turn::Frame(InstanceFrame::Error { failure, .. })) => {
                let failed = take(&mut held).function_failed(failure).await;
                hand_over(waiting, caller).await;
                return Err(failed);
            }
            Ok(Turn::Frame(_)) => unreachable!("the lane lets nothing else come after HEAD"),
            Err(error) => {
                let failed = take(&mut held).fail(error).await;
                hand_over(waiting, caller).await;
                return Err(failed);
            }
        }
    }
}

fn take(held: &mut Option<Held>) -> Held {
    held.take().expect("the loop goes on only with a lease")
}

async fn next(upload: &mut Option<Upload>) -> Result<Option<Bytes>, crate::limits::BodyError> {
    match upload {
        Some(upload) => upload.next().await,
        None => std::future::pending().await,
    }
}

/// Hands over what waits after the exchange has ended.
pub(super) async fn deliver(waiting: VecDeque<Bytes>, caller: &mpsc::Sender<Piece>) -> Result<(), Failed> {
    for piece in waiting.into_iter().map(Piece::Data).chain([Piece::End]) {
        caller.send(piece).await.map_err(|_| Failed::ClientGone)?;
    }
    Ok(())
}

/// Hands over what came before a failure: it was said, and a reply that breaks off is broken off where it ended. A caller who left gets nothing.
pub(super) async fn hand_over(waiting: VecDeque<Bytes>, caller: &mpsc::Sender<Piece>) {
    for piece in waiting {
        if caller.send(Piece::Data(piece)).await.is_err() {
            return;
        }
    }
}

/// The body that hyper reads from.
struct Flowing {
    receiver: mpsc::Receiver<Piece>,
    ended: bool,
}

/// The reply ended before its function said so.
#[derive(Debug, thiserror::Error)]
#[error("the reply broke off")]
struct BrokenOff;

impl http_body::Body for Flowing {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        Poll::Ready(match ready!(self.receiver.poll_recv(context)) {
            Some(Piece::Data(data)) => Some(Ok(Frame::data(data))),
            Some(Piece::Trailers(trailers)) => {
                self.ended = true;
                Some(Ok(Frame::trailers(trailers)))
            }
            Some(Piece::End) => {
                self.ended = true;
                None
            }
            None => {
                self.ended = true;
                Some(Err(BrokenOff))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}
