//! One connection, from its first byte to its last.
//!
//! hyper parses; what it refuses by itself (a malformed head, too many headers) it answers with a bare status line. `watch` puts the JSON
//! body that every other error has under it, and sees the one thing that hyper hides: a head with two ways to tell the body's length.
//!
//! Cancel safety: dropping the future of [`serve`] closes the socket at once and drops the future of the request in flight.

mod patience;
mod waiting;
mod watch;

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io::Cursor;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{Arrival, ConnectionLimits, Drain, Peer, Takeover};
use crate::outcome::{self, Code};
use crate::request_id::RequestId;
use patience::Patient;
use watch::{Tracked, Watched};

/// hyper's bound for one head, and the size of its buffers: above what the limits of a head allow, so that those decide.
const BUFFER: usize = 64 * 1024;
/// hyper's bound for header lines: above the limit that is ours, for the same reason.
const HEADER_LINES: usize = 256;
/// After the last reply, what the peer still sends is read and thrown away, at most this much. Closing at once would make
/// the kernel answer with a reset, and the peer could lose the reply that tells it why.
const LINGER: u64 = 128 * 1024 * 1024;
/// How long the peer may be silent meanwhile.
const LINGER_SILENCE: Duration = Duration::from_secs(2);
/// How long all of that may take.
const LINGER_TIME: Duration = Duration::from_secs(30);

/// Serves a connection until either side ends it or the drain does.
pub(super) async fn serve<I, A, F>(io: I, peer: Peer, limits: ConnectionLimits, drain: Drain, answer: A)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Fn(Arrival, Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Response<Body>, Infallible>> + Send + 'static,
{
    let (io, watch) = Watched::new(Patient::new(io, limits.write_stall), &limits);
    let takeover = Arc::new(OnceLock::new());
    let service = service_fn(|request| {
        let framing = watch.begin();
        let (watch, reply) = (watch.clone(), answer(Arrival { peer, framing }, request));
        let takeover = takeover.clone();
        // Boxed so that the connection can be moved, and its socket taken out of it at the end.
        Box::pin(async move {
            let mut response = reply.await?;
            if let Some(next) = response.extensions_mut().remove::<Takeover>() {
                // A connection is taken over once: hyper reads no request after a 101.
                let _first = takeover.set(next);
            }
            Ok::<_, Infallible>(response.map(|body| Tracked::new(body, watch)))
        })
    });
    let mut http = http1::Builder::new();
    // Its timeout for heads would begin with the wait for the first byte, and close connections that are merely idle.
    http.header_read_timeout(None)
        .max_buf_size(BUFFER)
        .max_headers(HEADER_LINES);
    let mut connection = http.serve_connection(TokioIo::new(io), service);
    let mut draining = false;
    let ended = loop {
        tokio::select! {
            ended = poll_fn(|context| connection.poll_without_shutdown(context)) => break ended,
            () = drain.is_cut() => return,
            () = drain.begun(), if !draining => {
                draining = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
        }
    };
    let parts = connection.into_parts();
    let mut io = parts.io.into_inner();
    if ended.is_ok()
        && let Some(takeover) = takeover.get().cloned()
    {
        // What goes over it from here on is nobody's head.
        watch.begin();
        let (read, write) = tokio::io::split(io);
        let whole = tokio::io::join(Cursor::new(parts.read_buf).chain(read), write);
        tokio::select! {
            () = takeover.run(Box::new(whole)) => {}
            () = drain.is_cut() => {}
        }
        return;
    }
    if io.is_late() {
        io.refuse_late_head();
    } else if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
        // After a malformed head and after a reply that broke off the peer is still to read what it was told.
        if !error.is_parse() && !error.is_user() {
            return;
        }
    }
    if draining && io.is_idle() {
        // The peer may keep its idle end open for ever; it has nothing to lose.
        return;
    }
    tokio::select! {
        () = linger(io) => {}
        () = drain.is_cut() => {}
    }
}

/// Says that nothing more comes, then reads what the peer still sends.
async fn linger<I: AsyncRead + AsyncWrite + Unpin>(mut io: I) {
    if io.shutdown().await.is_err() {
        return;
    }
    let rest = async {
        let mut rest = io.take(LINGER);
        let mut scratch = vec![0; 64 * 1024];
        while let Ok(Ok(1..)) = tokio::time::timeout(LINGER_SILENCE, rest.read(&mut scratch)).await {}
    };
    let _ = tokio::time::timeout(LINGER_TIME, rest).await;
}

/// A whole reply as bytes, for requests that never became one.
fn bare_reply(status: http::StatusCode, code: Code, message: &str) -> Vec<u8> {
    let id = RequestId::new().to_string();
    let body = outcome::body(code, message, &id);
    let reason = status.canonical_reason().unwrap_or("Error");
    let mut reply = format!(
        "HTTP/1.1 {} {reason}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\nx-fn-request-id: {id}\r\n\r\n",
        status.as_u16(),
        body.len(),
    )
    .into_bytes();
    reply.extend_from_slice(&body);
    reply
}
