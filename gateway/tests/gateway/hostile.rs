//! What no honest client sends: malformed heads, smuggled requests, floods of headers, heads that never end.

use std::time::Duration;

use gateway::server::ConnectionLimits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::wire::{PATIENCE, Server, read_to_end, read_until, refused, status};

fn server() -> Server {
    Server::echo(ConnectionLimits::default())
}

#[tokio::test]
async fn malformed_heads_get_a_document() {
    let server = server();
    for head in [
        "GET / HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nName : value\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nno colon here\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 3, 4\r\n\r\nabc",
        "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: +3\r\n\r\nabc",
        "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
        "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/3.7\r\nHost: x\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: x\r\n\r\n",
        "G\x01T / HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /\x7f HTTP/1.1\r\nHost: x\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n",
        "nonsense\r\n\r\n",
    ] {
        let reply = server.exchange(head).await;
        refused(&reply, 400, "bad_request");
        assert!(
            reply.to_ascii_lowercase().contains("connection: close"),
            "{head:?}: {reply}"
        );
    }
}

#[tokio::test]
async fn a_flood_of_headers_gets_a_document() {
    let server = server();
    let flood: String = (0..10_000).map(|i| format!("x-{i}: y\r\n")).collect();
    refused(
        &server
            .exchange(format!("GET / HTTP/1.1\r\nHost: x\r\n{flood}\r\n"))
            .await,
        431,
        "headers_too_large",
    );
    let many: String = (0..300).map(|i| format!("x-{i}: y\r\n")).collect();
    refused(
        &server
            .exchange(format!("GET / HTTP/1.1\r\nHost: x\r\n{many}\r\n"))
            .await,
        431,
        "headers_too_large",
    );
    let long = "v".repeat(1024 * 1024);
    refused(
        &server
            .exchange(format!("GET / HTTP/1.1\r\nHost: x\r\nx: {long}\r\n\r\n"))
            .await,
        431,
        "headers_too_large",
    );
}

#[tokio::test]
async fn both_ways_to_tell_a_length_are_seen_in_any_order_and_piece() {
    let server = server();
    for head in [
        "POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /early HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        "POST /early HTTP/1.1\nHost: x\ntransfer-encoding: chunked\nCONTENT-LENGTH: 5\n\n0\r\n\r\n",
    ] {
        assert!(server.exchange(head).await.contains("early ambiguous"), "{head:?}");
        let mut stream = server.connect().await;
        for byte in head.as_bytes() {
            stream.write_all(&[*byte]).await.unwrap();
        }
        assert!(
            read_to_end(&mut stream).await.contains("early ambiguous"),
            "{head:?} byte by byte"
        );
    }
}

#[tokio::test]
async fn a_smuggled_request_is_never_answered() {
    let server = server();
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    let body = format!("0\r\n\r\n{smuggled}");
    let head = format!(
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n{body}",
        body.len()
    );
    let reply = server.exchange(&head).await;
    assert_eq!(reply.matches("HTTP/1.1 ").count(), 1, "{reply}");
    // The same behind a first request, where the head is not seen by itself.
    let reply = server
        .exchange(format!("GET /first HTTP/1.1\r\nHost: x\r\n\r\n{head}"))
        .await;
    assert!(!reply.contains("GET /smuggled"), "{reply}");
}

#[tokio::test]
async fn keep_alive_and_pipelining_work_and_a_later_bad_head_gets_its_document() {
    let server = server();
    let mut stream = server.connect().await;
    for i in 0..3 {
        stream
            .write_all(format!("POST /{i} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab").as_bytes())
            .await
            .unwrap();
        let reply = read_until(&mut stream, "]").await;
        assert!(reply.contains(&format!("POST /{i} clear [ab]")), "{reply}");
    }
    stream
        .write_all(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    read_until(&mut stream, "/b clear []").await;
    stream.write_all(b"broken\r\n\r\n").await.unwrap();
    refused(&read_to_end(&mut stream).await, 400, "bad_request");
}

#[tokio::test]
async fn a_head_that_never_ends_is_ended() {
    let server = Server::echo(ConnectionLimits {
        head_timeout: Duration::from_millis(50),
        ..ConnectionLimits::default()
    });
    refused(
        &server.exchange("GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ").await,
        408,
        "request_timeout",
    );
    // A connection that says nothing is closed without a word.
    assert_eq!(server.exchange("").await, "");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_no_whole_body() {
    let server = server();
    let mut stream = server.connect().await;
    stream
        .write_all(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel")
        .await
        .unwrap();
    stream.shutdown().await.unwrap();
    let reply = read_to_end(&mut stream).await;
    assert!(!reply.contains("[hel]"), "{reply}");
    for chunk in [
        "zz\r\nabc\r\n0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "ffffffffffffffffff\r\n",
        "3;ext=\"\n\"\r\nabc\r\n0\r\n\r\n",
    ] {
        let request =
            format!("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n{chunk}");
        let reply = server.exchange(request).await;
        assert!(!reply.contains("[abc"), "{chunk:?}: {reply}");
    }
}

#[tokio::test]
async fn a_refusal_reaches_a_client_that_is_still_sending() {
    let server = server();
    let mut stream = server.connect().await;
    stream
        .write_all(b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 33554432\r\n\r\n")
        .await
        .unwrap();
    let piece = vec![b'x'; 1024 * 1024];
    for _ in 0..32 {
        stream
            .write_all(&piece)
            .await
            .expect("the server reads on after it has answered");
    }
    assert!(read_to_end(&mut stream).await.contains("early clear"));
}

#[tokio::test]
async fn what_came_before_a_reply_broke_off_is_sent() {
    let reply = server().exchange("GET /broken HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(reply.contains("all that ") && reply.contains("was said"), "{reply}");
    assert!(!reply.ends_with("0\r\n\r\n"), "it never looks complete: {reply}");

    let server = server();
    let mut stream = server.connect().await;
    let head = b"POST /broken HTTP/1.1\r\nHost: x\r\nContent-Length: 8388608\r\n\r\n";
    stream.write_all(head).await.unwrap();
    for _ in 0..8 {
        let piece = vec![b'x'; 1024 * 1024];
        stream.write_all(&piece).await.expect("the server reads on");
    }
    assert!(read_to_end(&mut stream).await.contains("was said"));
}

#[tokio::test]
async fn expect_100_continue_is_answered_when_the_body_is_wanted() {
    let server = server();
    let head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n";
    let mut stream = server.connect().await;
    stream.write_all(head.as_bytes()).await.unwrap();
    read_until(&mut stream, "HTTP/1.1 100 Continue\r\n\r\n").await;
    stream.write_all(b"ab").await.unwrap();
    assert!(read_to_end(&mut stream).await.contains("[ab]"));
    let reply = server.exchange(head.replace("POST /", "POST /early")).await;
    assert_eq!(status(&reply), 200, "{reply}");
    assert!(!reply.contains("100 Continue"), "{reply}");
}

#[tokio::test]
async fn a_drain_closes_idle_connections_and_lets_busy_ones_answer() {
    let server = server();
    let (mut idle, mut busy) = (server.connect().await, server.connect().await);
    idle.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    read_until(&mut idle, "clear []").await;
    busy.write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        .await
        .unwrap();
    read_until(&mut busy, "100 Continue").await;
    server.drain.begin();
    assert_eq!(read_to_end(&mut idle).await, "");
    busy.write_all(b"ab").await.unwrap();
    let reply = read_to_end(&mut busy).await;
    assert!(
        reply.contains("[ab]") && reply.to_ascii_lowercase().contains("connection: close"),
        "{reply}"
    );
    assert_eq!(server.drain.finish(PATIENCE).await, 0);
    assert!(
        tokio::net::TcpStream::connect(server.address).await.is_err(),
        "nobody listens any more"
    );
}

#[tokio::test]
async fn a_cut_drops_what_is_in_flight() {
    let server = server();
    let mut stream = server.connect().await;
    stream
        .write_all(b"POST /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    server.drain.begin();
    server.drain.cut();
    assert!(server.drain.finish(PATIENCE).await <= 1);
    let mut rest = Vec::new();
    // A reset is as good as an end.
    let _ = stream.read_to_end(&mut rest).await;
    assert!(rest.is_empty());
}
