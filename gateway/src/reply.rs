//! What a function's reply becomes on its way out, and what of a request's headers goes in.
//!
//! Hop-by-hop headers belong to one connection and are dropped both ways (RFC 9110 section 7.6.1). A function's `x-fn-*` and
//! `Server-Timing` are dropped as well: they are the platform's word, and a function must not be able to speak in its name.

use std::fmt::Write;
use std::time::Duration;

use functions::RevisionNumber;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::request_id::RequestId;

/// How the request found its instance.
pub const START: HeaderName = HeaderName::from_static("x-fn-start");
/// The boot id of the process that answered.
pub const INSTANCE: HeaderName = HeaderName::from_static("x-fn-instance");
/// The revision that answered.
pub const REVISION: HeaderName = HeaderName::from_static("x-fn-revision");
/// The id of the request.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-fn-request-id");
/// Where the time went.
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Most headers a reply may have.
const MOST_HEADERS: usize = 100;
/// Most bytes of headers a reply may have.
const MOST_HEADER_BYTES: usize = 32 * 1024;

/// Where the time of a request went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// Waiting for an instance that others used, or for one to be started.
    pub queue: Duration,
    /// Making the sandbox; zero for a warm start.
    pub sandbox: Duration,
    /// Loading the handler; zero for a warm start.
    pub init: Duration,
    /// In the handler; for a streamed reply, until its head.
    pub handler: Duration,
}

impl Timing {
    /// The value of `Server-Timing`, in milliseconds.
    fn header(&self) -> HeaderValue {
        let mut text = String::with_capacity(80);
        for (name, time) in [
            ("queue", self.queue),
            ("sandbox", self.sandbox),
            ("init", self.init),
            ("handler", self.handler),
        ] {
            let separator = if text.is_empty() { "" } else { ", " };
            let micros = time.as_micros();
            let _ = write!(text, "{separator}{name};dur={}.{:03}", micros / 1000, micros % 1000);
        }
        HeaderValue::from_str(&text).expect("letters, digits and separators are valid in a header")
    }
}

/// What the platform says about a reply.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// The request's id.
    pub request: RequestId,
    /// How its instance was found; one of a closed set of words.
    pub start: &'static str,
    /// The boot id of the process that answered.
    pub instance: &'a str,
    /// The revision that answered.
    pub revision: RevisionNumber,
    /// Where the time went.
    pub timing: Timing,
}

impl Told<'_> {
    /// Writes it into a reply's headers, over whatever stands there.
    pub fn write(&self, headers: &mut HeaderMap) {
        headers.insert(REQUEST_ID, self.request.header());
        headers.insert(START, HeaderValue::from_static(self.start));
        if let Ok(instance) = HeaderValue::from_str(self.instance) {
            headers.insert(INSTANCE, instance);
        }
        headers.insert(REVISION, HeaderValue::from(self.revision.get()));
        headers.insert(SERVER_TIMING, self.timing.header());
    }
}

/// Why a function's headers can't go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// 1xx (an upgrade, for one) and anything above 599 can't be a final reply.
    #[error("status {0} is no final status")]
    Status(u16),
    /// More header lines than a reply may have.
    #[error("{0} headers are more than {MOST_HEADERS}")]
    Count(usize),
    /// More bytes of headers than a reply may have.
    #[error("{0} bytes of headers are more than {MOST_HEADER_BYTES}")]
    Bytes(usize),
}

/// Checks the size and status of a function's reply.
pub fn check(status: StatusCode, headers: &HeaderMap) -> Result<(), HeadError> {
    if !(200..600).contains(&status.as_u16()) {
        return Err(HeadError::Status(status.as_u16()));
    }
    if headers.len() > MOST_HEADERS {
        return Err(HeadError::Count(headers.len()));
    }
    let bytes = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    if bytes > MOST_HEADER_BYTES {
        Err(HeadError::Bytes(bytes))
    } else {
        Ok(())
    }
}

/// Whether a reply of this status never has a body (RFC 9110 sections 15.3.5, 15.3.6 and 15.4.5).
pub fn is_bodiless(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
    )
}

/// Drops from a function's reply what it may not say. Returns how many lines were dropped.
pub fn clean_reply(headers: &mut HeaderMap) -> usize {
    let before = headers.len();
    drop_hop_by_hop(headers);
    drop_platform(headers);
    headers.remove(SERVER_TIMING);
    let dropped = before - headers.len();
    // The length is told by us, who count the bytes; a wrong one would cut the next reply of the connection.
    headers.remove(CONTENT_LENGTH);
    dropped
}

/// Drops from a request what is not for the function: what belongs to the connection, and what only the platform may say.
pub fn clean_request(headers: &mut HeaderMap) {
    drop_hop_by_hop(headers);
    drop_platform(headers);
    headers.remove(PROXY_AUTHORIZATION);
    headers.remove(http::header::EXPECT);
}

/// Drops from a server's reply what belongs to its own connection, and is no word that it may not say.
pub fn drop_connection(headers: &mut HeaderMap) {
    drop_hop_by_hop(headers);
}

fn drop_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        // A caller must not be able to take away what others rely on: who is called, and how long the body is.
        .filter(|name| !matches!(*name, HOST | CONTENT_LENGTH))
        .collect();
    for name in &named {
        headers.remove(name);
    }
    for name in [
        CONNECTION,
        KEEP_ALIVE,
        PROXY_CONNECTION,
        PROXY_AUTHENTICATE,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ] {
        headers.remove(name);
    }
}

fn drop_platform(headers: &mut HeaderMap) {
    let own: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with("x-fn-"))
        .cloned()
        .collect();
    for name in own {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests;
