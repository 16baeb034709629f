//! A client that sends any bytes, and a server on a port of its own.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use gateway::server::{Arrival, ConnectionLimits, Drain, Framing, Listener, serve};
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest that a test waits for anything. Only a failing test ever waits this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A server whose answer to everything is a fixed service. Dropping it cuts its connections.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) drain: Drain,
}

impl Server {
    /// Starts one that answers with the method, the path, the body and how clear the framing was.
    pub(crate) fn echo(limits: ConnectionLimits) -> Self {
        let listener = Listener::tcp(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.address().unwrap();
        let drain = Drain::new();
        tokio::spawn(serve(listener, limits, drain.clone(), echo));
        Self { address, drain }
    }

    /// Sends bytes on a connection of their own and reads until the server closes it.
    pub(crate) async fn exchange(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut stream = self.connect().await;
        // A server that has said no already may have closed its side.
        let _ = stream.write_all(bytes.as_ref()).await;
        read_to_end(&mut stream).await
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.drain.cut();
    }
}

/// Everything that comes until the other side closes.
pub(crate) async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut all))
        .await
        .expect("the server closes")
        .unwrap();
    String::from_utf8_lossy(&all).into_owned()
}

/// Reads until the text has come.
pub(crate) async fn read_until(stream: &mut TcpStream, text: &str) -> String {
    let mut all = Vec::new();
    let read = async {
        while !String::from_utf8_lossy(&all).contains(text) {
            let mut piece = [0; 4096];
            match stream.read(&mut piece).await.unwrap() {
                0 => panic!("closed before {text:?} came: {}", String::from_utf8_lossy(&all)),
                n => all.extend_from_slice(&piece[..n]),
            }
        }
    };
    tokio::time::timeout(PATIENCE, read)
        .await
        .unwrap_or_else(|_| panic!("{text:?} never came"));
    String::from_utf8_lossy(&all).into_owned()
}

/// The status line's code.
#[track_caller]
pub(crate) fn status(reply: &str) -> u16 {
    reply
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap_or_else(|| panic!("no status in {reply:?}"))
}

/// Checks that a reply is an error document with this status and code.
#[track_caller]
pub(crate) fn refused(reply: &str, expected: u16, code: &str) {
    assert_eq!(status(reply), expected, "{reply}");
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    let head = head.to_ascii_lowercase();
    assert!(head.contains("content-type: application/json"), "{reply}");
    assert!(head.contains("x-fn-request-id: "), "{reply}");
    let document: serde_json::Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error} in {reply}"));
    assert_eq!(document["error"]["code"], code, "{reply}");
    assert!(
        document["error"]["request_id"]
            .as_str()
            .is_some_and(|id| id.len() == 36),
        "{reply}"
    );
}

async fn echo(arrival: Arrival, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let (head, body) = request.into_parts();
    if head.uri.path() == "/wait" {
        std::future::pending::<()>().await;
    }
    let framing = if arrival.framing == Framing::Ambiguous {
        "ambiguous"
    } else {
        "clear"
    };
    if head.uri.path() == "/early" {
        return Ok(Response::new(Body::from(format!("early {framing}"))));
    }
    if head.uri.path() == "/broken" {
        let pieces = [Ok("all that "), Ok("was said"), Err(std::io::Error::other("it broke"))];
        return Ok(Response::new(Body::from_stream(futures_util::stream::iter(pieces))));
    }
    let body = match body.collect().await {
        Ok(body) => String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        Err(_) => "broken".to_owned(),
    };
    Ok(Response::new(Body::from(format!(
        "{} {} {framing} [{body}]",
        head.method,
        head.uri.path()
    ))))
}
