//! The one thing asked of the admin API: evict every instance of a function, and what waits ahead of it.
//!
//! Each request opens its own connection: evictions are never part of a measured time.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

/// The server answers only when everything is gone, so it may take a while.
const TIMEOUT: Duration = Duration::from_secs(60);
const LONGEST_REPLY: usize = 1 << 20;

/// The admin socket of a server.
#[derive(Debug, Clone)]
pub(crate) struct Admin {
    socket: PathBuf,
}

/// Why an eviction failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdminError {
    /// The socket does not answer.
    #[error("the admin socket {} does not answer: {source}; is `fn serve` running, and is this its --admin-socket?", socket.display())]
    Connect {
        /// Its path.
        socket: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// The exchange broke.
    #[error("the admin socket broke off: {0}")]
    Http(#[from] hyper::Error),
    /// The reply is too long or broke off.
    #[error("the reply of the admin API can't be read: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    /// The server refused.
    #[error("the server refused to evict: {status}: {body}")]
    Status {
        /// What it answered.
        status: StatusCode,
        /// The start of the reply.
        body: String,
    },
    /// No answer in time.
    #[error("the eviction took more than {TIMEOUT:?}")]
    Timeout,
}

impl Admin {
    /// Connects to nothing yet.
    pub(crate) fn new(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
        }
    }

    /// Returns when no process of `function` is left, neither used nor waiting.
    pub(crate) async fn evict_all(&self, function: &str) -> Result<(), AdminError> {
        tokio::time::timeout(TIMEOUT, self.post(&format!("/v1/functions/{function}/evict?all=true")))
            .await
            .map_err(|_elapsed| AdminError::Timeout)?
    }

    async fn post(&self, path: &str) -> Result<(), AdminError> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|source| AdminError::Connect {
                socket: self.socket.clone(),
                source,
            })?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move { drop(connection.await) });
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = path.parse().expect("a function name is safe in a path");
        request
            .headers_mut()
            .insert(HOST, http::HeaderValue::from_static("localhost"));
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), LONGEST_REPLY)
            .collect()
            .await
            .map_err(AdminError::Body)?;
        if status.is_success() {
            return Ok(());
        }
        let body = String::from_utf8_lossy(&body.to_bytes()).chars().take(300).collect();
        Err(AdminError::Status { status, body })
    }
}
