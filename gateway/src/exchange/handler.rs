//! A call of a handler: the whole event goes in, a result or a stream comes out.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use functions::Runtime;
use functions::payload;
use functions::wire::{InstanceFrame, Invoke};
use warm_pool::{Lease, Poison};

use super::held::{Held, Leave};
use super::pump::Flow;
use super::{Answer, Content, Failed, MOST_RESULT, lambda};
use crate::deadline::{Deadline, Passed};

/// What a handler made of an event.
pub(crate) enum Made {
    /// A result, the JSON as it came; the lease is home.
    Result {
        /// The process that answered.
        boot_id: functions::BootId,
        /// Time in the handler.
        handler: Duration,
        /// At most [`MOST_RESULT`] bytes.
        json: Bytes,
    },
    /// An HTTP reply that streams.
    Stream(Answer),
}

/// Calls the handler and takes its result for an HTTP reply. Ends at the latest at the deadline; then the instance is killed.
pub(crate) async fn call(lease: Lease, invoke: Invoke, event: Bytes, deadline: Deadline) -> Result<Answer, Failed> {
    match self::event(lease, invoke, event, deadline).await? {
        Made::Result { boot_id, handler, json } => {
            let payload::Reply { head, body } = payload::reply(&json)?;
            Ok(Answer {
                boot_id,
                handler,
                length: None,
                head,
                bare: false,
                body: Content::Whole(body),
            })
        }
        Made::Stream(answer) => Ok(answer),
    }
}

/// Calls the handler with any event; what the result means is the caller's business. Ends at the latest at the deadline; then the
/// instance is killed.
pub(crate) async fn event(lease: Lease, invoke: Invoke, event: Bytes, deadline: Deadline) -> Result<Made, Failed> {
    if lease.revision().settings.runtime == Runtime::Lambda {
        return lambda::event(lease, invoke, event, deadline).await;
    }
    let mut held = Held::begin(lease, &invoke.request_id, Leave::Kill);
    if let Err(error) = held.lane().push_call(invoke, event) {
        return Err(held.fail(error).await);
    }
    let begun = Instant::now();
    let first = match deadline.bound(read(&mut held)).await {
        Ok(Ok(first)) => first,
        Ok(Err(error)) => return Err(held.fail(error).await),
        Err(Passed) => {
            held.poison(Poison::Timeout);
            return Err(Failed::Timeout);
        }
    };
    match first {
        Read::Result {
            boot_id,
            result,
            handler,
        } => {
            held.handled(handler);
            held.finish_quietly().await;
            Ok(Made::Result {
                boot_id,
                handler,
                json: result.ok_or(Failed::ResultTooLarge)?,
            })
        }
        Read::Head(head) => match payload::reply_head(&head) {
            Ok(checked) => {
                let handler = begun.elapsed();
                held.handled(handler);
                let flow = Flow::frames(held, deadline, None);
                Ok(Made::Stream(Answer {
                    boot_id: head.boot_id,
                    handler,
                    head: checked,
                    bare: head.bare,
                    length: None,
                    body: Content::Flowing(Box::new(flow)),
                }))
            }
            Err(bad) => {
                // The body that follows is of any length, so reading it to its end is no way out.
                held.poison(Poison::Protocol);
                Err(bad.into())
            }
        },
        Read::Failed(failure) => Err(held.function_failed(failure).await),
    }
}

/// What a handler's lane said.
enum Read {
    /// A whole result; `None` when it is over the limit.
    Result {
        boot_id: functions::BootId,
        result: Option<Bytes>,
        handler: Duration,
    },
    /// The head of a stream.
    Head(functions::wire::Head),
    /// The handler raised an error.
    Failed(functions::wire::Failure),
}

/// Reads up to the end of a result, or to the head of a stream. The lane itself refuses frames that may not come now.
async fn read(held: &mut Held) -> Result<Read, warm_pool::LaneError> {
    let mut boot_id = None;
    let mut result = Gathered::default();
    loop {
        match held.lane().next().await? {
            InstanceFrame::Head(head) => return Ok(Read::Head(head)),
            InstanceFrame::Error { failure, .. } => return Ok(Read::Failed(failure)),
            InstanceFrame::Result(head) => boot_id = Some(head.boot_id),
            InstanceFrame::Body(piece) => result.add(piece),
            InstanceFrame::End(end) => {
                let boot_id = boot_id.expect("the lane lets END come only after RESULT or HEAD");
                let handler = Duration::from_micros(end.handler_us);
                return Ok(Read::Result {
                    boot_id,
                    result: result.whole(),
                    handler,
                });
            }
            InstanceFrame::Parked | InstanceFrame::Ready(_) | InstanceFrame::InitError(_) => {
                unreachable!("the lane lets none of them come in an exchange")
            }
        }
    }
}

/// The pieces of a result. One piece is kept as it came.
#[derive(Default)]
struct Gathered {
    first: Option<Bytes>,
    all: BytesMut,
    size: usize,
}

impl Gathered {
    /// Takes a piece. Beyond the limit pieces are counted and thrown away: the lane stays in step, and memory bounded.
    fn add(&mut self, piece: Bytes) {
        self.size += piece.len();
        if self.size > MOST_RESULT {
            (self.first, self.all) = (None, BytesMut::new());
        } else if self.first.is_none() && self.all.is_empty() {
            self.first = Some(piece);
        } else {
            if let Some(first) = self.first.take() {
                self.all.extend_from_slice(&first);
            }
            self.all.extend_from_slice(&piece);
        }
    }

    fn whole(self) -> Option<Bytes> {
        if self.size > MOST_RESULT {
            None
        } else {
            Some(self.first.unwrap_or_else(|| self.all.freeze()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gather(pieces: &[usize]) -> Option<Bytes> {
        let mut gathered = Gathered::default();
        for size in pieces {
            gathered.add(Bytes::from(vec![1; *size]));
        }
        gathered.whole()
    }

    #[test]
    fn pieces_add_up_to_the_limit_and_no_further() {
        assert_eq!(gather(&[]).unwrap().len(), 0);
        assert_eq!(gather(&[5]).unwrap().len(), 5);
        assert_eq!(gather(&[5, 0, 7, 1]).unwrap().len(), 13);
        assert_eq!(gather(&[MOST_RESULT - 1, 1]).unwrap().len(), MOST_RESULT);
        assert!(gather(&[MOST_RESULT, 1]).is_none());
        assert!(gather(&[MOST_RESULT + 1]).is_none());
        assert!(gather(&[MOST_RESULT, 1, 1, 1]).is_none());
    }
}
