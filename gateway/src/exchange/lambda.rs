//! A call of a function that asks for its invocations, as a runtime of Lambda does: the event is handed over, the answer is awaited.
//!
//! As with a handler, nothing can stop such a runtime but its end: when the caller leaves or the deadline passes, the instance is killed.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use functions::BootId;
use functions::payload::{PRELUDE_TYPE, Prelude, ReplyHead};
use functions::wire::{Failure, Invoke};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use tokio::sync::mpsc;
use warm_pool::{Answer as Said, Fate, Invocation, Lease, Poison, TRUNCATED};

use super::handler::Made;
use super::pump::{Flow, Piece, WAITING, deliver, hand_over};
use super::{Answer, Content, Failed, MOST_RESULT};
use crate::deadline::Deadline;

/// How long a process may take to be seen to end after it broke off.
const OBITUARY: Duration = Duration::from_millis(300);

/// A lease in an exchange with a runtime. Dropped without another end, it means that the caller left.
struct Held {
    lease: Option<Lease>,
}

impl Held {
    fn lease(&mut self) -> &mut Lease {
        self.lease.as_mut().expect("only what consumes self takes the lease")
    }

    /// The runtime has said all that it may.
    fn finish(mut self) {
        if let Some(mut lease) = self.lease.take()
            && let Err(error) = lease.finish()
        {
            tracing::debug!(error = super::chain(&error), "an invocation did not finish");
        }
    }

    fn poison(mut self, poison: Poison) {
        if let Some(lease) = self.lease.take() {
            lease.drain_log();
            lease.poison(poison);
        }
    }

    fn gone(self, fate: Fate) -> Failed {
        self.poison(Poison::Exited);
        Failed::Gone(fate)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.drain_log();
            lease.poison(Poison::ClientGone);
        }
    }
}

/// Hands over an event and waits for the answer, at the latest until the deadline.
pub(super) async fn event(mut lease: Lease, invoke: Invoke, event: Bytes, deadline: Deadline) -> Result<Made, Failed> {
    let boot_id = lease.boot_id();
    lease.begin(&invoke.request_id);
    let mut held = Held { lease: Some(lease) };
    let ended = held.lease().ended();
    let answer = held.lease().call(Invocation {
        id: invoke.request_id,
        deadline_ms: invoke.deadline_ms,
        arn: invoke.arn,
        trace_id: invoke.trace_id,
        client_context: invoke.client_context,
        event,
    });
    let begun = Instant::now();
    tokio::pin!(ended);
    let said = tokio::select! {
        // What it said before it ended counts.
        biased;
        said = answer => match said {
            Ok(said) => said,
            Err(_) => {
                let fate = held.lease().obituary().await;
                return Err(held.gone(fate));
            }
        },
        fate = &mut ended => return Err(held.gone(fate)),
        () = deadline.passed() => {
            held.poison(Poison::Timeout);
            return Err(Failed::Timeout);
        }
    };
    let handler = begun.elapsed();
    held.lease().handled(handler);
    match said {
        Said::Whole(json) => {
            held.finish();
            match json.len() <= MOST_RESULT {
                true => Ok(Made::Result { boot_id, handler, json }),
                false => Err(Failed::ResultTooLarge),
            }
        }
        Said::Failed(failure) => Err(failed(held, failure).await),
        Said::Crashed(failure) => {
            held.poison(Poison::Exited);
            Err(Failed::Function(Box::new(failure)))
        }
        Said::Stream { content_type, pieces } => {
            let begun = Begun { held, pieces, deadline };
            begun.head(boot_id, handler, content_type).await.map(Made::Stream)
        }
    }
}

/// A stream of which nothing was read yet.
struct Begun {
    held: Held,
    pieces: mpsc::Receiver<Result<Bytes, Failure>>,
    deadline: Deadline,
}

impl Begun {
    /// Reads the head, where the stream has one.
    async fn head(
        mut self,
        boot_id: BootId,
        handler: Duration,
        content_type: Option<HeaderValue>,
    ) -> Result<Answer, Failed> {
        let http = content_type
            .as_ref()
            .and_then(|kind| kind.to_str().ok())
            .is_some_and(|kind| kind.split(';').next().is_some_and(|kind| kind.trim() == PRELUDE_TYPE));
        let (head, first) = if http {
            let mut prelude = Prelude::default();
            loop {
                match self.deadline.bound(self.pieces.recv()).await {
                    Ok(Some(Ok(piece))) => match prelude.push(&piece) {
                        Ok(Some(found)) => break found,
                        Ok(None) => {}
                        Err(bad) => {
                            // The body that follows is of any length, so reading it to its end is no way out.
                            self.held.poison(Poison::Protocol);
                            return Err(bad.into());
                        }
                    },
                    Ok(Some(Err(failure))) => {
                        return Err(failed(self.held, failure).await);
                    }
                    Ok(None) => return Err(broke(self.held).await),
                    Err(_passed) => {
                        self.held.poison(Poison::Timeout);
                        return Err(Failed::Timeout);
                    }
                }
            }
        } else {
            let kind = content_type.unwrap_or(HeaderValue::from_static("application/octet-stream"));
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, kind)]);
            let status = StatusCode::OK;
            (ReplyHead { status, headers }, Bytes::new())
        };
        let flow = Flow::lambda(Stream {
            held: self.held,
            first,
            pieces: self.pieces,
            deadline: self.deadline,
        });
        Ok(Answer {
            boot_id,
            handler,
            head,
            bare: !http,
            length: None,
            body: Content::Flowing(Box::new(flow)),
        })
    }
}

/// An answer is an error: the runtime told it, or its process ended.
async fn failed(mut held: Held, failure: Failure) -> Failed {
    if failure.error_type == TRUNCATED {
        let fate = held.lease().obituary_within(OBITUARY).await;
        if fate != Fate::StillRunning {
            return held.gone(fate);
        }
    }
    held.finish();
    Failed::Function(Box::new(failure))
}

/// A stream ended before its head: the process has, or it sent no head.
async fn broke(mut held: Held) -> Failed {
    match held.lease().obituary_within(OBITUARY).await {
        Fate::StillRunning => {
            held.finish();
            Failed::Reply(functions::payload::BadReply::Prelude)
        }
        fate => held.gone(fate),
    }
}

/// A reply whose head came and whose body has not begun to flow.
pub(super) struct Stream {
    held: Held,
    first: Bytes,
    pieces: mpsc::Receiver<Result<Bytes, Failure>>,
    deadline: Deadline,
}

/// Carries the body to the caller, until its end or the deadline.
pub(super) async fn run(stream: Stream, caller: &mpsc::Sender<Piece>) -> Result<(), Failed> {
    let Stream {
        held,
        first,
        mut pieces,
        deadline,
    } = stream;
    let passed = deadline.passed();
    tokio::pin!(passed);
    let mut bytes = first.len();
    let mut waiting: VecDeque<Bytes> = (!first.is_empty()).then_some(first).into_iter().collect();
    loop {
        tokio::select! {
            permit = caller.reserve(), if !waiting.is_empty() => {
                // What is held is dropped with this function, which means that the caller left.
                let permit = permit.map_err(|_| Failed::ClientGone)?;
                let piece: Bytes = waiting.pop_front().expect("the branch needs a waiting piece");
                bytes -= piece.len();
                permit.send(Piece::Data(piece));
            }
            () = caller.closed(), if waiting.is_empty() => return Err(Failed::ClientGone),
            piece = pieces.recv(), if bytes < WAITING => match piece {
                Some(Ok(piece)) => {
                    bytes += piece.len();
                    if !piece.is_empty() {
                        waiting.push_back(piece);
                    }
                }
                Some(Err(failure)) => {
                    let failed = failed(held, failure).await;
                    hand_over(waiting, caller).await;
                    return Err(failed);
                }
                None => {
                    held.finish();
                    return deliver(waiting, caller).await;
                }
            },
            () = &mut passed => {
                held.poison(Poison::Timeout);
                return Err(Failed::Timeout);
            }
        }
    }
}
