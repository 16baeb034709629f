//! HTTP/2 to a server inside a sandbox, with prior knowledge (RFC 9113 section 3.3): one connection for all calls that run at a time.
//!
//! ```text
//!   none --first call--> made --calls: a stream each--> idle --within a moment--> used again
//!                                                         \---- later -----------> closed, and another is made
//! ```
//!
//! The windows of all streams together fit into the connection's, so a caller who reads nothing of his reply holds up nobody else's.
//!
//! Cancel safety: dropping the future of a request, or the body of its reply, resets its stream and leaves the connection to the others.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use http::header::{CONNECTION, HOST, TE, UPGRADE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, Uri, Version};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::task::AbortHandle;

use super::heard::Heard;
use super::{FRESH, LinkError, MOST_HEAD, RequestBody};
use crate::driver::launcher::{Confined, Door};

/// Bytes of a reply that may wait in a stream.
const WINDOW: u32 = 256 * 1024;
/// Streams at a time: as many as a function's `concurrency` may be.
const MOST_STREAMS: u32 = 64;

/// The connection of an instance, and how it is made anew.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    current: Mutex<Option<Current>>,
    /// Held while a connection is made, so that calls that come together make one.
    making: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Current {
    connection: Arc<Connection>,
    /// When a call last began or ended.
    since: Instant,
}

#[derive(Debug)]
struct Connection {
    sender: SendRequest<RequestBody>,
    task: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The use of a connection by one call. Dropping it says that the call is over.
#[derive(Debug)]
pub(super) struct Used {
    shared: Arc<Shared>,
    connection: Arc<Connection>,
}

impl Drop for Used {
    fn drop(&mut self) {
        if let Some(current) = &mut *self.shared.current()
            && Arc::ptr_eq(&current.connection, &self.connection)
        {
            current.since = Instant::now();
        }
    }
}

impl Shared {
    fn current(&self) -> MutexGuard<'_, Option<Current>> {
        self.current.lock().expect("nothing panics under the lock")
    }

    /// No call begins on the connection any more; those that use it go on.
    pub(super) fn forget(&self) {
        *self.current() = None;
    }

    /// Sends a request and waits for the head of its reply. It goes out a second time only if nothing of it was sent.
    pub(super) async fn send(
        self: &Arc<Self>,
        body: &dyn Confined,
        door: &Door,
        request: Request<RequestBody>,
    ) -> Result<(Response<Incoming>, Used), LinkError> {
        let used = self.connection(body, door).await?;
        let mut sender = used.connection.sender.clone();
        let request = match sender.try_send_request(streamed(request)).await {
            Ok(response) => return Ok((response, used)),
            Err(mut failed) => match failed.take_message() {
                Some(unsent) => unsent,
                None => return Err(failed.into_error().into()),
            },
        };
        drop(used);
        self.forget();
        let used = self.connection(body, door).await?;
        let response = used.connection.sender.clone().send_request(request).await?;
        Ok((response, used))
    }

    async fn connection(self: &Arc<Self>, body: &dyn Confined, door: &Door) -> Result<Used, LinkError> {
        if let Some(used) = self.usable() {
            return Ok(used);
        }
        let _alone = self.making.lock().await;
        if let Some(used) = self.usable() {
            return Ok(used);
        }
        let connection = Arc::new(connect(body, door).await?);
        *self.current() = Some(Current {
            connection: connection.clone(),
            since: Instant::now(),
        });
        Ok(Used {
            shared: self.clone(),
            connection,
        })
    }

    /// The connection that is there, unless it is closed, or idle for so long that its server may be closing it.
    fn usable(self: &Arc<Self>) -> Option<Used> {
        let mut current = self.current();
        let there = current.as_mut()?;
        let busy = Arc::strong_count(&there.connection) > 1;
        if there.connection.sender.is_closed() || (!busy && there.since.elapsed() > FRESH) {
            *current = None;
            return None;
        }
        there.since = Instant::now();
        Some(Used {
            shared: self.clone(),
            connection: there.connection.clone(),
        })
    }
}

/// A request as HTTP/2 has it: who is asked stands in its target, and nothing in it is about a connection. `TE` says that trailers are welcome, which
/// servers of gRPC insist on.
fn streamed(mut request: Request<RequestBody>) -> Request<RequestBody> {
    let host = request.headers_mut().remove(HOST);
    let authority = host
        .and_then(|host| Authority::try_from(host.as_bytes()).ok())
        .unwrap_or(Authority::from_static("localhost"));
    let mut target = std::mem::take(request.uri_mut()).into_parts();
    target.scheme = Some(Scheme::HTTP);
    target.authority = Some(authority);
    target.path_and_query.get_or_insert(PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from_parts(target).unwrap_or_else(|_| Uri::from_static("http://localhost/"));
    *request.version_mut() = Version::HTTP_2;
    let headers = request.headers_mut();
    headers.remove(CONNECTION);
    headers.remove(UPGRADE);
    headers.insert(TE, HeaderValue::from_static("trailers"));
    request
}

async fn connect(body: &dyn Confined, door: &Door) -> Result<Connection, LinkError> {
    let stream = body.connect(door).await.map_err(LinkError::Connect)?;
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW * MOST_STREAMS)
        .max_send_buf_size(WINDOW as usize)
        .max_header_list_size(MOST_HEAD as u32)
        .handshake(TokioIo::new(Heard::new(stream)))
        .await?;
    let task = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to a server ended early");
        }
    });
    Ok(Connection {
        sender,
        task: task.abort_handle(),
    })
}

#[cfg(test)]
mod tests;
