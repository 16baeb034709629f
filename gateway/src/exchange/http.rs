//! A call of a function that is an HTTP server: the request goes to it as it came, and its reply comes back as it is.
//!
//! ```text
//! request head, body flows in <---> head of the reply --> body flows out      the connection is kept
//!                             \---> 101 ----------------> tunnel              closed when both sides are
//! ```
//!
//! A server goes on when one of its callers leaves or comes to his deadline: his connection is closed, which it sees, and the instance
//! is kept. Several calls in a row that it never answers are another matter, see [`Lease::abandon`].

mod forward;
mod sent;
mod trailers;
mod tunnel;

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use functions::BootId;
use functions::payload::ReplyHead;
use http::header::{CONTENT_LENGTH, Entry, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use tokio::sync::mpsc;
use warm_pool::{Fate, Lease, LinkError, Poison};

use self::sent::{Sent, Watched};
use super::pump::{Flow, Piece, WAITING, WAITING_UPLOAD, hand_over};
use super::{Answer, Content, Failed};
use crate::deadline::{Deadline, Passed};
use crate::reply;

pub(crate) use forward::{Asked, forwarded};
pub(crate) use trailers::are_taken as takes_trailers;
pub(crate) use tunnel::Tunnel;

/// How long a process may take to be seen to end after it broke a connection.
const OBITUARY: Duration = Duration::from_millis(300);

/// A lease in an exchange with a server. Dropped without another end, it means that the caller left.
pub(super) struct Held {
    lease: Option<Lease>,
}

impl Held {
    fn lease(&mut self) -> &mut Lease {
        self.lease.as_mut().expect("only what consumes self takes the lease")
    }

    /// The reply was read to its end.
    pub(super) fn finish(mut self) {
        if let Some(mut lease) = self.lease.take()
            && let Err(error) = lease.finish()
        {
            tracing::debug!(error = super::chain(&error), "an exchange over HTTP did not finish");
        }
    }

    pub(super) fn abandon(mut self, poison: Poison) {
        if let Some(lease) = self.lease.take() {
            lease.abandon(poison);
        }
    }

    fn poison(mut self, poison: Poison) {
        if let Some(lease) = self.lease.take() {
            lease.drain_log();
            lease.poison(poison);
        }
    }

    /// The connection broke: either the process has ended, or the server closed it.
    async fn broke(mut self) -> Failed {
        match self.lease().obituary_within(OBITUARY).await {
            Fate::StillRunning => {
                self.abandon(Poison::Exited);
                Failed::HungUp
            }
            fate => {
                self.poison(Poison::Exited);
                Failed::Gone(fate)
            }
        }
    }

    async fn fail(self, error: LinkError) -> Failed {
        match error {
            LinkError::Malformed(error) => {
                self.abandon(Poison::Protocol);
                Failed::NotHttp(error)
            }
            LinkError::Connect(error) => {
                tracing::debug!(%error, "a server can't be connected to");
                let mut held = self;
                let fate = held.lease().obituary_within(OBITUARY).await;
                if fate == Fate::StillRunning && !nobody_listens(&error) {
                    held.abandon(Poison::Exited);
                    return Failed::Unreached(error);
                }
                // Although it may run: it will serve nobody again.
                held.poison(Poison::Exited);
                Failed::Gone(fate)
            }
            _ => self.broke().await,
        }
    }
}

/// Whether an error says that nobody will ever accept a connection. Others pass: this process has no descriptor left, or the server has more
/// connections to accept than wait for it, and it has other callers.
fn nobody_listens(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound | io::ErrorKind::BrokenPipe
    )
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.abandon(Poison::ClientGone);
        }
    }
}

/// Sends the request on, its body as it comes and at most `limit` bytes of it, and waits for the head of the reply until the deadline.
pub(crate) async fn call(
    lease: Lease,
    request_id: &str,
    head: http::request::Parts,
    body: Body,
    limit: u64,
    deadline: Deadline,
) -> Result<Answer, Failed> {
    let method = head.method.clone();
    let protocol = head.headers.get(UPGRADE).cloned();
    let mut replied = send(lease, request_id, head, body, limit, deadline).await?;
    let status = replied.response.status();
    let mut headers = std::mem::take(replied.response.headers_mut());
    if let (StatusCode::SWITCHING_PROTOCOLS, Some(asked)) = (status, protocol) {
        let protocol = headers.remove(UPGRADE).unwrap_or(asked);
        reply::drop_connection(&mut headers);
        let upgrade = hyper::upgrade::on(&mut replied.response);
        let tunnel = Tunnel::new(replied.held, upgrade, protocol, deadline);
        return Ok(Answer {
            boot_id: replied.boot_id,
            handler: replied.handler,
            head: ReplyHead { status, headers },
            bare: false,
            length: None,
            body: Content::Tunnel(Box::new(tunnel)),
        });
    }
    let length = match method {
        // What a GET would get.
        Method::HEAD => headers
            .get(CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse().ok()),
        _ => replied.length(),
    };
    let trailers = trailers::announced(&headers);
    reply::drop_connection(&mut headers);
    Ok(replied.flowing(ReplyHead { status, headers }, length, trailers))
}

/// The head of a server's reply, whose body is still to come.
pub(super) struct Replied {
    pub(super) held: Held,
    pub(super) response: Response<Incoming>,
    watched: Watched,
    boot_id: BootId,
    handler: Duration,
    deadline: Deadline,
}

/// Sends a request and waits for the head of its reply.
pub(super) async fn send(
    mut lease: Lease,
    request_id: &str,
    mut head: http::request::Parts,
    body: Body,
    limit: u64,
    deadline: Deadline,
) -> Result<Replied, Failed> {
    let boot_id = lease.boot_id();
    lease.begin(request_id);
    let mut held = Held { lease: Some(lease) };
    if let (Some(length), Entry::Occupied(mut declared)) =
        (body.size_hint().exact(), head.headers.entry(CONTENT_LENGTH))
    {
        // Callers may say it in several lines, or several times in one; not every server reads those as hyper did.
        declared.insert(length.into());
    }
    let (sent, watched) = Sent::new(body, limit);
    let begun = Instant::now();
    let request = Request::from_parts(head, sent.boxed_unsync());
    let response = match deadline.bound(held.lease().send(request)).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => {
            return Err(match watched.error() {
                Some(error) => Failed::Body(error),
                None => held.fail(error).await,
            });
        }
        Err(Passed) => {
            held.abandon(Poison::Timeout);
            return Err(Failed::Timeout);
        }
    };
    let handler = begun.elapsed();
    held.lease().handled(handler);
    Ok(Replied {
        held,
        response,
        watched,
        boot_id,
        handler,
        deadline,
    })
}

impl Replied {
    /// How long the body is, if its head says so.
    pub(super) fn length(&self) -> Option<u64> {
        self.response.body().size_hint().exact()
    }

    /// Lets the body flow below a head, and behind it the trailers that were announced.
    pub(super) fn flowing(self, head: ReplyHead, length: Option<u64>, trailers: Option<HeaderValue>) -> Answer {
        let stream = Stream {
            held: self.held,
            body: self.response.into_body(),
            watched: self.watched,
            deadline: self.deadline,
            trailers,
        };
        Answer {
            boot_id: self.boot_id,
            handler: self.handler,
            head,
            bare: false,
            length,
            body: Content::Flowing(Box::new(Flow::http(stream))),
        }
    }
}

/// A reply whose head came and whose body has not begun to flow.
pub(super) struct Stream {
    held: Held,
    body: Incoming,
    watched: Watched,
    deadline: Deadline,
    trailers: Option<HeaderValue>,
}

impl Stream {
    pub(super) fn trailers(&self) -> Option<HeaderValue> {
        self.trailers.clone()
    }
}

/// Carries the body to the caller, until its end or the deadline.
pub(super) async fn run(stream: Stream, caller: &mpsc::Sender<Piece>) -> Result<(), Failed> {
    let Stream {
        held,
        mut body,
        watched,
        deadline,
        trailers: _,
    } = stream;
    let mut trailers = None;
    let (mut waiting, mut bytes): (VecDeque<Bytes>, usize) = (VecDeque::new(), 0);
    let passed = deadline.passed();
    tokio::pin!(passed);
    loop {
        let room = if watched.is_open() { WAITING_UPLOAD } else { WAITING };
        let frame = tokio::select! {
            permit = caller.reserve(), if !waiting.is_empty() => {
                // What is held is dropped with this function, which means that the caller left.
                let permit = permit.map_err(|_| Failed::ClientGone)?;
                let piece: Bytes = waiting.pop_front().expect("the branch needs a waiting piece");
                bytes -= piece.len();
                permit.send(Piece::Data(piece));
                continue;
            }
            () = caller.closed(), if waiting.is_empty() => return Err(Failed::ClientGone),
            frame = body.frame(), if bytes < room => frame,
            () = &mut passed => {
                // It has answered, so it is not stuck: for it, this is a caller who leaves.
                held.abandon(Poison::ClientGone);
                return Err(Failed::Timeout);
            }
        };
        match frame {
            Some(Ok(frame)) => {
                match frame.into_data() {
                    Ok(piece) if piece.is_empty() => {}
                    Ok(piece) => {
                        bytes += piece.len();
                        waiting.push_back(piece);
                    }
                    Err(other) => trailers = other.into_trailers().ok().and_then(trailers::checked),
                }
                // With its length told, whoever reads it leaves after the last byte, and does not wait for the end.
                if body.is_end_stream() {
                    held.finish();
                    return deliver(waiting, trailers, caller).await;
                }
            }
            Some(Err(error)) => {
                tracing::debug!(%error, "a reply broke off");
                let failed = match watched.error() {
                    Some(error) => Failed::Body(error),
                    None => held.broke().await,
                };
                hand_over(waiting, caller).await;
                return Err(failed);
            }
            None => {
                // The instance is free again although the caller may still be reading.
                held.finish();
                return deliver(waiting, trailers, caller).await;
            }
        }
    }
}

/// Hands over what waits after the exchange has ended.
async fn deliver(
    waiting: VecDeque<Bytes>,
    trailers: Option<HeaderMap>,
    caller: &mpsc::Sender<Piece>,
) -> Result<(), Failed> {
    for piece in waiting {
        caller.send(Piece::Data(piece)).await.map_err(|_| Failed::ClientGone)?;
    }
    // A body of known length is not asked for its end.
    let _asked = caller.send(trailers.map_or(Piece::End, Piece::Trailers)).await;
    Ok(())
}
