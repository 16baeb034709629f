//! The HTTP edge in memory, for the crate `fuzz`: what a caller sends comes from a slice of bytes.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use axum::body::Body;
use http::header::{CONNECTION, HeaderValue, TRANSFER_ENCODING};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::exchange::Asked;
use crate::limits::HeadLimits;
use crate::reply;
use crate::resolve::{Hosts, Target, resolve};
use crate::server::{Arrival, ConnectionLimits, Drain, Framing, in_memory};

/// More than any input or reply here has.
const ROOM: usize = 4 * 1024 * 1024;
/// Most bytes of a body.
const MOST_BODY: usize = 64 * 1024;
/// How often the server may go on before the caller closes its side.
const TURNS: usize = 64;
/// Nothing waits this long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// Serves a connection on which these bytes come, then its end. Each request goes as far as it would without a function: its head is checked,
/// resolved, cleaned and made into what a server of a function gets. Returns what was written.
///
/// # Panics
/// When the connection does not end, or something gets through that must not.
pub async fn edge(bytes: &[u8]) -> Vec<u8> {
    let (mut caller, server) = tokio::io::duplex(ROOM);
    let serving = tokio::spawn(in_memory(server, ConnectionLimits::default(), Drain::new(), answer));
    let spoken = async {
        // A server that has said no closes: the rest is not for anybody.
        let _unread = caller.write_all(bytes).await;
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
        }
        let _closed = caller.shutdown().await;
        let mut written = Vec::new();
        let _broken = caller.read_to_end(&mut written).await;
        serving.await.expect("serving a connection does not panic");
        written
    };
    tokio::time::timeout(PATIENCE, spoken)
        .await
        .expect("a connection that was closed ends")
}

async fn answer(arrival: Arrival, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let (head, body) = request.into_parts();
    let refused = arrival.framing == Framing::Ambiguous || HeadLimits::default().check(&head).is_err();
    let Ok(target) = resolve(&head, &Hosts::default()) else {
        return Ok(refusal());
    };
    if refused {
        return Ok(refusal());
    }
    passed_on(head, &target);
    match Limited::new(body, MOST_BODY).collect().await {
        Ok(body) => Ok(Response::new(Body::from(body.to_bytes()))),
        Err(_) => Ok(refusal()),
    }
}

fn refusal() -> Response<Body> {
    let mut refusal = Response::new(Body::empty());
    *refusal.status_mut() = StatusCode::BAD_REQUEST;
    refusal
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
    refusal
}

/// What a server of a function would get, and what it must never get.
fn passed_on(mut head: Parts, target: &Target) {
    let (Target::Function { path_from, .. } | Target::Background { path_from, .. }) = target else {
        return;
    };
    let path = match &head.uri.path()[*path_from..] {
        "" => "/".to_owned(),
        path => path.to_owned(),
    };
    let upgrade = Asked::upgrade(head.version, &head.headers);
    reply::clean_request(&mut head.headers);
    let upgrades = upgrade.is_some();
    let asked = Asked {
        path: &path,
        source: IpAddr::V4(Ipv4Addr::LOCALHOST),
        request_id: HeaderValue::from_static("id"),
        upgrade,
    };
    let head = crate::exchange::forwarded(head, asked);
    let platform = head.headers.keys().filter(|name| name.as_str().starts_with("x-fn-"));
    assert_eq!(platform.count(), 1, "the platform's own word, and nobody else's");
    assert!(head.headers.get_all(reply::REQUEST_ID).iter().eq(["id"]));
    assert!(head.uri.path().starts_with('/'), "{:?}", head.uri);
    assert!(!head.headers.contains_key(TRANSFER_ENCODING));
    assert_eq!(head.headers.contains_key(CONNECTION), upgrades);
}
