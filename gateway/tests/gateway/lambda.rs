//! Lambda's API where boto3 can't bring it: every way in which an instance ends, requests without a signature, callers that leave.

use http::Request;
use http_body_util::Full;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::platform::{Platform, Reply, request};

const INVOKE: &str = "/2015-03-31/functions/hello/invocations";
const STREAM: &str = "/2021-11-15/functions/hello/response-streaming-invocations";

async fn invoke(platform: &Platform, path: &str) -> Reply {
    let event = json!({ "rawPath": path }).to_string();
    platform.send(request("POST", INVOKE, event)).await
}

/// The events of a streamed answer: what each is called, and its payload.
async fn streamed(platform: &Platform, path: &str) -> Vec<(String, Vec<u8>)> {
    let event = json!({ "rawPath": path }).to_string();
    let reply = platform.send(request("POST", STREAM, event)).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.header("content-type"), "application/vnd.amazon.eventstream");
    let body = reply.body.expect("the stream has an end");
    let (mut rest, mut events) = (&body[..], Vec::new());
    while !rest.is_empty() {
        let number = |at: usize| u32::from_be_bytes(rest[at..at + 4].try_into().unwrap()) as usize;
        let (message, others) = rest.split_at(number(0));
        let (headers, payload) = message[12..message.len() - 4].split_at(number(4));
        let headers = String::from_utf8_lossy(headers);
        let kind = ["PayloadChunk", "InvokeComplete"]
            .into_iter()
            .find(|kind| headers.contains(kind));
        events.push((kind.unwrap().to_owned(), payload.to_vec()));
        rest = others;
    }
    events
}

/// Checks that it is an error of this API.
#[track_caller]
fn faulty(reply: &Reply, status: u16, kind: &str) {
    assert_eq!(reply.status, status, "{reply:?}");
    assert_eq!(reply.header("x-amzn-errortype"), kind, "{reply:?}");
    assert_eq!(reply.header("x-amzn-requestid"), reply.header("x-fn-request-id"));
    let document = reply.json();
    let text = document["message"].as_str().or(document["Message"].as_str());
    assert!(text.is_some_and(|text| !text.is_empty()), "{document}");
}

#[tokio::test]
async fn a_result_comes_back_as_it_is() {
    let platform = Platform::start().await;
    platform.deploy("hello", json!({})).await;
    let reply = invoke(&platform, "/event").await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.text(), r#"{"rawPath":"/event"}"#);
    assert_eq!(reply.header("x-amz-executed-version"), "$LATEST");
    assert_eq!(reply.header("x-fn-start"), "cold");
    // No HTTP reply is made of it.
    assert_eq!(invoke(&platform, "/204").await.json()["statusCode"], 204);
    let streamed = invoke(&platform, "/stream").await.json();
    assert_eq!(streamed["body"], "one two three", "{streamed}");
    assert_eq!(
        (&streamed["statusCode"], &streamed["cookies"]),
        (&json!(200), &json!(["c=3"]))
    );
    assert!(streamed["headers"].get("content-length").is_none(), "{streamed}");
}

#[tokio::test]
async fn every_end_of_an_instance_has_its_error() {
    let platform = Platform::start().await;
    platform.deploy("hello", json!({ "timeout": "300ms" })).await;
    for (path, kind, words) in [
        ("/error", "ValueError", "secret words"),
        ("/exit", "Runtime.ExitError", "exit status 3"),
        ("/oom", "Runtime.OutOfMemory", "out of memory"),
        ("/garbage", "Runtime.Unknown", "broke the protocol"),
        ("/hang", "Sandbox.Timeout", "Task timed out after 0.30 seconds"),
        ("/huge", "Function.ResponseSizeTooLarge", "exceeded"),
        ("/stream-breaks", "ValueError", "late"),
        ("/stream-hangs", "Sandbox.Timeout", "timed out"),
    ] {
        let reply = invoke(&platform, path).await;
        assert_eq!(reply.status, 200, "{path}: {reply:?}");
        assert_eq!(reply.header("x-amz-function-error"), "Unhandled", "{path}");
        let error = reply.json();
        assert_eq!(error["errorType"], kind, "{path}: {error}");
        assert!(
            error["errorMessage"].as_str().unwrap().contains(words),
            "{path}: {error}"
        );
        assert_eq!(error["requestId"], reply.header("x-amzn-requestid"), "{path}");
    }
    // The metrics count what happened, not the 200 that the contract asks for.
    let metrics = platform.metrics().await;
    assert!(metrics.contains(r#"code="504",function="hello""#), "{metrics}");
    let bundle = platform
        .upload(&[("handler.py", "def handler(event, context):\n    return 1\n")])
        .await;
    let broken = json!({ "bundle": bundle, "manifest": { "env": { "FAIL_INIT": "no module" } }, "check": false });
    platform.put("broken", &broken).await;
    let reply = platform
        .send(request("POST", "/2015-03-31/functions/broken/invocations", "{}"))
        .await;
    assert_eq!(
        (reply.status.as_u16(), reply.json()["errorType"].clone()),
        (200, json!("ImportError"))
    );
}

#[tokio::test]
async fn a_streamed_answer_ends_with_how_the_call_ended() {
    let platform = Platform::start().await;
    platform.deploy("hello", json!({ "timeout": "300ms" })).await;
    let whole = streamed(&platform, "/event").await;
    let [(chunk, result), (complete, end)] = &whole[..] else {
        panic!("{whole:?}")
    };
    assert_eq!((&**chunk, &**result), ("PayloadChunk", &br#"{"rawPath":"/event"}"#[..]));
    assert_eq!((&**complete, &**end), ("InvokeComplete", &b"{}"[..]));
    let pieces = streamed(&platform, "/stream").await;
    let (head, pieces) = pieces.split_first().unwrap();
    let head = head.1.strip_suffix(&[0; 8]).unwrap();
    let head: serde_json::Value = serde_json::from_slice(head).unwrap();
    assert_eq!(
        head,
        json!({ "statusCode": 200, "headers": { "content-type": "text/plain" }, "cookies": ["c=3"] })
    );
    let pieces: Vec<_> = pieces.iter().map(|(_, piece)| String::from_utf8_lossy(piece)).collect();
    assert_eq!(pieces, ["one ", "two ", "three", "{}"]);
    for (path, chunks, kind) in [
        ("/error", 0, "ValueError"),
        ("/exit", 0, "Runtime.ExitError"),
        ("/oom", 0, "Runtime.OutOfMemory"),
        ("/garbage", 0, "Runtime.Unknown"),
        ("/hang", 0, "Sandbox.Timeout"),
        ("/huge", 0, "Function.ResponseSizeTooLarge"),
        ("/stream-breaks", 2, "ValueError"),
        ("/stream-hangs", 2, "Sandbox.Timeout"),
    ] {
        let events = streamed(&platform, path).await;
        let (end, before) = events.split_last().unwrap();
        assert_eq!(before.len(), chunks, "{path}");
        let end: serde_json::Value = serde_json::from_slice(&end.1).unwrap();
        assert_eq!(end["ErrorCode"], kind, "{path}: {end}");
        let details: serde_json::Value = serde_json::from_str(end["ErrorDetails"].as_str().unwrap()).unwrap();
        assert_eq!(details["errorType"], kind, "{path}: {end}");
    }
    let metrics = platform.metrics().await;
    assert!(metrics.contains(r#"code="504",function="hello""#), "{metrics}");
}

#[tokio::test]
async fn a_caller_that_leaves_a_stream_ends_its_call() {
    let platform = Platform::start().await;
    platform.deploy("hello", json!({ "scale": { "max": 1 } })).await;
    let mut stream = TcpStream::connect(platform.address).await.unwrap();
    let event = r#"{"rawPath":"/stream-hangs"}"#;
    let head = format!(
        "POST {STREAM} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{event}",
        event.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    while !seen.windows(4).any(|bytes| bytes == b"one ") {
        assert_ne!(stream.read_buf(&mut seen).await.unwrap(), 0);
    }
    drop(stream);
    platform.until_metrics_have(r#"code="499",function="hello""#).await;
    assert_eq!(invoke(&platform, "/hello").await.text(), r#""hello""#);
}

#[tokio::test]
async fn what_is_not_signed_changes_nothing() {
    let platform = Platform::start().await;
    platform.deploy("hello", json!({})).await;
    for (method, path) in [
        ("GET", "/2015-03-31/functions"),
        ("POST", "/2015-03-31/functions"),
        ("DELETE", "/2015-03-31/functions/hello"),
        ("PUT", "/2015-03-31/functions/hello/code"),
        ("PUT", "/2015-03-31/functions/hello/configuration"),
        ("POST", "/2015-03-31/functions/hello/versions"),
        ("POST", "/2015-03-31/functions/hello/aliases"),
        ("DELETE", "/2015-03-31/functions/hello/aliases/a"),
        ("PUT", "/2017-10-31/functions/hello/concurrency"),
        (
            "POST",
            "/2017-03-31/tags/arn:aws:lambda:us-east-1:000000000000:function:hello",
        ),
        ("GET", "/2016-08-19/account-settings"),
        ("POST", "/2021-10-31/functions/hello/url"),
        ("PUT", "/2021-10-31/functions/hello/url"),
        ("DELETE", "/2021-10-31/functions/hello/url"),
        ("GET", "/2021-10-31/functions/hello/urls"),
        ("PUT", "/2019-09-25/functions/hello/event-invoke-config"),
        ("POST", "/2019-09-25/functions/hello/event-invoke-config"),
        ("GET", "/2019-09-25/functions/hello/event-invoke-config/list"),
    ] {
        let reply = platform.send(request(method, path, "{}")).await;
        faulty(&reply, 403, "MissingAuthenticationTokenException");
        let forged = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .header("authorization", "AWS4-HMAC-SHA256 Credential=A/B")
            .body(Full::default())
            .unwrap();
        faulty(&platform.send(forged).await, 400, "IncompleteSignatureException");
    }
    assert_eq!(invoke(&platform, "/hello").await.text(), r#""hello""#);
    for (method, path) in [("PATCH", "/2015-03-31/functions"), ("GET", INVOKE), ("GET", STREAM)] {
        let reply = platform.send(request(method, path, "")).await;
        faulty(&reply, 404, "UnknownOperationException");
    }
}

#[tokio::test]
async fn what_an_invocation_says_about_itself_is_checked() {
    let platform = Platform::start().await;
    platform.deploy("hello", json!({})).await;
    for (name, value, status, kind) in [
        (
            "x-amz-invocation-type",
            "Sometimes",
            400,
            "InvalidParameterValueException",
        ),
        ("x-amz-log-type", "All", 400, "InvalidParameterValueException"),
        ("x-amz-client-context", "***", 400, "InvalidRequestContentException"),
        ("x-amz-client-context", "MQ==", 400, "InvalidRequestContentException"),
        ("content-length", "6291457", 413, "RequestTooLargeException"),
    ] {
        let asked = Request::post(INVOKE).header("host", "localhost").header(name, value);
        let body = if name == "content-length" {
            vec![b' '; 6_291_457]
        } else {
            b"{}".to_vec()
        };
        let reply = platform.send(asked.body(Full::from(body)).unwrap()).await;
        faulty(&reply, status, kind);
    }
    let long = Request::post(INVOKE)
        .header("host", "localhost")
        .header("x-amz-client-context", "A".repeat(3584));
    let reply = platform.send(long.body(Full::default()).unwrap()).await;
    faulty(&reply, 400, "InvalidParameterValueException");
}

#[tokio::test]
async fn a_caller_that_leaves_ends_its_call() {
    let platform = Platform::start().await;
    platform.deploy("hello", json!({ "scale": { "max": 1 } })).await;
    let mut stream = TcpStream::connect(platform.address).await.unwrap();
    let event = r#"{"rawPath":"/hang"}"#;
    let head = format!(
        "POST {INVOKE} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{event}",
        event.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    while platform.puppets.started() == 0 {
        tokio::task::yield_now().await;
    }
    drop(stream);
    platform.until_metrics_have(r#"code="499",function="hello""#).await;
    assert_eq!(invoke(&platform, "/hello").await.text(), r#""hello""#);
}
