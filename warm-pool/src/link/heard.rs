//! A connection to a server that may stop to listen before it has spoken.
//!
//! A server that refuses a body answers before it has read it, and closes: what is still written to it fails, while its answer lies there to be
//! read. hyper gives a connection up when a write fails, and the answer with it. So a write that fails is taken for one that nobody reads, and the
//! reading side alone says how the exchange ends: with an answer, or with the end of the connection. After that end writes fail as they do, which ends
//! a tunnel.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// See the module's head.
#[derive(Debug)]
pub(super) struct Heard<I> {
    io: I,
    /// Whether a write has failed.
    deaf: bool,
    /// Whether all was read.
    ended: bool,
}

impl<I> Heard<I> {
    pub(super) fn new(io: I) -> Self {
        Self {
            io,
            deaf: false,
            ended: false,
        }
    }

    /// Writes `bytes` with `write`, or throws them away.
    fn try_write(
        &mut self,
        bytes: usize,
        write: impl FnOnce(Pin<&mut I>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>>
    where
        I: Unpin,
    {
        match (self.deaf, self.ended) {
            (true, true) => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            (true, false) => return Poll::Ready(Ok(bytes)),
            (false, _) => {}
        }
        match write(Pin::new(&mut self.io)) {
            Poll::Ready(Err(error)) if !self.ended => {
                tracing::debug!(%error, "a server has stopped to listen");
                self.deaf = true;
                Poll::Ready(Ok(bytes))
            }
            other => other,
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Heard<I> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.io).poll_read(context, buf);
        if let Poll::Ready(read) = &read {
            self.ended |= read.is_err() || (buf.filled().len() == before && buf.remaining() > 0);
        }
        read
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Heard<I> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.try_write(buf.len(), |io| io.poll_write(context, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes = bufs.iter().map(|buf| buf.len()).sum();
        self.try_write(bytes, |io| io.poll_write_vectored(context, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.try_write(0, |io| io.poll_flush(context).map_ok(|()| 0))
            .map_ok(drop)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn writes_fail_only_when_all_was_read() {
        let (near, mut far) = duplex(64);
        let mut near = Heard::new(near);
        near.write_all(b"read").await.unwrap();
        far.write_all(b"answer").await.unwrap();
        drop(far);
        near.write_all(&[0; 1000]).await.unwrap();
        near.flush().await.unwrap();
        let mut answer = String::new();
        near.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "answer");
        assert_eq!(
            near.write_all(b"x").await.unwrap_err().kind(),
            io::ErrorKind::BrokenPipe
        );
        assert_eq!(near.flush().await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
