//! One HTTP client for the product and for the floor F_http: kept-alive TCP connections, one call in flight on each.
//!
//! Latency runs from the INTENDED send time to the last byte of the reply, so a client that falls behind shows it in
//! its numbers. Waiting for a free connection and opening a new one are part of the latency.
//!
//! A call whose connection turns out to be closed before the request was written goes out again on a new one: it never
//! reached the server. Nothing else is retried. Dropping a call closes its connection.

mod failure;
mod target;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

pub(crate) use failure::{Failure, FailureKind};
pub(crate) use target::Target;

use crate::phases::Phases;
use crate::start::Start;

/// A client of one server; clones share the connections.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    address: SocketAddr,
    host: HeaderValue,
    timeout: Duration,
    /// Open and between two calls; the last used is taken first, so that a slow rate stays on few connections.
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
    /// One permit per connection that may be in use.
    permits: Semaphore,
}

/// What is sent, the same every time.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    uri: Uri,
    body: Option<Bytes>,
    content_type: HeaderValue,
}

/// What became of one call.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// How long after its intended time the request left; `None` when it never left.
    pub(crate) late: Option<Duration>,
    /// The reply, or what went wrong.
    pub(crate) outcome: Result<Reply, Failure>,
}

/// A whole reply with a status below 400.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    /// `x-fn-start`.
    pub(crate) start: Start,
    /// `x-fn-instance`: which process answered.
    pub(crate) instance: Option<HeaderValue>,
    /// `Server-Timing`.
    pub(crate) phases: Phases,
    /// Intended send time to last byte.
    pub(crate) latency: Duration,
}

/// Why no client could be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// The host name has no address.
    #[error("no address for {authority}")]
    Resolve {
        /// Host and port.
        authority: String,
        /// The resolver's answer.
        source: std::io::Error,
    },
}

impl Call {
    /// A GET without a body, else a POST. `uri` is a path with an optional query.
    pub(crate) fn new(uri: Uri, body: Option<Bytes>) -> Self {
        let kind = match &body {
            Some(bytes) if serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok() => "application/json",
            Some(bytes) if std::str::from_utf8(bytes).is_ok() => "text/plain; charset=utf-8",
            _ => "application/octet-stream",
        };
        Self {
            uri,
            body,
            content_type: HeaderValue::from_static(kind),
        }
    }

    fn request(&self, host: &HeaderValue) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone().unwrap_or_default()));
        *request.uri_mut() = self.uri.clone();
        request.headers_mut().insert(HOST, host.clone());
        if self.body.is_some() {
            *request.method_mut() = Method::POST;
            request.headers_mut().insert(CONTENT_TYPE, self.content_type.clone());
        }
        request
    }
}

impl Client {
    /// Finds the server's address; connects to nothing yet.
    pub(crate) async fn new(target: &Target, connections: u32, timeout: Duration) -> Result<Self, ClientError> {
        let authority = target.authority();
        let failed = |source| ClientError::Resolve {
            authority: authority.to_owned(),
            source,
        };
        let address = tokio::net::lookup_host(authority)
            .await
            .map_err(failed)?
            .next()
            .ok_or_else(|| failed(std::io::Error::from(std::io::ErrorKind::NotFound)))?;
        Ok(Self {
            shared: Arc::new(Shared {
                address,
                host: target.host_header(),
                timeout,
                idle: Mutex::new(Vec::new()),
                permits: Semaphore::new(connections as usize),
            }),
        })
    }

    /// Opens connections until `count` are kept, so that calls which leave together do not wait for handshakes.
    pub(crate) async fn open(&self, count: usize) -> Result<(), Failure> {
        let have = {
            let mut idle = self.idle();
            idle.retain(|connection| !connection.is_closed());
            idle.len()
        };
        for _ in have..count {
            let mut connection = self.connect().await?;
            connection.ready().await.map_err(|error| Failure::from_hyper(&error))?;
            self.idle().push(connection);
        }
        Ok(())
    }

    /// Sends one call that was meant to leave at `intended`.
    pub(crate) async fn call(&self, call: &Call, intended: Instant) -> Attempt {
        let mut late = None;
        let exchange = self.exchange(call, intended, &mut late);
        let outcome = match tokio::time::timeout(self.shared.timeout, exchange).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(Failure::timeout(self.shared.timeout)),
        };
        Attempt { late, outcome }
    }

    async fn exchange(&self, call: &Call, intended: Instant, late: &mut Option<Duration>) -> Result<Reply, Failure> {
        let _permit = self
            .shared
            .permits
            .acquire()
            .await
            .expect("the semaphore is never closed");
        let mut request = call.request(&self.shared.host);
        let (mut connection, response) = loop {
            let (mut connection, kept) = match self.take_idle() {
                Some(connection) => (connection, true),
                None => (self.connect().await?, false),
            };
            *late = Some(intended.elapsed());
            match connection.try_send_request(request).await {
                Ok(response) => break (connection, response),
                Err(mut error) => match error.take_message() {
                    Some(unsent) if kept => request = unsent,
                    _ => return Err(Failure::from_hyper(&error.into_error())),
                },
            }
        };
        let (head, mut body) = response.into_parts();
        while let Some(frame) = body.frame().await {
            frame.map_err(|error| Failure::from_hyper(&error))?;
        }
        let latency = intended.elapsed();
        if connection.ready().await.is_ok() {
            self.idle().push(connection);
        }
        if head.status.as_u16() >= 400 {
            return Err(Failure::status(head.status));
        }
        let text = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
        Ok(Reply {
            start: Start::parse(text("x-fn-start")),
            instance: head.headers.get("x-fn-instance").cloned(),
            phases: text("server-timing").map(Phases::parse).unwrap_or_default(),
            latency,
        })
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Failure> {
        let stream = TcpStream::connect(self.shared.address)
            .await
            .map_err(|error| Failure::connect(&error))?;
        stream.set_nodelay(true).map_err(|error| Failure::connect(&error))?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| Failure::from_hyper(&error))?;
        // An error of the connection also reaches the call that is on it, and that one is counted.
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender)
    }

    fn take_idle(&self) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = self.idle();
        while let Some(connection) = idle.pop() {
            if !connection.is_closed() {
                return Some(connection);
            }
        }
        None
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<SendRequest<Full<Bytes>>>> {
        self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
