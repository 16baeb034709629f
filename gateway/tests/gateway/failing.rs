//! Calls that don't go well, each with its own status and code.

use std::io;

use http::Request;
use http_body_util::Full;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::platform::{Platform, request};
use crate::wire::{read_to_end, read_until, refused};

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let platform = Platform::start().await;
    platform
        .get("/function/chosen")
        .await
        .refused(404, "function_not_found");
    platform.get("/nowhere").await.refused(404, "not_found");
    platform
        .get("/function/No.Name")
        .await
        .refused(400, "invalid_function_name");
    platform
        .send(request("POST", "/healthz", ""))
        .await
        .refused(405, "method_not_allowed");
    let foreign = Request::get("/function/hello")
        .header("host", "example.org")
        .body(Full::default())
        .unwrap();
    platform.send(foreign).await.refused(421, "misdirected_request");
    let metrics = platform.metrics().await;
    assert!(
        metrics.contains(r#"fn_requests_refused_total{code="misdirected_request"} 1"#),
        "{metrics}"
    );
    assert!(!metrics.contains("chosen"), "a name that callers choose is no label");
}

#[tokio::test]
async fn heads_over_the_limits_are_refused() {
    let platform = Platform::start().await;
    let mut many = Request::get("/healthz").header("host", "localhost");
    for i in 0..101 {
        many = many.header(format!("x-{i}"), "v");
    }
    platform
        .send(many.body(Full::default()).unwrap())
        .await
        .refused(431, "headers_too_large");
    let long = Request::get("/healthz")
        .header("host", "localhost")
        .header("x", "v".repeat(40_000));
    platform
        .send(long.body(Full::default()).unwrap())
        .await
        .refused(431, "headers_too_large");
    platform
        .get(&format!("/{}", "a".repeat(9000)))
        .await
        .refused(414, "target_too_long");
    let mut stream = TcpStream::connect(platform.address).await.unwrap();
    let both = "POST /function/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    stream.write_all(both.as_bytes()).await.unwrap();
    refused(&read_to_end(&mut stream).await, 400, "bad_request");
}

#[tokio::test]
async fn bodies_over_the_limit_are_refused_early() {
    let platform = Platform::start().await;
    platform.deploy("hello", json!({ "max_body": "1KiB" })).await;
    platform.deploy_program("cat", json!({ "max_body": "1KiB" })).await;
    for function in ["hello", "cat"] {
        // A length that is told is refused before a byte of the body came.
        let mut stream = TcpStream::connect(platform.address).await.unwrap();
        let head =
            format!("POST /function/{function}/event HTTP/1.1\r\nHost: localhost\r\nContent-Length: 104857600\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        refused(&read_to_end(&mut stream).await, 413, "body_too_large");
        platform
            .send(request(
                "POST",
                &format!("/function/{function}/event"),
                vec![b'x'; 1024],
            ))
            .await;
    }
    // One that is not told is counted.
    let mut stream = TcpStream::connect(platform.address).await.unwrap();
    let head = "POST /function/hello/event HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunk = format!("401\r\n{}\r\n", "x".repeat(1025));
    stream.write_all(format!("{head}{chunk}").as_bytes()).await.unwrap();
    let reply = read_to_end(&mut stream).await;
    refused(&reply, 413, "body_too_large");
    assert!(reply.to_ascii_lowercase().contains("connection: close"), "{reply}");
    // When the reply of a program has begun, it breaks off.
    let mut stream = TcpStream::connect(platform.address).await.unwrap();
    let head = "POST /function/cat HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    read_until(&mut stream, "200 OK").await;
    stream.write_all(chunk.as_bytes()).await.unwrap();
    assert!(!read_to_end(&mut stream).await.ends_with("0\r\n\r\n"));
}

#[tokio::test]
async fn every_way_to_fail_has_its_code_and_the_next_call_works() {
    let platform = Platform::start().await;
    platform.deploy("hello", json!({})).await;
    for (path, code, kept) in [
        ("/error", "function_error", true),
        ("/garbage", "protocol_error", false),
        ("/exit", "function_exited", false),
        ("/oom", "out_of_memory", false),
        ("/not-json", "bad_reply", true),
        ("/status", "bad_reply", true),
        ("/crlf", "bad_reply", true),
        ("/many-headers", "bad_reply", true),
        ("/huge", "bad_reply", true),
    ] {
        let before = platform.get("/function/hello/hello").await;
        let failed = platform.get(&format!("/function/hello{path}")).await;
        let document = failed.refused(502, code);
        assert!(!document.to_string().contains("secret"), "{document}");
        assert_eq!(failed.header("x-fn-instance"), before.header("x-fn-instance"), "{path}");
        let after = platform.get("/function/hello/hello").await;
        assert_eq!(after.status, 200, "{path}");
        assert_eq!(
            after.header("x-fn-instance") == before.header("x-fn-instance"),
            kept,
            "{path}"
        );
    }
}

#[tokio::test]
async fn errors_are_exposed_only_when_asked_for() {
    let platform = Platform::with(|config| config.expose_errors = true).await;
    platform.deploy("hello", json!({})).await;
    let failed = platform.get("/function/hello/error").await;
    assert_eq!(failed.status, 502);
    let expected = json!({ "errorMessage": "secret words", "errorType": "ValueError", "stackTrace": ["line 7"] });
    assert_eq!(failed.json(), expected);
}

#[tokio::test]
async fn a_deadline_kills_the_instance() {
    let platform = Platform::start().await;
    platform.deploy("hello", json!({ "timeout": "200ms" })).await;
    let before = platform.get("/function/hello/hello").await;
    let late = platform.get("/function/hello/hang").await;
    late.refused(504, "timeout");
    let after = platform.get("/function/hello/hello").await;
    assert_ne!(after.header("x-fn-instance"), before.header("x-fn-instance"));
    // The head of a stream is out when the deadline passes: the reply breaks off.
    let broken = platform.get("/function/hello/stream-hangs").await;
    assert_eq!((broken.status.as_u16(), broken.body), (200, None));
    platform
        .until_metrics_have(r#"fn_invocations_total{code="504",function="hello",start="warm"} 2"#)
        .await;
}

#[tokio::test]
async fn a_stream_that_fails_never_looks_whole() {
    let platform = Platform::start().await;
    platform.deploy("hello", json!({})).await;
    let broken = platform.get("/function/hello/stream-breaks").await;
    assert_eq!((broken.status.as_u16(), broken.body), (200, None));
    // The function said that it failed, so its process is sound and kept.
    assert_eq!(platform.get("/function/hello/hello").await.header("x-fn-start"), "warm");
}

#[tokio::test]
async fn a_full_queue_says_when_to_come_back() {
    let platform = Platform::start().await;
    platform
        .deploy("hello", json!({ "queue": 0, "scale": { "max": 1 } }))
        .await;
    let mut busy = TcpStream::connect(platform.address).await.unwrap();
    busy.write_all(b"GET /function/hello/stream-hangs HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    read_until(&mut busy, "one ").await;
    let full = platform.get("/function/hello/hello").await;
    full.refused(429, "queue_full");
    assert_eq!(full.header("retry-after"), "1");
}

#[tokio::test]
async fn a_caller_who_leaves_ends_its_call() {
    let platform = Platform::start().await;
    platform.deploy("hello", json!({})).await;
    platform.deploy_program("cat", json!({})).await;
    let first = platform.get("/function/hello/hello").await;
    for path in ["hello/hang", "hello/stream-hangs", "cat/hang"] {
        let mut leaving = TcpStream::connect(platform.address).await.unwrap();
        leaving
            .write_all(format!("GET /function/{path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())
            .await
            .unwrap();
        if !path.ends_with("hello/hang") {
            read_until(&mut leaving, "200 OK").await;
        }
        drop(leaving);
    }
    platform
        .until_metrics_have(r#"fn_invocations_total{code="499",function="cat"#)
        .await;
    platform
        .until_metrics_have(r#"fn_invocations_total{code="499",function="hello"#)
        .await;
    let next = platform.get("/function/hello/hello").await;
    assert_ne!(next.header("x-fn-instance"), first.header("x-fn-instance"));
    // A program is told to stop, and its instance lives.
    let next = platform.send(request("POST", "/function/cat", "abc")).await;
    assert_eq!(next.text(), "abc");
    assert_eq!(platform.puppets.cancelled(), 1);
}

#[tokio::test]
async fn a_handler_that_can_not_be_loaded_fails_the_deploy_or_the_call() {
    let platform = Platform::start().await;
    let manifest = json!({ "env": { "FAIL_INIT": "no module named secret" } });
    let refused = platform
        .deploy("hello", manifest.clone())
        .await
        .refused(422, "check_failed");
    assert_eq!(refused["error"]["details"]["errorType"], "ImportError");
    platform
        .get("/function/hello/hello")
        .await
        .refused(404, "function_not_found");
    let digest = platform.upload(&[("handler.py", "def handler(e, c): pass\n")]).await;
    let deployed = platform
        .put(
            "hello",
            &json!({ "bundle": digest, "manifest": manifest, "check": false }),
        )
        .await;
    assert_eq!(deployed.status, 200, "{deployed:?}");
    let failed = platform.get("/function/hello/hello").await;
    let document = failed.refused(502, "init_error");
    assert!(!document.to_string().contains("secret"), "{document}");
}

#[tokio::test]
async fn a_drain_answers_what_is_in_flight() {
    let platform = Platform::start().await;
    platform.deploy_program("cat", json!({})).await;
    let mut busy = TcpStream::connect(platform.address).await.unwrap();
    busy.write_all(b"POST /function/cat HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await
        .unwrap();
    read_until(&mut busy, "200 OK").await;
    platform.drain.begin();
    busy.write_all(b"3\r\nend\r\n0\r\n\r\n").await.unwrap();
    let rest = read_to_end(&mut busy).await;
    assert!(rest.contains("end") && rest.ends_with("0\r\n\r\n"), "{rest}");
    let dir = platform.stop().await;
    assert!(!dir.path().join("admin.sock").exists());
}

#[tokio::test]
async fn a_server_that_can_start_nothing_says_that_it_is_not_ready() {
    let platform = Platform::start().await;
    assert_eq!(platform.get("/readyz").await.json()["status"], "ready");
    platform.puppets.seem_down(true);
    let reply = platform.get("/readyz").await;
    assert_eq!(
        (reply.status.as_u16(), &reply.json()["status"]),
        (503, &json!("no_sandboxes"))
    );
    // The process itself is sound: restarting it would only make things worse.
    assert_eq!(platform.get("/healthz").await.status, 200);
    platform.puppets.seem_down(false);
    assert_eq!(platform.get("/readyz").await.status, 200);
}

#[tokio::test]
async fn bodies_are_bounded_all_together() {
    let platform = Platform::with(|config| config.bodies = 1024).await;
    platform.deploy("hello", json!({})).await;
    let sized = |size: usize| request("POST", "/function/hello/hello", "x".repeat(size));
    let refused = platform.send(sized(1025)).await;
    refused.refused(503, "unavailable");
    assert_eq!(refused.header("retry-after"), "1");
    // A call holds its body until it is answered.
    let mut hanging = TcpStream::connect(platform.address).await.unwrap();
    let head = "POST /function/hello/hang HTTP/1.1\r\nHost: localhost\r\nContent-Length: 600\r\n\r\n";
    hanging.write_all(head.as_bytes()).await.unwrap();
    hanging.write_all(&[b'x'; 600]).await.unwrap();
    platform
        .until_metrics_have(r#"fn_instances{function="hello",state="busy"} 1"#)
        .await;
    platform.send(sized(600)).await.refused(503, "unavailable");
    drop(hanging);
    platform
        .until_metrics_have(r#"fn_invocations_total{code="499",function="hello""#)
        .await;
    assert_eq!(platform.send(sized(1000)).await.status, 200);
}

#[tokio::test]
async fn a_server_is_given_up_only_when_nobody_listens_any_more() {
    let platform = Platform::start().await;
    let manifest = json!({ "runtime": "http", "handler": "serve" });
    platform.deploy_program("served", manifest).await;
    assert_eq!(platform.get("/function/served").await.text(), "served");
    // No descriptors, or a full queue: it has other callers.
    for passing in [io::ErrorKind::Other, io::ErrorKind::WouldBlock] {
        platform.puppets.seem_unreachable(Some(passing));
        let reply = platform.get("/function/served").await;
        reply.refused(503, "unavailable");
        assert_eq!(reply.header("retry-after"), "1");
    }
    platform.puppets.seem_unreachable(None);
    assert_eq!(platform.get("/function/served").await.text(), "served");
    let started = platform.puppets.started();
    platform
        .puppets
        .seem_unreachable(Some(io::ErrorKind::ConnectionRefused));
    platform.get("/function/served").await.refused(502, "function_exited");
    platform.puppets.seem_unreachable(None);
    assert_eq!(platform.get("/function/served").await.text(), "served");
    assert!(platform.puppets.started() > started);
}
