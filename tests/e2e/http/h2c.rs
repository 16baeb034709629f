//! Servers that speak HTTP/2: Node's own.

use futures_util::future::join_all;
use reqwest::Method;
use tests::raw::{self, Raw};
use tests::{Reply, Server, Source, poll};

use super::{ask, get};

const MANIFEST: &str = "max_body = \"16MiB\"\n[http]\ncommand = [\"node\", \"app.mjs\"]\nprotocol = \"h2c\"\n";

fn app() -> Source {
    Source::empty()
        .file("app.mjs", include_str!("h2c.mjs"))
        .file("fn.toml", MANIFEST)
}

async fn serving() -> Server {
    let server = Server::start().await;
    server.deploy("app", &app(), &[]).await;
    server
}

async fn printed(server: &Server, text: &str, times: usize) {
    poll::until(text, async || {
        let logs = server.fn_command(["logs", "app"]).await.good().json();
        let lines = logs.as_array().into_iter().flatten();
        (lines.filter(|line| line["text"] == text).count() >= times).then_some(())
    })
    .await;
}

#[tokio::test]
async fn requests_and_replies_are_as_over_http_1() {
    let server = serving().await;
    let headers = [("x-own", "1"), ("upgrade", "websocket"), ("connection", "upgrade")];
    let reply = ask(&server, Method::PUT, "/head?a=%20b", &headers, Vec::new())
        .await
        .good();
    reply.is_cold();
    let seen = reply.json();
    for (name, value) in [
        (":method", "PUT"),
        (":path", "/head?a=%20b"),
        (":scheme", "http"),
        (":authority", server.address()),
        ("x-own", "1"),
        ("te", "trailers"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-fn-request-id", reply.header("x-fn-request-id")),
    ] {
        assert_eq!(seen[name], value, "{name} in {seen}");
    }
    assert!(seen["host"].is_null() && seen["upgrade"].is_null(), "{seen}");
    let cookies: Vec<_> = reply.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
    for size in [0, 1, 65_537, 9 << 20] {
        let body: Vec<u8> = (0..size).map(|at: usize| ((at * 31) >> 3) as u8).collect();
        let reply = ask(&server, Method::POST, "/echo", &[], body.clone()).await.good();
        assert!(reply.body == body, "{size} bytes");
    }
    let chunked = "GET /function/app/echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let mut caller = Raw::connect(server.address()).await;
    caller.send(chunked.as_bytes()).await;
    caller.wait_for(b"\r\n0\r\n\r\n").await;
    let head = ask(&server, Method::HEAD, "/head", &[], Vec::new()).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(get(&server, "/nowhere").await.status, 404);
}

#[tokio::test]
async fn calls_at_a_time_share_one_connection() {
    let server = serving().await;
    let pid = get(&server, "/pid").await.good();
    let replies = join_all((0..16).map(|_| get(&server, "/together?n=16"))).await;
    for reply in replies {
        assert_eq!(reply.instance(), pid.instance());
        assert_eq!(reply.good().text(), "1", "connections");
    }
}

/// A call of gRPC's shape: one message of five bytes, with its length before it.
async fn message(server: &Server, more: &str) -> Reply {
    let request = format!(
        "POST /function/app/grpc HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/grpc\r\nContent-Length: 10\r\n{more}\r\n\0\0\0\0\x05hello"
    );
    raw::exchange(server.address(), request.as_bytes()).await.good()
}

#[tokio::test]
async fn trailers_go_to_callers_who_take_them() {
    let server = serving().await;
    let reply = message(&server, "TE: trailers\r\n").await;
    assert_eq!(reply.header("transfer-encoding"), "chunked");
    assert!(reply.header("trailer").contains("grpc-status"), "{:?}", reply.headers);
    let text = reply.text();
    let (body, trailers) = text.split_once("\r\n0\r\n").expect("a last chunk");
    assert_eq!(body, "A\r\n\0\0\0\0\x05hello");
    for line in ["grpc-status: 0\r\n", "grpc-message: fine\r\n"] {
        assert!(trailers.contains(line), "{trailers:?}");
    }
    assert!(
        trailers.ends_with("\r\n\r\n") && !trailers.contains("x-"),
        "{trailers:?}"
    );

    let reply = message(&server, "").await;
    assert_eq!(reply.header("trailer"), "");
    assert!(reply.text().ends_with("hello\r\n0\r\n\r\n"), "{:?}", reply.text());
}

#[tokio::test]
async fn a_call_that_ends_badly_harms_no_other() {
    let server = Server::start().await;
    server.deploy("app", &app(), &["--set", "timeout=2s"]).await;
    let first = get(&server, "/pid").await.good();
    let url = server.function("app") + "/reset";
    let reset = server.client().get(&url).await;
    assert!(reset.is_err(), "a reply that was reset never looks complete: {reset:?}");
    let refused = ask(&server, Method::POST, "/refuse", &[], vec![0; 5 << 20]).await;
    assert_eq!((refused.status, refused.text().as_str()), (413, "too much"));
    assert_eq!(get(&server, "/never").await.error(504), "timeout");
    printed(&server, "left", 1).await;
    let mut caller = Raw::connect(server.address()).await;
    let head = b"POST /function/app/never HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf";
    caller.send(head).await;
    printed(&server, "never", 2).await;
    drop(caller);
    printed(&server, "left", 2).await;
    assert_eq!(get(&server, "/pid").await.good().instance(), first.instance());
    assert_eq!(get(&server, "/leave").await.error(502), "function_exited");
    assert_ne!(get(&server, "/pid").await.good().instance(), first.instance());
}

#[tokio::test]
async fn callers_who_do_not_read_hold_up_nobody() {
    let server = serving().await;
    let first = get(&server, "/pid").await.good();
    let mut idle = Vec::new();
    for _ in 0..8 {
        let mut caller = Raw::connect(server.address()).await;
        caller
            .send(b"GET /function/app/big HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await;
        idle.push(caller);
    }
    printed(&server, "big", 8).await;
    let body = vec![7; 9 << 20];
    let reply = ask(&server, Method::POST, "/echo", &[], body.clone()).await.good();
    assert!(reply.body == body);
    assert_eq!(reply.instance(), first.instance());
}

#[tokio::test]
async fn a_server_that_speaks_http_1_after_all_is_said_to() {
    let server = Server::start().await;
    let source = Source::empty().file("app.py", super::APP).file(
        "fn.toml",
        "[http]\ncommand = [\"python3\", \"app.py\"]\nprotocol = \"h2c\"\n",
    );
    server.deploy("app", &source, &[]).await;
    assert_eq!(get(&server, "/pid").await.error(502), "bad_reply");
    let said = server
        .try_deploy("app", source.path(), &["--set", "http.protocol=h3"])
        .await;
    assert!(said.all().contains("use one of: http1, h2c"), "{}", said.all());
}
