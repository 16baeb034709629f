//! A call of a function of the Fn Project: the caller's request inside of a `POST /call`, its reply inside of a 200.
//!
//! The function's own headers are those that begin with `Fn-Http-H-`; what else stands on either side is between the platform and the FDK. A
//! status of 502 or 504 is the FDK's word for a function that failed.

use std::time::Duration;

use axum::body::Body;
use bytes::BytesMut;
use functions::payload::{BadReply, ReplyHead};
use functions::wire::Failure;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use http_body_util::BodyExt;
use jiff::Timestamp;
use warm_pool::{Lease, Poison};

use super::http::{Replied, send};
use super::{Answer, Failed};
use crate::deadline::Deadline;

/// What stands before the name of a header of the caller or of the function.
const PREFIX: &str = "fn-http-h-";
const STATUS: HeaderName = HeaderName::from_static("fn-http-status");
/// Most bytes of what an FDK says of a failure.
const MOST_FAILURE: usize = 64 * 1024;
/// How long it may take to say that.
const FAILURE_TIME: Duration = Duration::from_secs(2);

/// Sends the request on and waits for the head of the reply, until the deadline. `head` is as a server would get it.
pub(crate) async fn call(
    lease: Lease,
    request_id: &str,
    head: Parts,
    body: Body,
    limit: u64,
    deadline: Deadline,
) -> Result<Answer, Failed> {
    let head = wrapped(head, request_id, deadline.epoch_ms());
    let replied = send(lease, request_id, head, body, limit, deadline).await?;
    match replied.response.status() {
        StatusCode::OK => match unwrapped(replied.response.headers()) {
            Ok(head) => {
                let length = replied.length();
                Ok(replied.flowing(head, length, None))
            }
            Err(bad) => {
                replied.held.abandon(Poison::Protocol);
                Err(bad.into())
            }
        },
        StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => Err(failed(replied).await),
        other => {
            replied.held.abandon(Poison::Protocol);
            Err(BadReply::Status(other.to_string()).into())
        }
    }
}

/// The head of the request to the FDK.
fn wrapped(head: Parts, request_id: &str, deadline_ms: u64) -> Parts {
    let Parts {
        method, uri, headers, ..
    } = head;
    let mut request = http::Request::new(());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = Uri::from_static("/call");
    let out = request.headers_mut();
    for (name, value) in &headers {
        if *name == CONTENT_TYPE || *name == CONTENT_LENGTH {
            out.append(name.clone(), value.clone());
        } else if let Ok(name) = HeaderName::try_from(format!("{PREFIX}{name}")) {
            out.append(name, value.clone());
        }
    }
    let host = headers
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or("localhost");
    let deadline = i64::try_from(deadline_ms)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok())
        .unwrap_or(Timestamp::MAX);
    for (name, value) in [
        ("host", "localhost".to_owned()),
        ("fn-call-id", request_id.to_owned()),
        ("fn-deadline", deadline.to_string()),
        ("fn-intent", "httprequest".to_owned()),
        ("fn-http-method", method.to_string()),
        ("fn-http-request-url", format!("http://{host}{uri}")),
    ] {
        // All of it came as a head of HTTP, or is ours.
        if let Ok(value) = HeaderValue::try_from(value) {
            out.insert(HeaderName::from_static(name), value);
        }
    }
    request.into_parts().0
}

/// The head of the function's reply.
fn unwrapped(headers: &HeaderMap) -> Result<ReplyHead, BadReply> {
    let status = match headers.get(STATUS) {
        None => StatusCode::OK,
        Some(status) => StatusCode::from_bytes(status.as_bytes())
            .map_err(|_| BadReply::Status(String::from_utf8_lossy(status.as_bytes()).chars().take(40).collect()))?,
    };
    let mut out = HeaderMap::new();
    for (name, value) in headers {
        let own = name
            .as_str()
            .strip_prefix(PREFIX)
            .and_then(|name| name.parse::<HeaderName>().ok());
        // The FDK speaks of the type of the content by its plain name, and some say it twice.
        if let Some(name) = own.filter(|name| *name != CONTENT_TYPE) {
            out.append(name, value.clone());
        }
    }
    let kind = headers
        .get(CONTENT_TYPE)
        .or_else(|| headers.get("fn-http-h-content-type"));
    if let Some(kind) = kind {
        out.insert(CONTENT_TYPE, kind.clone());
    }
    Ok(ReplyHead { status, headers: out })
}

/// What the FDK says of a function that failed.
async fn failed(mut replied: Replied) -> Failed {
    let mut text = BytesMut::new();
    let said = async {
        while let Some(Ok(frame)) = replied.response.body_mut().frame().await {
            if let Some(data) = frame.data_ref() {
                text.extend_from_slice(data);
            }
            if text.len() > MOST_FAILURE {
                return false;
            }
        }
        true
    };
    match tokio::time::timeout(FAILURE_TIME, said).await {
        Ok(true) => replied.held.finish(),
        _ => replied.held.abandon(Poison::Protocol),
    }
    text.truncate(MOST_FAILURE);
    Failed::Function(Box::new(Failure {
        error_message: String::from_utf8_lossy(&text).into_owned(),
        error_type: "FunctionError".to_owned(),
        stack_trace: Vec::new(),
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_request_is_wrapped_and_a_reply_unwrapped() {
        let request = http::Request::put("/a?b=c")
            .header("host", "hello.localhost")
            .header("content-type", "text/plain")
            .header("x-a", "1")
            .header("x-a", "2");
        let head = wrapped(request.body(()).unwrap().into_parts().0, "id", 1_700_000_000_000);
        assert_eq!((head.method.as_str(), head.uri.path()), ("POST", "/call"));
        for (name, value) in [
            ("fn-call-id", "id"),
            ("fn-deadline", "2023-11-14T22:13:20Z"),
            ("fn-http-method", "PUT"),
            ("fn-http-request-url", "http://hello.localhost/a?b=c"),
            ("fn-http-h-host", "hello.localhost"),
            ("content-type", "text/plain"),
            ("host", "localhost"),
        ] {
            assert_eq!(head.headers[name], value, "{name}");
        }
        assert_eq!(head.headers.get_all("fn-http-h-x-a").iter().count(), 2);

        let reply = [
            ("fn-http-status", "201"),
            ("fn-http-h-x-a", "b"),
            ("fn-http-h-content-type", "text/plain"),
            ("content-type", "text/html"),
            ("fn-fdk-version", "x"),
        ];
        let reply = HeaderMap::from_iter(reply.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())));
        let head = unwrapped(&reply).unwrap();
        assert_eq!((head.status.as_u16(), head.headers.len()), (201, 2));
        assert_eq!(
            (&head.headers["x-a"], &head.headers["content-type"]),
            (&"b".parse().unwrap(), &"text/html".parse().unwrap())
        );
        let bad = HeaderMap::from_iter([(STATUS, HeaderValue::from_static("ok"))]);
        assert!(matches!(unwrapped(&bad), Err(BadReply::Status(_))));
    }

    proptest! {
        #[test]
        fn any_head_goes_both_ways(name in "[a-z-]{1,20}", value in "[ -~]{0,40}", uri in "/[!-;=?-~]{0,30}") {
            let Ok(uri) = uri.parse::<Uri>() else { return Ok(()) };
            let Ok(request) = http::Request::get(uri).header(&name, &value).body(()) else { return Ok(()) };
            let head = wrapped(request.into_parts().0, "id", u64::MAX);
            let _ = unwrapped(&head.headers);
        }
    }
}
