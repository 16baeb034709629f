//! One call over a lane: the request in, the reply out.
//!
//! ```text
//! handler   body buffered, event pushed --> RESULT, BODY*, END   --> a whole reply, or the JSON itself
//!                                      \--> HEAD ---------------> pump: BODY* to the caller as they come
//! stdio     body streamed up <---> HEAD ------------------------> pump: both ways at once
//! lambda    body buffered, event handed over --> as a handler, see [`mod@lambda`]
//! fdk       the same, with the request inside of another, see [`mod@fdk`]
//! http      the request goes to the server that the function is, see [`mod@http`]
//! ```
//!
//! Owns the lease from acquire until the call's end, in a [`Held`]. Cancel safety: when the future of a call is dropped (the caller left), a handler's
//! instance is poisoned, because nothing can stop the handler but its end; a `stdio` process is cancelled by its
//! resident, and the lease goes home if the resident says so in time. After HEAD the same happens as soon as the reply's body is dropped.

mod fdk;
mod handler;
mod held;
mod http;
mod lambda;
mod pump;
mod stdio;
mod upload;

use std::time::Duration;

use ::http::HeaderValue;
use bytes::Bytes;
use functions::BootId;
use functions::payload::{BadReply, ReplyHead};
use functions::wire::Failure;
use warm_pool::{Fate, LaneError};

use crate::limits::BodyError;
use crate::outcome::{Code, Outcome};
use crate::reply;

pub(crate) use fdk::call as fdk;
pub(crate) use handler::{Made, call as handler, event};
pub(crate) use http::{Asked, Tunnel, call as http, forwarded, takes_trailers};
pub(crate) use pump::Flow;
pub(crate) use stdio::call as stdio;
pub(crate) use upload::Upload;

/// Most bytes of a handler's JSON result: Lambda's 6 MiB, and some for what wraps the body.
pub(crate) const MOST_RESULT: usize = 6 * 1024 * 1024 + 64 * 1024;

/// What a function answered.
pub(crate) struct Answer {
    /// The process that answered.
    pub(crate) boot_id: BootId,
    /// Time in the handler; for a streamed reply, until its head.
    pub(crate) handler: Duration,
    /// Status and headers, as the function gave them.
    pub(crate) head: ReplyHead,
    /// The function wrote bytes and gave no head: this one is the platform's.
    pub(crate) bare: bool,
    /// How long the body is, where that is known before it has flowed; for HEAD, how long it would be.
    pub(crate) length: Option<u64>,
    /// The rest.
    pub(crate) body: Content,
}

impl Answer {
    /// The names of the fields that may follow its body, as a header names them.
    pub(crate) fn trailers(&self) -> Option<HeaderValue> {
        match &self.body {
            Content::Flowing(flow) if !reply::is_bodiless(self.head.status) => flow.trailers(),
            _ => None,
        }
    }
}

/// The body of an answer.
pub(crate) enum Content {
    /// All of it; the lease is home.
    Whole(Bytes),
    /// It comes while the caller reads.
    Flowing(Box<Flow>),
    /// There is none: the connection becomes something else.
    Tunnel(Box<Tunnel>),
}

/// Why a call ended without a whole answer. The lease is home or poisoned by then.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    /// The function raised an error, or its process was told to stop.
    #[error("the function failed: {0}")]
    Function(Box<Failure>),
    /// What it answered is no HTTP reply.
    #[error("the function's answer is no HTTP reply")]
    Reply(#[from] BadReply),
    /// Its result is over the limit.
    #[error("the function's result is over {MOST_RESULT} bytes")]
    ResultTooLarge,
    /// Its process ended, or closed its lane.
    #[error("the function's process {0}")]
    Gone(Fate),
    /// What came over the lane is not the protocol.
    #[error("the function's process broke the protocol")]
    Lane(#[source] LaneError),
    /// Its server closed the connection in the middle of an exchange, and runs on.
    #[error("the function's server closed the connection before its reply was complete")]
    HungUp,
    /// Its server can't be connected to at this moment. Nothing was sent.
    #[error("the function's server can't be connected to")]
    Unreached(#[source] std::io::Error),
    /// What its server sent is no HTTP reply.
    #[error("the function's server sent something that is no HTTP reply")]
    NotHttp(#[source] hyper::Error),
    /// The deadline passed.
    #[error("the function did not answer before the deadline")]
    Timeout,
    /// The same for a connection that had switched to another protocol.
    #[error("the connection, which had switched protocols, was open until the deadline; both its sides are closed")]
    TunnelTimeout,
    /// The request's body broke off or is over the limit.
    #[error("the request's body could not be sent to the function")]
    Body(#[source] BodyError),
    /// The caller left while the reply was flowing.
    #[error("the caller left")]
    ClientGone,
}

/// Whether callers get to see what a function said when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Errors {
    /// They read a code and a general sentence.
    Hidden,
    /// They read the function's own `{errorMessage, errorType, stackTrace}`.
    Exposed,
}

impl Failed {
    /// What the caller and the log get for it.
    pub(crate) fn outcome(self, errors: Errors) -> Outcome {
        let detail = chain(&self);
        let outcome = match self {
            Self::Function(failure) => {
                return function_error(Code::FunctionError, "the function raised an error", &failure, errors);
            }
            Self::HungUp => Outcome::new(
                Code::BadReply,
                "the function's server closed the connection before its reply was complete",
            ),
            Self::ResultTooLarge => Outcome::new(Code::BadReply, "the function's reply is longer than it may be"),
            Self::Reply(_) | Self::NotHttp(_) => match errors {
                Errors::Exposed => Outcome::new(Code::BadReply, detail.clone()),
                Errors::Hidden => Outcome::new(
                    Code::BadReply,
                    "the function answered with something that is no HTTP reply",
                ),
            },
            Self::Unreached(_) => Outcome::new(
                Code::Unavailable,
                "the function's server can't be connected to at this moment",
            ),
            Self::Gone(Fate::OutOfMemory) => {
                Outcome::new(Code::OutOfMemory, "the function ran out of memory and was stopped")
            }
            Self::Gone(Fate::Condemned) => {
                Outcome::new(Code::StoppedByRule, "the function was stopped by a rule of this server")
            }
            Self::Gone(_) => Outcome::new(Code::FunctionExited, "the function's process ended before it answered"),
            Self::Lane(_) => Outcome::new(Code::ProtocolError, "the function's process broke the protocol"),
            Self::Timeout | Self::TunnelTimeout => Outcome::new(Code::Timeout, "the function did not answer in time"),
            Self::Body(error) => return error.outcome(),
            Self::ClientGone => Outcome::new(Code::ClientGone, "the caller left"),
        };
        outcome.detail(detail)
    }
}

/// The outcome of an error that the function itself describes.
pub(crate) fn function_error(code: Code, message: &'static str, failure: &Failure, errors: Errors) -> Outcome {
    let detail = format!("{message}: {failure}");
    let outcome = Outcome::new(code, message).detail(detail);
    match errors {
        Errors::Hidden => outcome,
        Errors::Exposed => outcome.expose(serde_json::to_vec(failure).expect("strings always serialise").into()),
    }
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
