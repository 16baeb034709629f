//! HTTP as no ordinary client speaks it: bytes over a connection.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::Reply;

/// One connection.
#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
}

impl Raw {
    /// Connects to `127.0.0.1:PORT`.
    pub async fn connect(address: &str) -> Self {
        Self {
            stream: TcpStream::connect(address)
                .await
                .expect("the server accepts connections"),
        }
    }

    /// Sends bytes. A server that has seen enough may have closed its side; what it said is still to be read.
    pub async fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    /// Reads until these bytes have come.
    pub async fn wait_for(&mut self, bytes: &[u8]) {
        let mut seen = Vec::new();
        while !seen.windows(bytes.len()).any(|window| window == bytes) {
            let count = self.stream.read_buf(&mut seen).await.expect("the server talks on");
            assert!(count > 0, "only: {}", String::from_utf8_lossy(&seen));
        }
    }

    /// Reads one reply to the end of the connection or of its declared length.
    pub async fn reply(mut self) -> Reply {
        let mut bytes = Vec::new();
        let mut chunk = [0; 16 * 1024];
        loop {
            if let Some(reply) = parse(&bytes, false) {
                return reply;
            }
            match self.stream.read(&mut chunk).await {
                Ok(count) if count > 0 => bytes.extend_from_slice(&chunk[..count]),
                _ => break,
            }
        }
        parse(&bytes, true).unwrap_or_else(|| panic!("no reply, only: {}", String::from_utf8_lossy(&bytes)))
    }
}

/// Sends a whole request and reads its reply.
pub async fn exchange(address: &str, request: &[u8]) -> Reply {
    let mut raw = Raw::connect(address).await;
    raw.send(request).await;
    raw.reply().await
}

/// `None` while the reply is not whole. At the end of the connection what is there of the body is all of it.
fn parse(bytes: &[u8], ended: bool) -> Option<Reply> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]);
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let mut headers = reqwest::header::HeaderMap::new();
    for (key, value) in lines.filter_map(|line| line.split_once(':')) {
        let key = reqwest::header::HeaderName::from_bytes(key.as_bytes()).ok()?;
        headers.append(key, value.trim().parse().ok()?);
    }
    let body = bytes[end + 4..].to_vec();
    let declared = headers
        .get("content-length")
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let whole = ended || declared.is_some_and(|declared| body.len() >= declared);
    whole.then_some(Reply { status, headers, body })
}
