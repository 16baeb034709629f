//! How a request ended when it did not end with a function's reply.
//!
//! An [`Outcome`] has a stable code, an origin, a hint about retrying and a status, all four decided by the code alone, and two texts:
//! what the caller reads (never a path, never a function's traceback) and what the log holds. It is turned into a response
//! once, at the edge, and logged once, there.

use std::borrow::Cow;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use functions::one_line;
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;

use crate::request_id::RequestId;

/// Most characters of a detail.
const MOST_DETAIL: usize = 2000;

/// Where the reason for an outcome lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The caller: the request itself, or it went away.
    Client,
    /// This gateway.
    Gateway,
    /// The pool: no instance was free in time.
    Pool,
    /// The sandbox: it did not start, or a limit ended it.
    Sandbox,
    /// The function's own code.
    Function,
}

/// Whether, and how, sending the same request again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Retry {
    /// It will end the same way.
    Never,
    /// A new instance may do better; the function may have done part of the work.
    FreshInstance,
    /// Nothing was started; later there may be room.
    Later,
}

/// The table of codes: one row gives a code its text, status, origin and retry.
macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $status:ident, $origin:ident, $retry:ident;)*) => {
        /// The stable code of an outcome; clients may match on its text.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            /// Every code, in the order of the table.
            pub const ALL: &[Code] = &[$(Code::$name,)*];

            /// The text in `error.code`.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$name => $text,)* }
            }

            /// The HTTP status of the reply.
            pub fn status(self) -> StatusCode {
                match self { $(Code::$name => StatusCode::$status,)* }
            }

            /// Where the reason lies.
            pub fn origin(self) -> Origin {
                match self { $(Code::$name => Origin::$origin,)* }
            }

            /// Whether sending the request again can help.
            pub fn retry(self) -> Retry {
                match self { $(Code::$name => Retry::$retry,)* }
            }
        }
    };
}

codes! {
    /// The request is malformed: its head, its framing, its Host or its target.
    BadRequest = "bad_request", BAD_REQUEST, Client, Never;
    /// The name in the path or in the Host can't be a function's name.
    InvalidFunctionName = "invalid_function_name", BAD_REQUEST, Client, Never;
    /// No function of this name is deployed.
    FunctionNotFound = "function_not_found", NOT_FOUND, Client, Never;
    /// No route has this path.
    NotFound = "not_found", NOT_FOUND, Client, Never;
    /// The route exists, for other methods.
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, Client, Never;
    /// The body is over the function's `max_body`.
    BodyTooLarge = "body_too_large", PAYLOAD_TOO_LARGE, Client, Never;
    /// The request target is over the limit.
    TargetTooLong = "target_too_long", URI_TOO_LONG, Client, Never;
    /// Too many headers, or too many bytes of them.
    HeadersTooLarge = "headers_too_large", REQUEST_HEADER_FIELDS_TOO_LARGE, Client, Never;
    /// The Host is not one that this server answers to.
    MisdirectedRequest = "misdirected_request", MISDIRECTED_REQUEST, Client, Never;
    /// The body did not arrive before the deadline.
    RequestTimeout = "request_timeout", REQUEST_TIMEOUT, Client, Later;
    /// The caller went away before the reply was complete. Nobody reads this one; it is for the log and the metrics.
    ClientGone = "client_gone", BAD_REQUEST, Client, Never;
    /// The function's queue is full, or its scale limit is reached.
    QueueFull = "queue_full", TOO_MANY_REQUESTS, Pool, Later;
    /// The server is shutting down.
    Draining = "draining", SERVICE_UNAVAILABLE, Gateway, Later;
    /// The pool can't serve now.
    Unavailable = "unavailable", SERVICE_UNAVAILABLE, Pool, Later;
    /// The sandbox of the function did not start.
    StartFailed = "start_failed", BAD_GATEWAY, Sandbox, FreshInstance;
    /// The function's code failed while it was loaded.
    InitError = "init_error", BAD_GATEWAY, Function, Never;
    /// The function raised an error.
    FunctionError = "function_error", BAD_GATEWAY, Function, Never;
    /// The function answered with something that is no HTTP reply.
    BadReply = "bad_reply", BAD_GATEWAY, Function, Never;
    /// The function's process ended before it answered.
    FunctionExited = "function_exited", BAD_GATEWAY, Function, FreshInstance;
    /// What came over the function's lane is not the wire protocol.
    ProtocolError = "protocol_error", BAD_GATEWAY, Function, FreshInstance;
    /// The function used more memory than it may and was killed.
    OutOfMemory = "out_of_memory", BAD_GATEWAY, Sandbox, Never;
    /// A rule of the operator applied to the instance, which was stopped.
    StoppedByRule = "stopped_by_rule", BAD_GATEWAY, Sandbox, Never;
    /// The function did not answer before the deadline; its instance is killed.
    Timeout = "timeout", GATEWAY_TIMEOUT, Function, FreshInstance;
    /// A fault of this server.
    Internal = "internal", INTERNAL_SERVER_ERROR, Gateway, Never;
}

/// How a request ended, when not by a function's reply.
#[derive(Debug)]
pub struct Outcome {
    code: Code,
    message: Cow<'static, str>,
    detail: Option<String>,
    retry_after: Option<Duration>,
    exposed: Option<Bytes>,
    close: Connection,
}

/// What becomes of the connection after the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Connection {
    Keep,
    Close,
}

impl Outcome {
    /// An outcome with the text that the caller reads.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        let retry_after = (code.retry() == Retry::Later).then_some(Duration::from_secs(1));
        Self {
            code,
            message: message.into(),
            detail: None,
            retry_after,
            exposed: None,
            close: Connection::Keep,
        }
    }

    /// Adds the text that only the log holds. It becomes one line of bounded length: a function must be able neither to forge
    /// an event of the operator's log nor to fill it.
    pub fn detail(mut self, detail: impl AsRef<str>) -> Self {
        self.detail = Some(one_line(detail.as_ref(), MOST_DETAIL));
        self
    }

    /// Makes `body` (JSON) the body of the reply instead of the usual one: a function's error under `expose_errors`.
    pub fn expose(mut self, body: Bytes) -> Self {
        self.exposed = Some(body);
        self
    }

    /// The connection is closed after the reply: its framing is in doubt, or a body is left unread.
    pub fn close(mut self) -> Self {
        self.close = Connection::Close;
        self
    }

    /// The stable code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// What the caller reads.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The status of the reply.
    pub fn status(&self) -> StatusCode {
        self.code.status()
    }

    /// Writes the outcome to the log, once. Callers' mistakes and ends that a function chose are `debug` and `info`: they must not
    /// fill the operator's log.
    pub fn log(&self, request: RequestId) {
        let (code, detail) = (self.code.as_str(), self.detail.as_deref().unwrap_or(&self.message));
        match self.code.origin() {
            Origin::Client => tracing::debug!(%request, code, "{detail}"),
            Origin::Function | Origin::Pool => tracing::info!(%request, code, "{detail}"),
            Origin::Gateway | Origin::Sandbox => tracing::warn!(%request, code, "{detail}"),
        }
    }

    /// The reply: `{"error":{"code","message","request_id"}}`, or the exposed body.
    pub fn response(&self, request: RequestId) -> Response<Body> {
        let body = match &self.exposed {
            Some(body) => body.clone(),
            None => Bytes::from(body(self.code, &self.message, &request.to_string())),
        };
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(crate::reply::REQUEST_ID, request.header());
        if let Some(after) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
        }
        if self.close == Connection::Close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// The JSON body of an error: `{"error":{"code","message","request_id"}}`.
pub(crate) fn body(code: Code, message: &str, request_id: &str) -> Vec<u8> {
    #[derive(Serialize)]
    struct Envelope<'a> {
        error: Inner<'a>,
    }
    #[derive(Serialize)]
    struct Inner<'a> {
        code: &'a str,
        message: &'a str,
        request_id: &'a str,
    }
    let envelope = Envelope {
        error: Inner {
            code: code.as_str(),
            message,
            request_id,
        },
    };
    serde_json::to_vec(&envelope).expect("three strings always serialise")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_snake_case() {
        let mut seen = std::collections::HashSet::new();
        for code in Code::ALL {
            assert!(seen.insert(code.as_str()), "{code:?} twice");
            assert!(
                code.as_str().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
                "{code:?}"
            );
            assert!(
                code.status().is_client_error() || code.status().is_server_error(),
                "{code:?}"
            );
        }
    }

    #[test]
    fn only_what_started_nothing_says_when_to_come_back() {
        let id = RequestId::new();
        for code in [Code::QueueFull, Code::Draining, Code::Unavailable] {
            let response = Outcome::new(code, "busy").response(id);
            assert_eq!(response.headers()[RETRY_AFTER], "1");
        }
        assert!(
            !Outcome::new(Code::Timeout, "late")
                .response(id)
                .headers()
                .contains_key(RETRY_AFTER)
        );
    }

    #[test]
    fn a_detail_is_one_short_line() {
        let outcome = Outcome::new(Code::FunctionError, "it failed").detail("x\n2026 ERROR forged\x1b[31m");
        assert_eq!(outcome.detail.as_deref(), Some("x\\x0a2026 ERROR forged\\x1b[31m"));
        let outcome = Outcome::new(Code::BadReply, "nonsense").detail("x".repeat(3_000_000));
        assert_eq!(outcome.detail.map(|detail| detail.len()), Some(MOST_DETAIL + 3));
    }

    #[test]
    fn the_detail_stays_out_of_the_reply() {
        let bytes = body(Code::StartFailed, "the sandbox did not start", "id");
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(value["error"]["code"], "start_failed");
        assert_eq!(value["error"].as_object().unwrap().len(), 3);
    }
}
