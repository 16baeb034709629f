//! A socket whose peer may not stop to read for ever.
//!
//! A reply of megabytes waits in memory until its caller has taken it, and the deadline of its request can't end that: it is over once the
//! function has answered. So whoever takes not one byte for a while loses the connection, and with it what waited.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// See the module's head. Costs nothing while the peer reads.
#[derive(Debug)]
pub(super) struct Patient<I> {
    io: I,
    most: Option<Duration>,
    /// Runs while a write waits for the peer.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<I> Patient<I> {
    /// Gives the peer `most` for each write to make progress; `None` gives it all the time.
    pub(super) fn new(io: I, most: Option<Duration>) -> Self {
        Self {
            io,
            most,
            stalled: None,
        }
    }

    fn judge<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        let Some(most) = self.most else { return written };
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(most)));
        stalled.as_mut().poll(context).map(|()| {
            let text = "the peer reads nothing of the reply";
            Err(io::Error::new(io::ErrorKind::TimedOut, text))
        })
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Patient<I> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buf)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Patient<I> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(context, buf);
        self.judge(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(context, bufs);
        self.judge(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(context);
        self.judge(context, flushed)
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
    async fn a_peer_that_reads_nothing_is_given_up() {
        let (near, _far) = duplex(8);
        let mut near = Patient::new(near, Some(Duration::from_millis(20)));
        let error = near.write_all(b"more than fits").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_peer_that_reads_gets_everything() {
        let (near, mut far) = duplex(8);
        let mut near = Patient::new(near, Some(Duration::from_secs(3600)));
        let mut all = Vec::new();
        let (written, read) = tokio::join!(
            async move {
                near.write_all(&[7; 4096]).await?;
                near.shutdown().await
            },
            far.read_to_end(&mut all)
        );
        written.unwrap();
        assert_eq!(read.unwrap(), 4096);
    }
}
