//! A server of the test's own, to which the platform sends something: it notes each request and answers as it was told.

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// How many requests may wait for the test to look at them.
const WAITING: usize = 64;

/// One that listens until it is dropped.
#[derive(Debug)]
pub struct Listener {
    address: String,
    seen: mpsc::Receiver<Seen>,
    task: tokio::task::JoinHandle<()>,
}

/// A request that came.
#[derive(Debug)]
pub struct Seen {
    /// `POST /path HTTP/1.1`.
    pub line: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
}

impl Seen {
    /// A header's value, empty without one.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}

impl Listener {
    /// Answers with these statuses, one request after the other, and with the last of them for good.
    pub async fn start(statuses: &'static [u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound").to_string();
        let (tell, seen) = mpsc::channel(WAITING);
        let task = tokio::spawn(async move {
            let mut answered = 0;
            while let Ok((stream, _)) = listener.accept().await {
                let status = statuses[answered.min(statuses.len() - 1)];
                answered += 1;
                let Some(request) = serve(stream, status).await else {
                    continue;
                };
                if tell.send(request).await.is_err() {
                    return;
                }
            }
        });
        Self { address, seen, task }
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The next request. A test without one fails by its own deadline.
    pub async fn next(&mut self) -> Seen {
        let waited = tokio::time::timeout(crate::poll::patience(), self.seen.recv()).await;
        waited.expect("a request comes in time").expect("the task lives")
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads one request and answers. A body without a declared length is not understood.
async fn serve(mut stream: TcpStream, status: u16) -> Option<Seen> {
    let mut bytes = Vec::new();
    let (end, headers, line, length) = loop {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.split("\r\n");
        let line = lines.next()?.to_owned();
        let mut headers = HeaderMap::new();
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).ok()?,
                HeaderValue::from_str(value.trim()).ok()?,
            );
        }
        // Without a length there is no body.
        let length = headers
            .get("content-length")
            .and_then(|length| length.to_str().ok()?.parse().ok());
        let length: usize = length.unwrap_or_default();
        break (end, headers, line, length);
    };
    while bytes.len() < end + 4 + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let answer = format!(
        "HTTP/1.1 {status} x\r\nlocation: http://127.0.0.1:9/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).await.ok()?;
    Some(Seen {
        line,
        headers,
        body: bytes.split_off(end + 4),
    })
}
