//! Calls that go well.

use http::Request;
use http_body_util::Full;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::platform::{Platform, request};
use crate::wire::{read_to_end, read_until};

#[tokio::test]
async fn the_first_call_is_cold_and_the_next_is_warm_in_the_same_process() {
    let platform = Platform::start().await;
    let deployed = platform.deploy("hello", json!({})).await;
    assert_eq!(deployed.status, 200, "{deployed:?}");
    let first = platform.get("/function/hello/hello").await;
    assert_eq!((first.status.as_u16(), first.text().as_str()), (200, "\"hello\""));
    assert_eq!(first.header("content-type"), "application/json");
    assert_eq!(first.header("x-fn-revision"), "1");
    assert_ne!(first.header("x-fn-start"), "warm");
    assert_eq!(first.header("x-fn-request-id").len(), 36);
    let timing = first.header("server-timing");
    for part in ["queue;dur=", "sandbox;dur=", "init;dur=", "handler;dur=1.500"] {
        assert!(timing.contains(part), "{timing}");
    }
    let second = platform.get("/function/hello/hello").await;
    assert_eq!(second.header("x-fn-start"), "warm");
    assert_eq!(second.header("x-fn-instance"), first.header("x-fn-instance"));
    assert_ne!(second.header("x-fn-request-id"), first.header("x-fn-request-id"));
    let evicted = platform.admin("POST", "/v1/functions/hello/evict?all=true", "").await;
    assert_eq!(evicted.json()["evicted"], 1);
    let third = platform.get("/function/hello/hello").await;
    assert_ne!(third.header("x-fn-start"), "warm");
    assert_ne!(third.header("x-fn-instance"), first.header("x-fn-instance"));
    let metrics = platform.metrics().await;
    for line in [
        r#"fn_invocations_total{code="200",function="hello",start="warm"} 1"#,
        r#"fn_phase_duration_seconds_sum{function="hello",phase="handler"} 0.0045"#,
        r#"fn_phase_duration_seconds_count{function="hello",phase="queue"} 3"#,
    ] {
        assert!(metrics.contains(line), "{line} is missing in {metrics}");
    }
}

#[tokio::test]
async fn a_function_sees_its_own_part_of_the_request() {
    let platform = Platform::start().await;
    platform.deploy("hello", json!({})).await;
    let call = Request::post("/function/hello/event?a=1&a=2")
        .header("host", "localhost:8080")
        .header("x-fn-request-id", "chosen-by-the-caller")
        .header("connection", "x-hop")
        .header("x-hop", "1")
        .header("te", "trailers")
        .header("content-type", "text/plain")
        .header("x-seen", "yes")
        .body(Full::from("text"))
        .unwrap();
    let reply = platform.send(call).await;
    let event = reply.json();
    assert_eq!(event["rawPath"], "/event");
    assert_eq!(event["rawQueryString"], "a=1&a=2");
    assert_eq!(event["body"], "text");
    assert_eq!(event["requestContext"]["requestId"], reply.header("x-fn-request-id"));
    assert_ne!(reply.header("x-fn-request-id"), "chosen-by-the-caller");
    assert_eq!(event["headers"]["x-seen"], "yes");
    for gone in ["x-hop", "te", "connection", "x-fn-request-id"] {
        assert!(event["headers"].get(gone).is_none(), "{gone} in {event}");
    }
    // The same function under its own host, where the path is all its own.
    let call = Request::get("/event")
        .header("host", "hello.localhost:8080")
        .body(Full::default())
        .unwrap();
    let event = platform.send(call).await.json();
    assert_eq!(event["requestContext"]["domainName"], "hello.localhost");
    assert!(event.get("body").is_none());
    // And over the admin socket.
    let event = platform
        .admin("POST", "/v1/functions/hello/invoke/event", vec![0xff, 0x00])
        .await
        .json();
    assert_eq!(
        (event["body"].as_str(), event["isBase64Encoded"].as_bool()),
        (Some("/wA="), Some(true))
    );
}

#[tokio::test]
async fn a_function_does_not_speak_for_the_platform() {
    let platform = Platform::start().await;
    platform.deploy("hello", json!({})).await;
    let reply = platform.get("/function/hello/headers").await;
    assert_eq!((reply.status.as_u16(), reply.text().as_str()), (201, "made"));
    assert_eq!(reply.header("content-type"), "text/plain");
    assert_eq!(reply.header("x-own"), "1");
    assert_ne!(reply.header("x-fn-start"), "forged");
    assert_ne!(reply.header("server-timing"), "forged");
    assert_eq!(reply.header("content-length"), "4");
    assert!(!reply.headers.contains_key("x-private"));
    let cookies: Vec<_> = reply.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
    let metrics = platform.metrics().await;
    assert!(
        metrics.contains(r#"fn_dropped_headers_total{function="hello"} 5"#),
        "{metrics}"
    );
}

#[tokio::test]
async fn head_and_204_have_no_body() {
    let platform = Platform::start().await;
    platform.deploy("hello", json!({})).await;
    let head = platform.send(request("HEAD", "/function/hello/hello", "")).await;
    assert_eq!(
        (
            head.status.as_u16(),
            head.header("content-length"),
            head.text().as_str()
        ),
        (200, "7", "")
    );
    let none = platform.get("/function/hello/204").await;
    assert_eq!((none.status.as_u16(), none.text().as_str()), (204, ""));
    assert!(!none.headers.contains_key("content-length"));
    // A stream that nobody gets is run to its end, and its instance is kept.
    let head = platform.send(request("HEAD", "/function/hello/stream", "")).await;
    assert_eq!((head.status.as_u16(), head.text().as_str()), (200, ""));
    platform
        .until_metrics_have(r#"fn_invocations_total{code="200",function="hello",start="warm"} 1"#)
        .await;
    let next = platform.get("/function/hello/hello").await;
    assert_eq!(next.header("x-fn-instance"), head.header("x-fn-instance"));
}

#[tokio::test]
async fn a_stream_arrives_whole_and_leaves_a_warm_instance() {
    let platform = Platform::start().await;
    platform.deploy("hello", json!({})).await;
    let stream = platform.get("/function/hello/stream").await;
    assert_eq!((stream.status.as_u16(), stream.text().as_str()), (200, "one two three"));
    assert!(!stream.headers.contains_key("content-length"));
    assert_eq!(stream.header("set-cookie"), "c=3");
    assert_eq!(platform.get("/function/hello/hello").await.header("x-fn-start"), "warm");
}

#[tokio::test]
async fn a_program_streams_both_ways_at_once() {
    let platform = Platform::start().await;
    let deployed = platform.deploy_program("cat", json!({})).await;
    assert_eq!(deployed.status, 200, "{deployed:?} {:?}", deployed.body);
    let mut stream = TcpStream::connect(platform.address).await.unwrap();
    stream
        .write_all(b"POST /function/cat HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    // The reply begins before the request has any body, and each piece comes back before the next is sent.
    read_until(&mut stream, "\r\n\r\n").await;
    for piece in ["one", "two"] {
        stream.write_all(format!("3\r\n{piece}\r\n").as_bytes()).await.unwrap();
        read_until(&mut stream, piece).await;
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    assert!(read_to_end(&mut stream).await.ends_with("0\r\n\r\n"));
}

#[tokio::test]
async fn a_client_that_sends_everything_first_is_answered() {
    let platform = Platform::start().await;
    platform.deploy_program("cat", json!({})).await;
    let body = vec![b'#'; 6 * 1024 * 1024];
    let mut stream = TcpStream::connect(platform.address).await.unwrap();
    let head = format!(
        "POST /function/cat HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&body).await.unwrap();
    let reply = read_to_end(&mut stream).await;
    assert_eq!(reply.matches('#').count(), body.len());
}

#[tokio::test]
async fn a_program_that_answers_early_leaves_a_warm_instance() {
    let platform = Platform::start().await;
    platform.deploy_program("cat", json!({})).await;
    let early = platform
        .send(request("POST", "/function/cat/early", vec![b'x'; 1024 * 1024]))
        .await;
    assert_eq!(early.status, 200);
    let next = platform.send(request("POST", "/function/cat", "abc")).await;
    assert_eq!(next.text(), "abc");
}

#[tokio::test]
async fn functions_outlive_the_server() {
    let platform = Platform::start().await;
    platform.deploy("hello", json!({})).await;
    platform.deploy("hello", json!({})).await;
    let dir = platform.stop().await;
    let platform = Platform::at(dir, |_| {}).await;
    let reply = platform.get("/function/hello/hello").await;
    assert_eq!(
        (reply.text().as_str(), reply.header("x-fn-revision")),
        ("\"hello\"", "2")
    );
}
