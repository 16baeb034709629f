//! Web apps in unmodified frameworks, served by the shims without a server of their own.

mod express;
mod fastapi;
mod fastify;
mod flask;
mod framework;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tests::client::Reply;
use tests::{Server, poll, raw};

/// Sizes of bodies that go through every framework: none, one byte, and the most that an event may hold.
const SIZES: [usize; 3] = [0, 1, 6 * 1024 * 1024];

/// Bytes of every value in no simple order.
fn bytes(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at * 7 + at / 256) as u8).collect()
}

/// Calls a path of a function.
async fn ask(server: &Server, name: &str, method: &str, path: &str, headers: HeaderMap, body: Vec<u8>) -> Reply {
    let url = format!("{}{path}", server.function(name));
    let mut request = reqwest::Request::new(method.parse().expect("a method"), url.parse().expect("an address"));
    *request.headers_mut() = headers;
    *request.body_mut() = Some(body.into());
    server.client().send(request).await.expect("a reply")
}

async fn get(server: &Server, name: &str, path: &str) -> Reply {
    ask(server, name, "GET", path, HeaderMap::new(), Vec::new()).await
}

/// `x-header-0` to `x-header-89` with values of their own, two cookies, and one header twice.
fn many_headers() -> HeaderMap {
    let mut headers: HeaderMap = (0..90)
        .map(|number| {
            let name = HeaderName::from_bytes(format!("x-header-{number}").as_bytes()).expect("a name");
            (name, HeaderValue::from(number))
        })
        .collect();
    for (name, value) in [
        ("cookie", "a=1"),
        ("cookie", "b=2"),
        ("x-twice", "1"),
        ("x-twice", "2, 3"),
    ] {
        headers.append(name, HeaderValue::from_static(value));
    }
    headers
}

/// What `GET /links/` of an app tells, a link to `/items/seen?q=1`, the path of itself, and its own address, leads back to the app: where it is called by its path,
/// and where it is called by its Host. So does the redirect to it, for want of the slash at its end.
async fn links(server: &Server, name: &str) {
    let address = server.address();
    let port = address.rsplit_once(':').map_or("", |(_, port)| port);
    for (host, base) in [
        (address.to_owned(), format!("/function/{name}")),
        (format!("{name}.localhost:{port}"), String::new()),
    ] {
        let told = at(server, &host, &format!("{base}/links/")).await.good().json();
        let told: Vec<String> = serde_json::from_value(told).expect("a list of texts");
        assert_eq!(told[0], format!("http://{host}{base}/items/seen?q=1"));
        assert_eq!(told[1], format!("{base}/links/"));
        assert_eq!(told[2], format!("http://{host}{base}/links/"));
        let path = told[0].strip_prefix(&format!("http://{host}")).expect("it leads back");
        assert_eq!(at(server, &host, path).await.good().json()["id"], "seen");
        let moved = at(server, &host, &format!("{base}/links")).await;
        assert!((301..=308).contains(&moved.status), "{}", moved.status);
        let to = moved.header("location");
        assert_eq!(to.strip_prefix(&format!("http://{host}")).unwrap_or(to), told[1]);
    }
}

/// Asks for a path of a host that the server is.
async fn at(server: &Server, host: &str, path: &str) -> Reply {
    let url = format!("http://{}{path}", server.address());
    let mut request = reqwest::Request::new(reqwest::Method::GET, url.parse().expect("an address"));
    let host = HeaderValue::from_str(host).expect("a host");
    request.headers_mut().insert("host", host);
    server.client().send(request).await.expect("a reply")
}

/// What every app of these tests answers to, in whatever framework.
///
/// `POST /echo` gives the body back as `application/octet-stream`; `GET /items/ID?q=..&q=..` tells what it saw as JSON: `id`, `q` (a list),
/// `headers` (a number), `cookies`; it sets two cookies; `GET /flow` streams `0` to `4` with lines ends; `GET /fail` raises an error.
async fn drive(server: &Server, name: &str) {
    for size in SIZES {
        let sent = bytes(size);
        let reply = ask(server, name, "POST", "/echo", HeaderMap::new(), sent.clone()).await;
        assert_eq!(reply.status, 200, "{size}: {}", reply.text());
        assert!(reply.body == sent, "{size} bytes came back as {}", reply.body.len());
        assert_eq!(reply.header("content-type"), "application/octet-stream");
    }
    // One byte more is refused by its length. An ordinary client would still be sending when the connection is closed.
    let over = format!(
        "POST /function/{name}/echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n",
        SIZES[2] + 1
    );
    raw::exchange(server.address(), over.as_bytes()).await.error(413);

    let path = "/items/a%20b%C3%A9?q=1&q=two%26three";
    let reply = ask(server, name, "GET", path, many_headers(), Vec::new()).await.good();
    let seen = reply.json();
    assert_eq!(seen["id"], "a bé", "{seen}");
    assert_eq!(seen["q"], serde_json::json!(["1", "two&three"]), "{seen}");
    assert_eq!(seen["headers"], 90, "{seen}");
    assert_eq!(seen["cookies"], serde_json::json!({"a": "1", "b": "2"}), "{seen}");
    let cookies: Vec<_> = reply.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies.len(), 2, "{cookies:?}");

    assert_eq!(get(server, name, "/flow").await.good().text(), "0\n1\n2\n3\n4\n");
    let head = ask(server, name, "HEAD", "/items/x", HeaderMap::new(), Vec::new()).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(get(server, name, "/nowhere").await.status, 404);
    // Frameworks answer for what their handlers raise. The process lives on.
    assert_eq!(get(server, name, "/fail").await.status, 500);
    get(server, name, "/items/y").await.is_warm();
    server.evict(name).await;
    get(server, name, "/items/y").await.is_cold();
}

/// The app can be loaded once and forked: its template stands some time after a call, and the next instance is a fork of it.
async fn is_forked(server: &Server, name: &str) {
    poll::until("a start from the template", async || {
        server.fn_command(["evict", name]).await.good();
        let reply = get(server, name, "/items/y").await.good();
        ["forked", "ahead"].contains(&reply.start()).then_some(())
    })
    .await;
}

/// `/slow` streams without end, one line at a time: the first must come while the app still makes the next.
async fn flows(server: &Server, name: &str) {
    let url = format!("{}/slow", server.function(name));
    let mut reply = reqwest::get(url).await.expect("a reply");
    let first = reply.chunk().await.expect("a piece").expect("a piece");
    assert!(first.starts_with(b"tick"), "{first:?}");
    drop(reply);
    // The connection is closed while this waits, which ends the call; and another process answers.
    get(server, name, "/items/z").await.good();
}
