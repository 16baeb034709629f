//! Functions that are HTTP servers of their own.

mod frameworks;
mod h2c;

use futures_util::StreamExt;
use futures_util::future::join_all;
use reqwest::{Method, Url};
use tests::raw::{self, Raw};
use tests::{Reply, Server, Source, poll};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub(crate) const APP: &str = include_str!("http/app.py");

/// The app, started as a `Procfile` says.
fn app() -> Source {
    Source::empty()
        .file("app.py", APP)
        .file("Procfile", "release: false\nweb: python3 app.py\n")
}

async fn serving() -> Server {
    let server = Server::start().await;
    server.deploy("app", &app(), &[]).await;
    server
}

async fn ask(server: &Server, method: Method, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Reply {
    let url = Url::parse(&format!("{}{path}", server.function("app"))).expect("a request can be made and is answered");
    let mut request = reqwest::Request::new(method, url);
    for (name, value) in headers {
        let name: reqwest::header::HeaderName = name.parse().expect("a request can be made and is answered");
        request
            .headers_mut()
            .append(name, value.parse().expect("a request can be made and is answered"));
    }
    if !body.is_empty() {
        *request.body_mut() = Some(body.into());
    }
    server
        .client()
        .send(request)
        .await
        .expect("a request can be made and is answered")
}

async fn get(server: &Server, path: &str) -> Reply {
    ask(server, Method::GET, path, &[], Vec::new()).await
}

#[tokio::test]
async fn a_server_of_a_procfile_answers_every_method_path_and_query() {
    let server = serving().await;
    let cold = get(&server, "/head?a=1&b=%20c").await.good();
    cold.is_cold();
    assert!(cold.text().starts_with("GET /head?a=1&b=%20c\n"), "{}", cold.text());
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS"] {
        let reply = ask(&server, method.parse().unwrap(), "/head", &[], Vec::new()).await;
        reply.is_warm();
        assert!(
            reply.text().starts_with(&format!("{method} /head\n")),
            "{}",
            reply.text()
        );
        assert_eq!(reply.instance(), cold.instance());
    }
    let metrics = server.metrics().await;
    let calls = |code| metrics.sum("fn_invocations_total", &[("function", "app"), ("code", code)]);
    assert_eq!((calls("200"), calls("499")), (5.0, 0.0));
    assert_eq!(
        get(&server, "").await.status,
        404,
        "its root is its own, and so is its 404"
    );
    let logs = server.fn_command(["logs", "app"]).await.good().stdout;
    assert!(logs.contains("listening on 8080"), "{logs}");
}

#[tokio::test]
async fn who_called_is_told_and_nothing_of_the_connection() {
    let server = serving().await;
    let headers = [
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("x-forwarded-for", "10.1.2.3"),
        ("cookie", "a=1"),
        ("cookie", "b=2"),
        ("te", "trailers"),
        ("connection", "x-secret"),
        ("x-secret", "for the gateway"),
        ("x-fn-forged", "1"),
    ];
    let reply = ask(&server, Method::GET, "/head", &headers, Vec::new()).await.good();
    let seen = reply.text();
    let host = server.address();
    for line in [
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "x-forwarded-for: 10.1.2.3, 127.0.0.1",
        "x-forwarded-proto: http",
        "cookie: a=1",
        "cookie: b=2",
        &format!("host: {host}"),
        &format!("x-forwarded-host: {host}"),
        &format!("forwarded: for=127.0.0.1;host=\"{host}\";proto=http"),
        &format!("x-fn-request-id: {}", reply.header("x-fn-request-id")),
    ] {
        assert!(seen.lines().any(|seen| seen == line), "no {line:?} in {seen}");
    }
    for name in ["te:", "x-secret:", "x-fn-forged:", "connection:"] {
        assert!(!seen.lines().any(|line| line.starts_with(name)), "{name} in {seen}");
    }
    let cookies: Vec<_> = reply.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
    assert!(!reply.headers.contains_key("keep-alive"));
    assert_ne!(reply.start(), "forged");
}

#[tokio::test]
async fn bodies_of_any_size_come_through_unchanged() {
    let server = serving().await;
    server.deploy("app", &app(), &["--set", "max_body=16MiB"]).await;
    for size in [0, 1, 65_537, 6 << 20, (6 << 20) + 1] {
        let body: Vec<u8> = (0..size).map(|at: usize| ((at * 31) >> 3) as u8).collect();
        let kind = [("content-type", "application/x-own")];
        let reply = ask(&server, Method::POST, "/echo", &kind, body.clone()).await.good();
        assert!(reply.body == body, "{size} bytes");
        assert_eq!(reply.header("content-type"), "application/x-own");
        assert_eq!(reply.header("content-length"), size.to_string());
    }
    // As a stream of unknown length.
    let pieces = futures_util::stream::iter((0..64).map(|n| Ok::<_, std::io::Error>(vec![n as u8; 10_000])));
    let url = server.function("app") + "/echo";
    let reply = server
        .client()
        .post(&url, reqwest::Body::wrap_stream(pieces))
        .await
        .unwrap()
        .good();
    assert_eq!(reply.body.len(), 640_000);
}

#[tokio::test]
async fn bodies_and_heads_beyond_the_bounds_are_refused() {
    let server = serving().await;
    let reply = ask(&server, Method::POST, "/echo", &[], vec![0; (6 << 20) + 1]).await;
    assert_eq!(reply.error(413), "body_too_large");
    let pieces = futures_util::stream::iter((0..700).map(|_| Ok::<_, std::io::Error>(vec![0_u8; 10_000])));
    let url = server.function("app") + "/echo";
    let reply = server
        .client()
        .post(&url, reqwest::Body::wrap_stream(pieces))
        .await
        .unwrap();
    assert_eq!(reply.error(413), "body_too_large");

    let many: Vec<(String, String)> = (0..90).map(|n| (format!("x-n-{n}"), "v".to_owned())).collect();
    let many: Vec<(&str, &str)> = many
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let seen = ask(&server, Method::GET, "/head", &many, Vec::new())
        .await
        .good()
        .text();
    assert_eq!(seen.lines().filter(|line| line.starts_with("x-n-")).count(), 90);
    let reply = get(&server, "/many?n=90").await.good();
    assert_eq!(
        reply
            .headers
            .keys()
            .filter(|name| name.as_str().starts_with("x-h-"))
            .count(),
        90
    );
    for n in [120, 300] {
        assert_eq!(get(&server, &format!("/many?n={n}")).await.error(502), "bad_reply");
    }
    assert_eq!(
        get(&server, "/pid").await.good().start(),
        "warm",
        "none of that cost the instance"
    );
}

#[tokio::test]
async fn replies_without_a_body_have_none() {
    let server = serving().await;
    for status in [204, 304] {
        let reply = get(&server, &format!("/status?s={status}")).await;
        assert_eq!((reply.status, reply.body.len()), (status, 0));
    }
    let reply = ask(&server, Method::HEAD, "/pid", &[], Vec::new()).await.good();
    assert!(reply.body.is_empty());
    let whole = get(&server, "/pid").await.good();
    assert_eq!(reply.header("content-length"), whole.body.len().to_string());
    // The connection goes on: nothing of a body was left on it.
    let two = "HEAD /function/app/pid HTTP/1.1\r\nHost: localhost\r\n\r\nGET /function/app/pid HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let mut connection = tokio::net::TcpStream::connect(server.address()).await.unwrap();
    connection.write_all(two.as_bytes()).await.unwrap();
    let mut seen = String::new();
    connection.read_to_string(&mut seen).await.unwrap();
    assert_eq!(seen.matches("HTTP/1.1 200").count(), 2, "{seen}");
}

#[tokio::test]
async fn a_caller_that_expects_100_gets_it() {
    let server = serving().await;
    let mut caller = tokio::net::TcpStream::connect(server.address()).await.unwrap();
    let head = "POST /function/app/echo HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\nConnection: close\r\n\r\n";
    caller.write_all(head.as_bytes()).await.unwrap();
    let mut seen = [0; 25];
    caller.read_exact(&mut seen).await.unwrap();
    assert_eq!(&seen, b"HTTP/1.1 100 Continue\r\n\r\n");
    caller.write_all(b"hello").await.unwrap();
    let mut rest = String::new();
    caller.read_to_string(&mut rest).await.unwrap();
    assert!(rest.starts_with("HTTP/1.1 200") && rest.ends_with("hello"), "{rest}");
}

#[tokio::test]
async fn one_instance_runs_several_at_a_time() {
    let server = serving().await;
    get(&server, "/pid").await.good();
    let replies = join_all((0..8).map(|_| get(&server, "/together?n=8"))).await;
    let instances: std::collections::HashSet<_> = replies.iter().map(|reply| reply.instance().to_owned()).collect();
    assert_eq!(instances.len(), 1);
    assert!(replies.into_iter().all(|reply| reply.good().text() == "8"));
}

#[tokio::test]
async fn trailers_that_the_head_names_go_to_callers_who_take_them() {
    let server = serving().await;
    let request = |more: &str| {
        format!("GET /function/app/trailers HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{more}\r\n")
    };
    let taken = raw::exchange(server.address(), request("TE: trailers\r\n").as_bytes()).await;
    assert_eq!(taken.header("trailer"), "x-sum");
    assert!(
        taken.text().ends_with("body\r\n0\r\nx-sum: 4\r\n\r\n"),
        "{}",
        taken.text()
    );
    let left = raw::exchange(server.address(), request("").as_bytes()).await;
    assert_eq!(left.header("trailer"), "");
    assert!(left.text().ends_with("body\r\n0\r\n\r\n"), "{}", left.text());
}

#[tokio::test]
async fn events_arrive_when_they_are_sent() {
    let server = serving().await;
    let mut events = reqwest::get(server.function("app") + "/events")
        .await
        .unwrap()
        .bytes_stream();
    assert_eq!(events.next().await.unwrap().unwrap(), "data: first\n\n");
    // The second one waits for this.
    get(&server, "/open").await.good();
    assert_eq!(events.next().await.unwrap().unwrap(), "data: second\n\n");
    assert!(events.next().await.is_none());
}

/// A frame as a client sends it.
fn frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81, 0x80 | text.len() as u8, 1, 2, 3, 4];
    frame.extend(text.bytes().enumerate().map(|(at, byte)| byte ^ (at as u8 % 4 + 1)));
    frame
}

async fn open_socket(server: &Server, more: &[u8]) -> (tokio::net::TcpStream, String) {
    let mut socket = tokio::net::TcpStream::connect(server.address())
        .await
        .expect("the server talks on");
    let mut head = b"GET /function/app/socket HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".to_vec();
    head.extend(more);
    socket.write_all(&head).await.expect("the server talks on");
    let mut seen = Vec::new();
    while !seen.ends_with(b"\r\n\r\n") {
        seen.push(socket.read_u8().await.expect("the server talks on"));
    }
    (
        socket,
        String::from_utf8(seen).expect("the server talks on").to_lowercase(),
    )
}

#[tokio::test]
async fn a_websocket_is_a_tunnel() {
    let server = serving().await;
    // What is sent at once with the head is not lost.
    let (mut socket, head) = open_socket(&server, &frame("at once")).await;
    assert!(head.starts_with("http/1.1 101"), "{head}");
    for line in [
        "upgrade: websocket",
        "connection: upgrade",
        "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=",
    ] {
        assert!(head.lines().any(|seen| seen == line), "{head}");
    }
    let mut heard = [0; 9];
    socket.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"\x81\x07at once");
    for round in 0..20 {
        let text = format!("round {round}");
        socket.write_all(&frame(&text)).await.unwrap();
        let mut heard = vec![0; 2 + text.len()];
        socket.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard[2..], text.as_bytes());
    }
    // The lease is out while it is open, and home when both have closed.
    let metric = async || {
        server
            .metrics()
            .await
            .sum("fn_invocations_total", &[("function", "app"), ("code", "101")])
    };
    assert_eq!(metric().await, 0.0);
    socket.write_all(&[0x88, 0x80, 0, 0, 0, 0]).await.unwrap();
    let mut rest = Vec::new();
    socket.read_to_end(&mut rest).await.unwrap();
    drop(socket);
    poll::until("the end of the tunnel", async || (metric().await == 1.0).then_some(())).await;
    assert_eq!(get(&server, "/pid").await.good().start(), "warm");
}

#[tokio::test]
async fn a_websocket_ends_at_the_deadline_on_both_sides() {
    let server = Server::start().await;
    server.deploy("app", &app(), &["--set", "timeout=2s"]).await;
    let first = get(&server, "/pid").await.good();
    let (mut socket, head) = open_socket(&server, &frame("hello")).await;
    let id = head.lines().find_map(|line| line.strip_prefix("x-fn-request-id: "));
    let id = id.expect("a reply has an id");
    let mut all = Vec::new();
    socket.read_to_end(&mut all).await.expect("an end, and no reset");
    assert_eq!(all, b"\x81\x05hello");
    drop(socket);
    poll::until("the server to see the end", async || {
        let logs = server.fn_command(["logs", "app"]).await.good();
        logs.all().contains("the socket ended without a word").then_some(())
    })
    .await;
    poll::until("the log to say why", async || {
        let log = std::fs::read_to_string(server.place().log()).ok()?;
        let line = log.lines().find(|line| line.contains("open until the deadline"))?;
        assert!(line.contains(id) && line.contains("timeout"), "{line}");
        Some(())
    })
    .await;
    assert_eq!(get(&server, "/pid").await.good().instance(), first.instance());
}

#[tokio::test]
async fn nobody_is_switched_who_did_not_ask() {
    let server = serving().await;
    let old = "GET /function/app/socket HTTP/1.0\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: a\r\n\r\n";
    let reply = raw::exchange(server.address(), old.as_bytes()).await;
    assert_eq!(reply.error(502), "bad_reply", "HTTP/1.0 has no upgrades");
    assert_eq!(get(&server, "/unasked").await.error(502), "bad_reply");
    // HTTP/2 inside of HTTP/1 would be seen by nobody.
    let request = "GET /function/app/head HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n";
    let reply = raw::exchange(server.address(), request.as_bytes()).await.good();
    assert!(!reply.text().contains("upgrade"), "{}", reply.text());
}

#[tokio::test]
async fn what_a_server_does_wrong_is_said() {
    let server = serving().await;
    for path in ["/hang-up", "/nonsense"] {
        assert_eq!(get(&server, path).await.error(502), "bad_reply", "{path}");
    }
    let url = server.function("app") + "/short";
    assert!(
        server.client().get(&url).await.is_err(),
        "a reply that broke off never looks complete"
    );
    let early = ask(&server, Method::POST, "/early", &[], vec![0; 5 << 20]).await;
    assert_eq!(early.text(), "no need for it");
    let pid = get(&server, "/pid").await.good();
    pid.is_warm();
    assert_eq!(get(&server, "/exit").await.error(502), "function_exited");
    let next = get(&server, "/pid").await.good();
    assert_ne!(next.instance(), pid.instance());
}

#[tokio::test]
async fn a_server_that_refuses_a_body_without_reading_it_is_heard() {
    let server = serving().await;
    for _ in 0..10 {
        let refused = ask(&server, Method::POST, "/refuse", &[], vec![0; 5 << 20]).await;
        assert_eq!((refused.status, refused.body.len()), (413, 8000));
    }
    assert_eq!(get(&server, "/pid").await.good().start(), "warm");
}

#[tokio::test]
async fn what_was_said_before_a_reply_broke_off_arrives() {
    let server = serving().await;
    for said in [1, 1000, 3_000_000] {
        let mut caller = Raw::connect(server.address()).await;
        let request = format!("GET /function/app/said?n={said} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        caller.send(request.as_bytes()).await;
        assert_eq!(caller.reply().await.good().body.len(), said);
    }
}

#[tokio::test]
async fn an_upload_ends_with_the_reply_that_did_not_wait_for_it() {
    let server = serving().await;
    let mut caller = tokio::net::TcpStream::connect(server.address()).await.unwrap();
    let head = "POST /function/app/pid HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nnot all of it";
    caller.write_all(head.as_bytes()).await.unwrap();
    let mut seen = String::new();
    caller.read_to_string(&mut seen).await.unwrap();
    assert!(seen.starts_with("HTTP/1.1 200"), "{seen}");
    assert_eq!(seen.matches("HTTP/1.1").count(), 1, "one request, one reply: {seen}");
}

#[tokio::test]
async fn a_get_of_unknown_length_keeps_its_body() {
    let server = serving().await;
    let request = "GET /function/app/echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let reply = raw::exchange(server.address(), request.as_bytes()).await.good();
    assert_eq!(reply.text(), "hello");
}

#[tokio::test]
async fn a_server_outlives_its_slow_calls_but_not_if_it_answers_nobody() {
    let server = Server::start().await;
    server.deploy("app", &app(), &["--set", "timeout=1s"]).await;
    let first = get(&server, "/pid").await.good();
    for _ in 0..2 {
        assert_eq!(get(&server, "/sleep").await.error(504), "timeout");
    }
    let second = get(&server, "/pid").await.good();
    assert_eq!(second.instance(), first.instance());
    for _ in 0..3 {
        assert_eq!(get(&server, "/sleep").await.error(504), "timeout");
    }
    let third = get(&server, "/pid").await.good();
    assert_ne!(third.instance(), first.instance());
}

#[tokio::test]
async fn streams_that_last_until_their_deadline_are_no_reason_to_kill_a_server() {
    let server = Server::start().await;
    server.deploy("app", &app(), &["--set", "timeout=2s"]).await;
    let first = get(&server, "/pid").await.good();
    let url = server.function("app") + "/events";
    let streams = join_all((0..4).map(|_| server.client().get(&url))).await;
    assert!(streams.iter().all(Result::is_err), "each breaks off");
    assert_eq!(get(&server, "/pid").await.good().instance(), first.instance());
}

#[tokio::test]
async fn a_server_outlives_a_caller_that_leaves() {
    let server = serving().await;
    let first = get(&server, "/pid").await.good();
    let gone = async || {
        server
            .metrics()
            .await
            .sum("fn_invocations_total", &[("function", "app"), ("code", "499")])
    };
    let busy = async |wanted: f64| {
        poll::until("calls in flight", async || {
            let busy = [("function", "app"), ("state", "busy")];
            (server.metrics().await.sum("fn_instances", &busy) == wanted).then_some(())
        })
        .await;
    };
    // The one before has ended, and this one is in flight, before its caller leaves.
    busy(0.0).await;
    let mut caller = Raw::connect(server.address()).await;
    caller
        .send(b"GET /function/app/sleep HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    busy(1.0).await;
    drop(caller);
    poll::until("the caller to be missed", async || (gone().await == 1.0).then_some(())).await;
    assert_eq!(get(&server, "/pid").await.good().instance(), first.instance());
}

#[tokio::test]
async fn its_environment_says_who_it_is_and_where_it_listens() {
    let server = Server::start().await;
    server
        .deploy("app", &app(), &["--set", "http.port=9000", "--set", "env.LEVEL=debug"])
        .await;
    let env = get(&server, "/env").await.good().text();
    for line in [
        "PORT=9000",
        "K_SERVICE=app",
        "K_REVISION=app-00001",
        "K_CONFIGURATION=app",
        "LEVEL=debug",
    ] {
        assert!(env.lines().any(|seen| seen == line), "no {line} in {env}");
    }
}

#[tokio::test]
async fn a_server_that_can_not_start_says_why() {
    let server = Server::start().await;
    let deploy = async |files: &[(&str, &str)], set: &[&str]| {
        let source = files
            .iter()
            .fold(Source::empty(), |source, (name, text)| source.file(name, text));
        server.try_deploy("app", source.path(), set).await
    };
    let said = deploy(
        &[(
            "fn.toml",
            "[http]\ncommand = [\"python3\", \"-c\", \"import sys; print('no config'); sys.exit(7)\"]",
        )],
        &[],
    )
    .await;
    assert_ne!(said.code, Some(0));
    assert!(
        said.all().contains("exited with code 7") && said.all().contains("no config"),
        "{}",
        said.all()
    );
    let said = deploy(&[("fn.toml", "[http]\ncommand = [\"no-such-program\"]")], &[]).await;
    assert!(
        said.all().contains("exited with code 127") && said.all().contains("not found"),
        "{}",
        said.all()
    );
    let elsewhere = "timeout = \"1s\"\n[http]\ncommand = [\"python3\", \"-m\", \"http.server\", \"9999\"]";
    let said = deploy(&[("fn.toml", elsewhere)], &[]).await;
    assert!(
        said.all().contains("did not listen on port 8080 (the variable PORT)"),
        "{}",
        said.all()
    );
    let said = deploy(&[("fn.toml", "runtime = \"http\"")], &[]).await;
    assert!(said.all().contains("Procfile"), "{}", said.all());
    let said = deploy(&[("fn.toml", "[http]\ncommand = [\"./serve\"]"), ("serve", "")], &[]).await;
    assert!(said.all().contains("serve is not executable"), "{}", said.all());
}
