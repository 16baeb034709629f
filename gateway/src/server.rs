//! The HTTP servers: one on TCP for callers, one on a unix socket for the admin API.
//!
//! ```text
//! listen --> accept --> connection (hyper, HTTP/1.1) --> service --> reply
//!    |                       |
//!    +------- drain ---------+   first signal: no new connection, in-flight requests finish, `Connection: close`
//!                                second signal, or the bound: everything is cut
//! ```
//!
//! Owns sockets and connections; knows no route. Dropping the future of [`serve`] stops accepting; connections end with the [`Drain`].

mod connection;
mod drain;
mod listen;
mod takeover;

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::sync::Semaphore;

pub use drain::{Drain, signals};
pub use listen::{BindError, Listener, Peer};
pub(crate) use takeover::{Duplex, Takeover};

/// How connections are served.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// How long a request's head may take: the first one from the moment the connection is made, each later one from its first byte.
    /// Default 30 s.
    pub head_timeout: Duration,
    /// How long a connection is kept after a reply while nothing of a next request comes. A caller that sends one just when the
    /// connection is closed loses it, so this is longer than the 90 s for which common clients keep theirs. Default 2 min.
    pub idle_timeout: Duration,
    /// How long a peer may take nothing of a reply that waits for it; then its connection is cut. `None` waits for ever. Default 30 s.
    pub write_stall: Option<Duration>,
    /// Connections at one time; more wait to be accepted. Default 8192.
    pub connections: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            head_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(120),
            write_stall: Some(Duration::from_secs(30)),
            connections: 8192,
        }
    }
}

/// What the service learns about a connection beside the request.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// Who called.
    pub peer: Peer,
    /// The request carried both Content-Length and Transfer-Encoding. hyper drops the first of the two, so only the connection saw it.
    pub framing: Framing,
}

/// Whether a request's head leaves its body's length in no doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// One way to tell the length.
    Clear,
    /// Two ways, as in an attempt at request smuggling.
    Ambiguous,
}

/// Accepts connections until the drain begins; `answer` gets each request. Returns when no more are accepted; the connections go on
/// as tasks of the drain.
pub async fn serve<A, F>(listener: Listener, limits: ConnectionLimits, drain: Drain, answer: A)
where
    A: Fn(Arrival, Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response<Body>, Infallible>> + Send + 'static,
{
    let room = Arc::new(Semaphore::new(limits.connections));
    loop {
        let permit = tokio::select! {
            biased;
            () = drain.begun() => break,
            permit = room.clone().acquire_owned() => permit.expect("the semaphore is never closed"),
        };
        let accepted = tokio::select! {
            biased;
            () = drain.begun() => break,
            accepted = listener.accept() => accepted,
        };
        let (answer, serving) = (answer.clone(), drain.clone());
        match accepted {
            listen::Accepted::Tcp(stream, peer) => drain.track(async move {
                connection::serve(stream, peer, limits, serving, answer).await;
                drop(permit);
            }),
            listen::Accepted::Unix(stream) => drain.track(async move {
                connection::serve(stream, Peer::Local, limits, serving, answer).await;
                drop(permit);
            }),
        }
    }
}

/// Serves one connection that is no socket.
#[cfg(feature = "fuzzing")]
pub(crate) async fn in_memory<I, A, F>(io: I, limits: ConnectionLimits, drain: Drain, answer: A)
where
    I: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    A: Fn(Arrival, Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Response<Body>, Infallible>> + Send + 'static,
{
    connection::serve(io, Peer::Local, limits, drain, answer).await;
}
