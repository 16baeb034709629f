//! Lambda's Runtime API, from the side of the platform: a small HTTP server in the sandbox's network, which a runtime asks for its
//! invocations and tells their results.
//!
//! ```text
//!  runtime                         host
//!  GET  .../invocation/next   -->  the first one says: ready.   waits <-- call() of a lease
//!                             <--  200, the event
//!  POST .../ID/response       -->  the answer                         --> the lease's exchange
//!  POST .../ID/error          -->  a failure                          --> the same
//!  POST .../init/error        -->  the start failed
//!
//! extension                       host
//!  POST .../register          -->  an identifier
//!  GET  .../event/next        -->  200, INVOKE with each invocation, SHUTDOWN before the end
//! ```
//!
//! What each request may do next is decided in [`desk`], without I/O; [`serve`] is the HTTP around it. Everything that comes from a runtime is
//! hostile: connections, bodies and what waits are bounded.
//!
//! Dropping the [`Server`] closes the port and every connection.

mod desk;
mod extensions;
mod extensions_api;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod question;
mod reply;
mod resident_api;
mod serve;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use functions::wire::Failure;
use http::HeaderValue;
use tokio::sync::mpsc;

pub(crate) use desk::{Desk, Reason};
pub(crate) use extensions_api::Identity;
pub(crate) use serve::Server;

/// Most bytes of a buffered answer: Lambda's own bound.
pub const MOST_ANSWER: usize = 6 * 1024 * 1024 + 100;

/// The type of the failure of an answer that broke off.
pub const TRUNCATED: &str = "Runtime.TruncatedResponse";

/// One invocation, as a runtime gets it.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// Its id.
    pub id: String,
    /// When it is given up, in milliseconds since 1970.
    pub deadline_ms: u64,
    /// The ARN that was called.
    pub arn: String,
    /// The trace that it belongs to.
    pub trace_id: Option<String>,
    /// What the caller says about itself, a JSON object.
    pub client_context: Option<String>,
    /// The event, mostly JSON.
    pub event: Bytes,
}

/// What a runtime says of an invocation.
#[derive(Debug)]
pub enum Answer {
    /// All of it.
    Whole(Bytes),
    /// It comes in pieces; the first error is the last piece.
    Stream {
        /// What it says it is.
        content_type: Option<HeaderValue>,
        /// The pieces. The end of the channel without an error is the end of the answer.
        pieces: mpsc::Receiver<Result<Bytes, Failure>>,
    },
    /// It failed.
    Failed(Failure),
    /// The instance failed and is of no more use: an extension gave up.
    Crashed(Failure),
}
