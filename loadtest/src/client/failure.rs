//! What can go wrong with one call, as few kinds as tell the causes apart.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use http::StatusCode;

/// The kind under which a failed call is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FailureKind {
    /// Nothing listens at the address.
    Refused,
    /// No connection for another reason.
    Connect,
    /// The server reset the connection.
    Reset,
    /// The server closed the connection before the whole reply was there.
    Closed,
    /// No whole reply in time.
    Timeout,
    /// What came is not HTTP, or not what this client can read.
    Protocol,
    /// A reply with this status, 400 or above.
    Status(u16),
    /// A cold cycle whose eviction failed, so that no call was made.
    Evict,
    /// A reply that claims a new process but comes from the one that answered before.
    SameInstance,
}

impl FailureKind {
    /// The word used in reports.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Refused => "refused".to_owned(),
            Self::Connect => "connect".to_owned(),
            Self::Reset => "reset".to_owned(),
            Self::Closed => "closed".to_owned(),
            Self::Timeout => "timeout".to_owned(),
            Self::Protocol => "protocol".to_owned(),
            Self::Status(code) => format!("status {code}"),
            Self::Evict => "evict".to_owned(),
            Self::SameInstance => "same instance".to_owned(),
        }
    }
}

/// A failed call.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// Under what it is counted.
    pub(crate) kind: FailureKind,
    /// What exactly, for the first of its kind in a report.
    pub(crate) detail: String,
}

impl Failure {
    pub(super) fn timeout(limit: Duration) -> Self {
        Self {
            kind: FailureKind::Timeout,
            detail: format!("no whole reply within {limit:?}"),
        }
    }

    pub(super) fn status(status: StatusCode) -> Self {
        Self {
            kind: FailureKind::Status(status.as_u16()),
            detail: status.to_string(),
        }
    }

    pub(super) fn connect(error: &io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::ConnectionRefused => FailureKind::Refused,
            io::ErrorKind::ConnectionReset => FailureKind::Reset,
            _ => FailureKind::Connect,
        };
        Self {
            kind,
            detail: error.to_string(),
        }
    }

    pub(super) fn from_hyper(error: &hyper::Error) -> Self {
        let kind = match io_kind(error) {
            Some(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => FailureKind::Reset,
            Some(io::ErrorKind::UnexpectedEof) => FailureKind::Closed,
            _ if error.is_incomplete_message() || error.is_closed() || error.is_canceled() => FailureKind::Closed,
            _ => FailureKind::Protocol,
        };
        let cause = error.source().map(|source| format!(": {source}")).unwrap_or_default();
        Self {
            kind,
            detail: format!("{error}{cause}"),
        }
    }
}

fn io_kind(error: &hyper::Error) -> Option<io::ErrorKind> {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            return Some(io.kind());
        }
        source = cause.source();
    }
    None
}
