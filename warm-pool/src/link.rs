//! HTTP to a server inside a sandbox: one kept-alive connection for each invocation that runs at a time, or, where the server speaks HTTP/2, a stream
//! for each on one connection, see [`shared`].
//!
//! ```text
//!           begin()           finish(), the connection is kept
//!   clean ----------> open ------------------------------------> clean
//!                       '---- abandon(), it is closed ---------> clean         (of HTTP/2, the stream is)
//! ```
//!
//! A connection that was idle for more than a moment is not used again: servers close theirs after a few seconds, and a request that
//! meets the close on its way is lost. One that is found closed is replaced, and a request goes out a second time only if nothing of it
//! was sent.
//!
//! Cancel safety: a link whose exchange is dropped in the middle closes its connection with the next call of any method, at the latest when
//! it is dropped; the server sees its caller leave.

mod heard;
pub(crate) mod shared;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderValue, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::task::AbortHandle;

use self::heard::Heard;
use self::shared::{Shared, Used};
use crate::driver::launcher::{Confined, Door};

/// The body of a request on its way in.
pub type RequestBody = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// How long a connection may have been idle to be used again: less than any server in use waits.
const FRESH: Duration = Duration::from_secs(1);
/// How long the rest of the last exchange may take to leave a connection: it is over, but its task may not have been told.
const SETTLING: Duration = Duration::from_millis(50);
/// Most bytes of a reply's head.
const MOST_HEAD: usize = 64 * 1024;
/// Most lines of it: above what a reply may have, so that whoever checks that decides.
const MOST_LINES: usize = 256;

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// Nobody accepts connections.
    #[error("the server can't be connected to")]
    Connect(#[source] io::Error),
    /// What it sent is no HTTP reply, or its head is too large.
    #[error("the server's reply is not HTTP, or its head is too large")]
    Malformed(#[source] hyper::Error),
    /// It closed the connection, or the request's body broke off.
    #[error("the connection to the server broke")]
    Broken(#[source] hyper::Error),
}

impl From<hyper::Error> for LinkError {
    fn from(error: hyper::Error) -> LinkError {
        match error.is_parse() || error.is_parse_too_large() || error.is_parse_status() {
            true => LinkError::Malformed(error),
            false => LinkError::Broken(error),
        }
    }
}

/// See the module's head.
#[derive(Debug)]
pub struct Link {
    door: Door,
    way: Way,
    open: bool,
}

/// How its requests go.
#[derive(Debug)]
enum Way {
    /// HTTP/1.1, over a connection of its own.
    Own {
        idle: Option<(Connection, Instant)>,
        busy: Option<Connection>,
    },
    /// HTTP/2, over the connection of all links of the instance.
    Shared { all: Arc<Shared>, busy: Option<Used> },
}

#[derive(Debug)]
struct Connection {
    sender: SendRequest<RequestBody>,
    task: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        // A connection in the middle of an exchange would otherwise stay until the server has answered.
        self.task.abort();
    }
}

impl Link {
    /// One that speaks HTTP/1.1.
    pub(crate) fn new(door: Door) -> Link {
        let way = Way::Own { idle: None, busy: None };
        Link { door, way, open: false }
    }

    /// One that speaks HTTP/2 over what it shares with others.
    pub(crate) fn sharing(door: Door, all: Arc<Shared>) -> Link {
        let way = Way::Shared { all, busy: None };
        Link { door, way, open: false }
    }

    /// Where its server is found.
    pub(crate) fn door(&self) -> &Door {
        &self.door
    }

    pub(crate) fn begin(&mut self) {
        self.open = true;
    }

    pub(crate) fn is_clean(&self) -> bool {
        !self.open
    }

    /// Closes the idle connection: its server stood still, and may be about to close it.
    pub(crate) fn forget(&mut self) {
        match &mut self.way {
            Way::Own { idle, .. } => *idle = None,
            Way::Shared { all, .. } => all.forget(),
        }
    }

    /// Sends a request, over the connection that is there or a new one, and waits for the head of its reply.
    pub(crate) async fn send(
        &mut self,
        body: &dyn Confined,
        mut request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, LinkError> {
        let (idle, busy) = match &mut self.way {
            Way::Own { idle, busy } => (idle, busy),
            Way::Shared { all, busy } => {
                *busy = None;
                let (response, used) = all.send(body, &self.door, request).await?;
                *busy = Some(used);
                return Ok(response);
            }
        };
        *busy = None;
        let unknown = request.body().size_hint().exact().is_none();
        if unknown && !request.headers().contains_key(CONTENT_LENGTH) {
            // hyper takes a GET whose length is not told for one without a body, and would send none.
            let chunked = HeaderValue::from_static("chunked");
            request.headers_mut().insert(TRANSFER_ENCODING, chunked);
        }
        if let Some(mut connection) = kept(idle).await {
            match connection.sender.try_send_request(request).await {
                Ok(response) => {
                    *busy = Some(connection);
                    return Ok(response);
                }
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(failed.into_error().into()),
                },
            }
        }
        let mut connection = connect(body, &self.door).await?;
        let response = connection.sender.send_request(request).await?;
        *busy = Some(connection);
        Ok(response)
    }

    /// The exchange is over, and its reply was read to the end.
    pub(crate) fn finish(&mut self) {
        match &mut self.way {
            Way::Own { idle, busy } => *idle = busy.take().map(|connection| (connection, Instant::now())),
            Way::Shared { busy, .. } => *busy = None,
        }
        self.open = false;
    }

    /// Closes the connection, whatever is on its way. One that others use stays: whoever drops a reply ends its stream.
    pub(crate) fn abandon(&mut self) {
        match &mut self.way {
            Way::Own { idle, busy } => (*idle, *busy) = (None, None),
            Way::Shared { busy, .. } => *busy = None,
        }
        self.open = false;
    }
}

/// The connection of the last exchange, if it may be used again.
async fn kept(idle: &mut Option<(Connection, Instant)>) -> Option<Connection> {
    let (mut connection, since) = idle.take()?;
    if since.elapsed() > FRESH || connection.sender.is_closed() {
        return None;
    }
    match tokio::time::timeout(SETTLING, connection.sender.ready()).await {
        Ok(Ok(())) => Some(connection),
        Ok(Err(_)) | Err(_) => None,
    }
}

async fn connect(body: &dyn Confined, door: &Door) -> Result<Connection, LinkError> {
    let stream = body.connect(door).await.map_err(LinkError::Connect)?;
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(MOST_HEAD)
        .max_headers(MOST_LINES)
        .handshake(TokioIo::new(Heard::new(stream)))
        .await?;
    // It ends with its server, with an upgrade, or with the drop of what is returned here.
    let task = tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a connection to a server ended early");
        }
    });
    Ok(Connection {
        sender,
        task: task.abort_handle(),
    })
}
