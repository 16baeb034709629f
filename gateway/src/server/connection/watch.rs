//! The socket of a connection as hyper sees it.
//!
//! ```text
//!            service called             body of the reply dropped            flushed
//! waiting ------------------> serving --------------------------> replied ----------> waiting
//!    |
//!    +-- a write while waiting is hyper refusing a head: it is replaced by a reply with a JSON body
//! ```
//!
//! While waiting, the bytes that come in are a request's head, and its lines are looked at. A head that came in together with the request before it
//! (pipelining) is not seen; hyper then lets Transfer-Encoding win and closes the connection after the reply, as RFC 9112 section 6.3 asks.
//!
//! A reply that breaks off is held at its last byte until that is written: hyper drops the connection, and all that waits in it, as soon as it hears of
//! the break.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http::StatusCode;
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::bare_reply;
use super::waiting::Waiting;
use crate::outcome::Code;
use crate::server::{ConnectionLimits, Framing};

const WAITING: u8 = 0;
const SERVING: u8 = 1;
const REPLIED: u8 = 2;

/// What the socket and the service of one connection tell each other.
#[derive(Debug, Default)]
pub(super) struct Watch {
    phase: AtomicU8,
    ambiguous: AtomicBool,
    /// hyper holds something of a reply that it has not written.
    unwritten: AtomicBool,
    /// A reply that waits for that to be written.
    broken: AtomicWaker,
}

impl Watch {
    /// A request begins; says what its head looked like.
    pub(super) fn begin(&self) -> Framing {
        self.phase.store(SERVING, Ordering::Release);
        if self.ambiguous.swap(false, Ordering::AcqRel) {
            Framing::Ambiguous
        } else {
            Framing::Clear
        }
    }

    fn is(&self, phase: u8) -> bool {
        self.phase.load(Ordering::Acquire) == phase
    }
}

/// A socket that is watched.
#[derive(Debug)]
pub(super) struct Watched<I> {
    io: I,
    watch: Arc<Watch>,
    scan: HeadScan,
    waiting: Waiting,
    refusal: Refusal,
}

/// Our reply in place of hyper's.
#[derive(Debug, Default)]
struct Refusal {
    made: bool,
    bytes: Vec<u8>,
    written: usize,
}

impl<I> Watched<I> {
    /// Watches a socket; the second value is for the service.
    pub(super) fn new(io: I, limits: &ConnectionLimits) -> (Self, Arc<Watch>) {
        let watch = Arc::new(Watch::default());
        (
            Self {
                io,
                watch: watch.clone(),
                scan: HeadScan::default(),
                waiting: Waiting::new(limits),
                refusal: Refusal::default(),
            },
            watch,
        )
    }

    /// Whether nothing of a next request has come.
    pub(super) fn is_idle(&self) -> bool {
        self.watch.is(WAITING) && !self.scan.has_begun()
    }

    /// Whether reading failed because the peer took too long.
    pub(super) fn is_late(&self) -> bool {
        self.waiting.is_over()
    }

    /// Says that a head took too long, if one has begun. Written by the next flush or shutdown.
    pub(super) fn refuse_late_head(&mut self) {
        if self.watch.is(WAITING) && !self.is_idle() && !self.scan.done && !self.refusal.made {
            self.refusal.made = true;
            let text = "the request's head did not arrive in time";
            self.refusal.bytes = bare_reply(StatusCode::REQUEST_TIMEOUT, Code::RequestTimeout, text);
        }
    }

    /// Takes note of hyper's own reply, and says that it was written.
    fn refuse(&mut self, theirs: &[u8]) -> usize {
        if !self.refusal.made {
            self.refusal.made = true;
            let status = theirs
                .get(9..12)
                .and_then(|code| StatusCode::from_bytes(code).ok())
                .unwrap_or(StatusCode::BAD_REQUEST);
            let (code, text) = match status {
                StatusCode::URI_TOO_LONG => (Code::TargetTooLong, "the request target is over the limit"),
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => (
                    Code::HeadersTooLarge,
                    "the request has too many headers, or too many bytes of them",
                ),
                _ => (Code::BadRequest, "the request's head is malformed"),
            };
            self.refusal.bytes = bare_reply(status, code, text);
        }
        theirs.len()
    }
}

impl<I: AsyncWrite + Unpin> Watched<I> {
    fn poll_refusal(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.refusal.written < self.refusal.bytes.len() {
            let rest = &self.refusal.bytes[self.refusal.written..];
            match ready!(Pin::new(&mut self.io).poll_write(context, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => self.refusal.written += n,
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Watched<I> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.io).poll_read(context, buf);
        if read.is_pending() && self.watch.is(WAITING) {
            let begun = self.scan.has_begun();
            return self.waiting.poll(begun, context).map(Err);
        }
        ready!(read)?;
        if self.watch.is(WAITING) && self.scan.see(&buf.filled()[before..]) == Framing::Ambiguous {
            self.watch.ambiguous.store(true, Ordering::Release);
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Watched<I> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.watch.is(WAITING) && buf.starts_with(b"HTTP/1.") {
            return Poll::Ready(Ok(self.refuse(buf)));
        }
        Pin::new(&mut self.io).poll_write(context, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.watch.is(WAITING)
            && let Some(first) = bufs.iter().find(|buf| !buf.is_empty())
            && first.starts_with(b"HTTP/1.")
        {
            return Poll::Ready(Ok(self.refuse(first)));
        }
        Pin::new(&mut self.io).poll_write_vectored(context, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_refusal(context))?;
        ready!(Pin::new(&mut self.io).poll_flush(context))?;
        // hyper flushes the socket only after it has written all that it holds, so the reply is out.
        self.watch.unwritten.store(false, Ordering::Release);
        self.watch.broken.wake();
        if self
            .watch
            .phase
            .compare_exchange(REPLIED, WAITING, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
        {
            self.scan = HeadScan::default();
            self.waiting.replied();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_refusal(context))?;
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

/// The body of a reply; when hyper is done with it, so is the request.
#[derive(Debug)]
pub(super) struct Tracked {
    body: Body,
    watch: Arc<Watch>,
    /// How it broke off, until that may be told.
    broken: Option<axum::Error>,
}

impl Tracked {
    pub(super) fn new(body: Body, watch: Arc<Watch>) -> Self {
        watch.unwritten.store(true, Ordering::Release);
        Self {
            body,
            watch,
            broken: None,
        }
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.watch.phase.store(REPLIED, Ordering::Release);
    }
}

impl http_body::Body for Tracked {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.broken.is_none() {
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Err(error)) => self.broken = Some(error),
                other => {
                    self.watch.unwritten.store(true, Ordering::Release);
                    return Poll::Ready(other);
                }
            }
        }
        self.watch.broken.register(context.waker());
        if self.watch.unwritten.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        Poll::Ready(self.broken.take().map(Err))
    }

    fn is_end_stream(&self) -> bool {
        self.broken.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Looks at the lines of a head as they come in, in pieces of any size.
#[derive(Debug, Default)]
struct HeadScan {
    /// The first bytes of the line that is coming in, in lower case: enough for the longer of the two names and its colon.
    start: [u8; 18],
    length: usize,
    begun: bool,
    done: bool,
    content_length: bool,
    transfer_encoding: bool,
}

impl HeadScan {
    /// Whether a byte of a head has come.
    fn has_begun(&self) -> bool {
        self.begun || self.length > 0
    }

    /// Takes in a piece. `Ambiguous` once, when the head ends and had both headers.
    fn see(&mut self, piece: &[u8]) -> Framing {
        for &byte in piece {
            if self.done {
                break;
            }
            if byte != b'\n' {
                if let Some(place) = self.start.get_mut(self.length) {
                    *place = byte.to_ascii_lowercase();
                }
                self.length += 1;
                continue;
            }
            let line = &self.start[..self.length.min(self.start.len())];
            let empty = line.is_empty() || (self.length == 1 && line == b"\r");
            self.content_length |= line.starts_with(b"content-length:");
            self.transfer_encoding |= line.starts_with(b"transfer-encoding:");
            self.length = 0;
            // Empty lines before a request are allowed (RFC 9112 section 2.2); after one they end the head.
            self.done = empty && self.begun;
            self.begun |= !empty;
            if self.done && self.content_length && self.transfer_encoding {
                return Framing::Ambiguous;
            }
        }
        Framing::Clear
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scan(head: &str, cut: usize) -> Framing {
        let mut scan = HeadScan::default();
        let (first, second) = head.as_bytes().split_at(cut.min(head.len()));
        match scan.see(first) {
            Framing::Ambiguous => Framing::Ambiguous,
            Framing::Clear => scan.see(second),
        }
    }

    proptest! {
        #[test]
        fn both_headers_are_seen_wherever_the_head_is_cut(cut in 0usize..120, order: bool, bare: bool) {
            let (a, b) = ("Content-Length: 3", "TRANSFER-encoding:chunked");
            let (a, b) = if order { (a, b) } else { (b, a) };
            let head = format!("\r\nPOST / HTTP/1.1\r\nHost: x\r\n{a}\r\nX: y\r\n{b}\r\n\r\nabc");
            let head = if bare { head.replace('\r', "") } else { head };
            prop_assert_eq!(scan(&head, cut), Framing::Ambiguous);
        }

        #[test]
        fn one_header_is_clear(cut in 0usize..120) {
            let head = "POST / HTTP/1.1\r\nContent-Length: 40\r\nX-Transfer-Encoding: a\r\n\r\nTransfer-Encoding: chunked\r\n\r\n";
            prop_assert_eq!(scan(head, cut), Framing::Clear);
        }
    }
}
