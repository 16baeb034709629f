//! One request on a connection of its own, for what is asked beside the load: evictions, deploys and counters.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::client::Target;

const LONGEST_REPLY: usize = 64 << 20;

/// Why there is no whole reply.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OnceError {
    /// There is no connection.
    #[error("no connection: {0}")]
    Connect(#[from] std::io::Error),
    /// The exchange broke.
    #[error("the connection broke off: {0}")]
    Http(#[from] hyper::Error),
    /// The reply is too long or broke off.
    #[error("the reply can't be read: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
}

/// What is sent: nothing, or bytes of a type.
pub(crate) type Payload = Option<(&'static str, Bytes)>;

/// Sends one request and returns the whole reply, whatever its status.
pub(crate) async fn exchange<S>(
    stream: S,
    method: Method,
    uri: Uri,
    host: HeaderValue,
    payload: Payload,
) -> Result<(StatusCode, Bytes), OnceError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Its error also reaches the request.
    tokio::spawn(async move { drop(connection.await) });
    let (kind, body) = payload.unzip();
    let mut request = Request::new(Full::new(body.unwrap_or_default()));
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    request.headers_mut().insert(HOST, host);
    if let Some(kind) = kind {
        request
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), LONGEST_REPLY)
        .collect()
        .await
        .map_err(OnceError::Body)?;
    Ok((status, body.to_bytes()))
}

/// What is at a path of a server.
pub(crate) async fn get(target: &Target, path: &str) -> Result<(StatusCode, Bytes), OnceError> {
    let stream = TcpStream::connect(target.authority()).await?;
    exchange(stream, Method::GET, target.path(path), target.host_header(), None).await
}
