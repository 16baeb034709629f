//! Requests that are odd, too large, or half.

use tests::raw::{self, Raw};
use tests::{Server, Source, poll, processes};

/// Answers with what it was given.
fn echo() -> Source {
    Source::python_body("    return {'body': event.get('body'), 'base64': event['isBase64Encoded']}")
}

#[tokio::test]
async fn bodies_that_are_no_json_arrive_as_they_are() {
    let server = Server::start().await;
    server.deploy("echo", &echo(), &[]).await;
    for (kind, body) in [
        ("application/json", "{not json"),
        ("text/plain", "just text"),
        ("text/plain", "ünïcödé \u{1F980}"),
    ] {
        let url = server.function("echo");
        let reply = server
            .client()
            .post_with(&url, &[("content-type", kind)], body.to_owned())
            .await;
        let seen = reply.expect("the function answers").good().json();
        assert_eq!(
            (seen["body"].as_str(), seen["base64"].as_bool()),
            (Some(body), Some(false)),
            "{kind}"
        );
    }
    assert!(
        server.call("echo").await.good().json()["body"].is_null(),
        "no body is no body"
    );
}

#[tokio::test]
async fn binary_bodies_arrive_as_they_are() {
    let server = Server::start().await;
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let source = Source::python(
        "import base64, hashlib\n\n\ndef handler(event, context):\n    \
         body = base64.b64decode(event['body']) if event['isBase64Encoded'] else event['body'].encode()\n    \
         return {'statusCode': 200, 'isBase64Encoded': True, 'body': base64.b64encode(body).decode(),\n            \
         'headers': {'content-type': 'application/octet-stream'}}\n",
    );
    server.deploy("binary", &source, &[]).await;
    let headers = [("content-type", "application/octet-stream")];
    let reply = server
        .client()
        .post_with(&server.function("binary"), &headers, bytes.clone())
        .await;
    assert_eq!(reply.expect("the function answers").good().body, bytes);

    server.deploy("cat", &Source::shell("exec cat"), &[]).await;
    assert_eq!(
        server.post("cat", bytes.clone()).await.good().body,
        bytes,
        "a program sees the same bytes"
    );
}

#[tokio::test]
async fn a_hundred_megabytes() {
    let server = Server::start().await;
    const SIZE: usize = 100 << 20;
    server.deploy("echo", &echo(), &[]).await;
    let warm = server.call("echo").await.good();

    let head = format!("POST /function/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: {SIZE}\r\n\r\n");
    let reply = raw::exchange(server.address(), head.as_bytes()).await;
    assert_eq!(
        reply.error(413),
        "body_too_large",
        "a declared length is refused before a byte is sent"
    );

    let chunks = (0..SIZE / (1 << 16)).map(|_| Ok::<_, std::io::Error>(vec![b'x'; 1 << 16]));
    let body = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
    let reply = server.client().post(&server.function("echo"), body).await;
    assert_eq!(
        reply.expect("the server answers although it stops reading").error(413),
        "body_too_large"
    );

    let again = server.call("echo").await;
    again.is_warm();
    assert_eq!(
        again.instance(),
        warm.instance(),
        "what was refused never reached the function"
    );
}

#[tokio::test]
async fn ten_thousand_headers() {
    let server = Server::start().await;
    server.deploy("echo", &echo(), &[]).await;
    let many: String = (0..10_000).map(|number| format!("x-{number}: y\r\n")).collect();
    let some: String = (0..150).map(|number| format!("x-{number}: y\r\n")).collect();
    let wide = format!("x-wide: {}\r\n", "y".repeat(60_000));
    for headers in [many, some, wide] {
        let request = format!("GET /function/echo HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
        let reply = raw::exchange(server.address(), request.as_bytes()).await;
        assert_eq!(reply.status, 431, "{}", reply.text());
    }
    server.call("echo").await.good();
}

#[tokio::test]
async fn bytes_that_are_no_request() {
    let server = Server::start().await;
    server.deploy("echo", &echo(), &[]).await;
    for request in [
        "GARBAGE\r\n\r\n",
        "GET /function/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        "POST /function/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "GET /function/echo HTTP/1.1\r\n\r\n",
    ] {
        let reply = raw::exchange(server.address(), request.as_bytes()).await;
        assert_eq!(reply.status, 400, "{request:?}: {}", reply.text());
    }
    let foreign = "GET /function/echo HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    assert_eq!(
        raw::exchange(server.address(), foreign.as_bytes()).await.error(421),
        "misdirected_request"
    );
    server.call("echo").await.good();
}

#[tokio::test]
async fn a_client_that_goes_away_in_the_middle_of_a_call() {
    let server = Server::start().await;
    let marker = processes::marker("gone");
    let source = Source::python_body(&format!(
        "    if 'slow' in query:\n        \
         subprocess.Popen(['{marker}', '1000'], executable='/bin/sleep')\n        time.sleep(60)\n    return 'ok'"
    ));
    server
        .deploy("slow", &source, &["--set", "scale.max=1", "--timeout", "60s"])
        .await;
    let before = server.call("slow").await.good();
    let mut caller = Raw::connect(server.address()).await;
    caller
        .send(b"GET /function/slow?slow=1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    poll::until("the begin of the slow call", async || {
        (!processes::marked(&marker).is_empty()).then_some(())
    })
    .await;
    drop(caller);
    // Only one instance may exist, so an answer proves that the abandoned one made way.
    let after = server.call("slow").await;
    after.is_cold();
    assert_ne!(
        after.instance(),
        before.instance(),
        "an instance in an unknown state is not used again"
    );
    poll::until("the end of the abandoned instance", async || {
        processes::marked(&marker).is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_client_that_never_finishes_its_body() {
    let server = Server::start().await;
    server.deploy("echo", &echo(), &["--timeout", "1s"]).await;
    let half = b"POST /function/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nonly this";
    let reply = raw::exchange(server.address(), half).await;
    assert_eq!(reply.status, 408, "{}", reply.text());
    server.call("echo").await.good();
}

#[tokio::test]
async fn paths_and_methods_that_lead_nowhere() {
    let server = Server::start().await;
    assert_eq!(
        server.call("nobody-deployed-this").await.error(404),
        "function_not_found"
    );
    let reply = server
        .client()
        .get(&format!("{}/no/such/route", server.url()))
        .await
        .expect("an answer");
    assert_eq!(reply.error(404), "not_found");
    let reply = server
        .client()
        .post(&format!("{}/healthz", server.url()), "x")
        .await
        .expect("an answer");
    assert_eq!(reply.error(405), "method_not_allowed");
    let reply = server
        .client()
        .get(&format!("{}/v1/functions", server.url()))
        .await
        .expect("an answer");
    assert_eq!(
        reply.error(404),
        "not_found",
        "the admin routes are not on the public side"
    );
}
