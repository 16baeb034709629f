//! What an invocation's end looks like to a caller of Invoke: the function's JSON, a function error, or an error of the API.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use functions::BootId;
use functions::payload::{ReplyHead, SEPARATOR};
use functions::wire::Failure;
use http::header::SET_COOKIE;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use warm_pool::{AcquireError, Fate, StartFailure};

use crate::exchange::{Answer, Content, Failed, MOST_RESULT};
use crate::lambda::fault::{Fault, Kind};
use crate::reply;
use crate::request_id::RequestId;

/// A failure of the function, in the words of Lambda.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FunctionError {
    error_message: String,
    error_type: String,
    request_id: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stack_trace: Vec<String>,
}

impl FunctionError {
    fn new(request: RequestId, kind: &str, message: impl Into<String>) -> Self {
        Self {
            error_message: message.into(),
            error_type: kind.to_owned(),
            request_id: request.to_string(),
            stack_trace: Vec::new(),
        }
    }

    fn said(request: RequestId, failure: &Failure) -> Self {
        Self {
            error_message: failure.error_message.clone(),
            error_type: failure.error_type.clone(),
            request_id: request.to_string(),
            stack_trace: failure.stack_trace.clone(),
        }
    }

    /// What kind it is.
    pub(super) fn error_type(&self) -> &str {
        &self.error_type
    }

    /// The payload of the reply.
    pub(super) fn into_json(self) -> Vec<u8> {
        serde_json::to_vec(&self).expect("strings always serialise")
    }
}

/// What a call gets that got no lease: a function error when the function's own code is the reason, else an error of the API.
pub(super) fn without_lease(error: &AcquireError, id: RequestId) -> Result<FunctionError, Fault> {
    match error {
        AcquireError::QueueFull => Err(Fault::throttled(
            "ConcurrentInvocationLimitExceeded",
            "Rate Exceeded: as many calls wait for the function as its setting `queue` allows",
        )),
        AcquireError::Deadline => Err(Fault::throttled(
            "ConcurrentInvocationLimitExceeded",
            "Rate Exceeded: no instance of the function was free within its timeout",
        )),
        AcquireError::Closing => Err(Fault::new(Kind::Unavailable, "the server is shutting down")),
        AcquireError::Removed => Err(Fault::new(Kind::NotFound, "the function was removed")),
        AcquireError::StartFailed(cause) => match &**cause {
            StartFailure::Init(failure) => Ok(FunctionError::said(id, failure)),
            StartFailure::InitTimeout(limit) => Ok(FunctionError::new(
                id,
                "Sandbox.Timeout",
                format!(
                    "RequestId: {id} Error: the function's code was not loaded within {:.2} seconds",
                    limit.as_secs_f64()
                ),
            )),
            StartFailure::Died(fate) => Ok(ended(id, *fate)),
            StartFailure::Protocol(_) => Ok(nonsense(id)),
            StartFailure::Plan(_) => Err(Fault::new(
                Kind::InvalidRuntime,
                "this host can't run the function's runtime; `fn doctor` says what it lacks",
            )),
            StartFailure::CalledOff => Err(Fault::new(
                Kind::Unavailable,
                "the start of the function was called off",
            )),
            _ => Err(Fault::new(Kind::Service, "the function's sandbox could not be started")),
        },
        _ => Err(Fault::new(Kind::Unavailable, "the function can't be served now")),
    }
}

/// What a call gets whose exchange failed.
pub(super) fn after(failed: &Failed, id: RequestId, timeout: Duration) -> FunctionError {
    match failed {
        Failed::Function(failure) => FunctionError::said(id, failure),
        Failed::Timeout | Failed::TunnelTimeout => {
            let (now, seconds) = (
                Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ"),
                timeout.as_secs_f64(),
            );
            FunctionError::new(
                id,
                "Sandbox.Timeout",
                format!("{now} {id} Task timed out after {seconds:.2} seconds"),
            )
        }
        Failed::ResultTooLarge => FunctionError::new(
            id,
            "Function.ResponseSizeTooLarge",
            format!("Response payload size exceeded maximum allowed payload size ({MOST_RESULT} bytes)."),
        ),
        Failed::Gone(fate) => ended(id, *fate),
        Failed::Reply(bad) => FunctionError::new(id, "Runtime.BadReply", format!("RequestId: {id} Error: {bad}")),
        Failed::Lane(_) => nonsense(id),
        Failed::HungUp | Failed::Unreached(_) | Failed::NotHttp(_) => {
            FunctionError::new(id, "Runtime.BadReply", format!("RequestId: {id} Error: {failed}"))
        }
        // The event is in memory, and the caller is who waits here.
        Failed::Body(_) | Failed::ClientGone => FunctionError::new(
            id,
            "Sandbox.Failure",
            format!("RequestId: {id} Error: the exchange broke off"),
        ),
    }
}

fn ended(id: RequestId, fate: Fate) -> FunctionError {
    let how = match fate {
        Fate::OutOfMemory => {
            return FunctionError::new(
                id,
                "Runtime.OutOfMemory",
                format!("RequestId: {id} Error: the function ran out of memory"),
            );
        }
        Fate::Exited(code) => format!("exit status {code}"),
        Fate::Signalled(signal) => format!("signal {signal}"),
        other => other.to_string(),
    };
    FunctionError::new(
        id,
        "Runtime.ExitError",
        format!("RequestId: {id} Error: Runtime exited with error: {how}"),
    )
}

fn nonsense(id: RequestId) -> FunctionError {
    FunctionError::new(
        id,
        "Runtime.Unknown",
        format!("RequestId: {id} Error: the function's process broke the protocol"),
    )
}

/// A reply that streams, as the one document that Invoke returns: payload 2.0's result.
pub(super) async fn gathered(answer: Answer) -> Result<(BootId, Duration, Bytes), Failed> {
    let Answer {
        boot_id,
        handler,
        head,
        bare: _,
        body,
        length: _,
    } = answer;
    let body = match body {
        Content::Whole(body) => body,
        // Nobody asked for another protocol.
        Content::Tunnel(_) => return Err(Failed::HungUp),
        Content::Flowing(flow) => flow.gather().await?,
    };
    let document = document(head, &body);
    if document.len() > MOST_RESULT {
        return Err(Failed::ResultTooLarge);
    }
    Ok((boot_id, handler, Bytes::from(document)))
}

fn document(head: ReplyHead, body: &[u8]) -> Vec<u8> {
    let mut document = head_document(head);
    let (body, coded) = match std::str::from_utf8(body) {
        Ok(text) => (text.to_owned(), false),
        Err(_) => (STANDARD.encode(body), true),
    };
    document["body"] = json!(body);
    document["isBase64Encoded"] = json!(coded);
    serde_json::to_vec(&document).expect("strings and numbers always serialise")
}

/// The head of a reply as it stands before a body that streams: a document and what parts it from the body.
pub(super) fn prelude(head: ReplyHead) -> Bytes {
    let mut prelude = serde_json::to_vec(&head_document(head)).expect("strings and numbers always serialise");
    prelude.extend_from_slice(&SEPARATOR);
    prelude.into()
}

/// Status, headers and cookies in the words of payload 2.0.
fn head_document(mut head: ReplyHead) -> Value {
    reply::clean_reply(&mut head.headers);
    let shown = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let cookies: Vec<String> = head.headers.get_all(SET_COOKIE).iter().map(shown).collect();
    head.headers.remove(SET_COOKIE);
    let mut headers = BTreeMap::<&str, String>::new();
    for (name, value) in &head.headers {
        let value = shown(value);
        headers
            .entry(name.as_str())
            .and_modify(|all| {
                all.push(',');
                all.push_str(&value);
            })
            .or_insert(value);
    }
    let mut document = json!({ "statusCode": head.status.as_u16(), "headers": headers });
    if !cookies.is_empty() {
        document["cookies"] = json!(cookies);
    }
    document
}
