//! Frames on their way out: headers and payloads as they were given, written together, never copied.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use functions::wire::{HEADER_LEN, Header, Kind, WireError};
use tokio::io::AsyncWrite;
use tokio::net::UnixStream;

use super::LaneError;

/// Frames that one write takes.
const BATCH: usize = 8;

#[derive(Debug)]
struct Chunk {
    header: [u8; HEADER_LEN],
    /// Bytes of the header already written.
    header_sent: usize,
    payload: Bytes,
}

impl Chunk {
    fn len(&self) -> usize {
        HEADER_LEN - self.header_sent + self.payload.len()
    }
}

/// A queue of frames, written in order. A write that was cut in the middle goes on where it stopped.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    chunks: VecDeque<Chunk>,
    len: usize,
    given_up: bool,
}

impl Outgoing {
    pub(super) fn push(&mut self, kind: Kind, seq: u32, payload: Bytes) -> Result<(), WireError> {
        let header = Header::new(kind, seq, payload.len())?.encode();
        if !self.given_up {
            let chunk = Chunk {
                header,
                header_sent: 0,
                payload,
            };
            self.len += chunk.len();
            self.chunks.push_back(chunk);
        }
        Ok(())
    }

    /// Bytes left to write.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether everything pushed was written.
    pub(super) fn is_settled(&self) -> bool {
        self.is_empty() && !self.given_up
    }

    /// Nobody reads any more: what is queued, and what will be, is thrown away.
    pub(super) fn give_up(&mut self) {
        self.chunks.clear();
        self.len = 0;
        self.given_up = true;
    }

    pub(super) fn poll_write(&mut self, socket: &mut UnixStream, cx: &mut Context<'_>) -> Poll<Result<(), LaneError>> {
        if self.given_up {
            return Poll::Ready(Err(LaneError::Closed));
        }
        while self.len > 0 {
            let mut slices = [IoSlice::new(&[]); 2 * BATCH];
            let mut used = 0;
            for chunk in self.chunks.iter().take(BATCH) {
                slices[used] = IoSlice::new(&chunk.header[chunk.header_sent..]);
                slices[used + 1] = IoSlice::new(&chunk.payload);
                used += 2;
            }
            let written = ready!(Pin::new(&mut *socket).poll_write_vectored(cx, &slices[..used]))?;
            if written == 0 {
                return Poll::Ready(Err(LaneError::Closed));
            }
            self.written(written);
        }
        Poll::Ready(Ok(()))
    }

    fn written(&mut self, mut count: usize) {
        self.len -= count;
        while let Some(chunk) = self.chunks.front_mut() {
            let header = count.min(HEADER_LEN - chunk.header_sent);
            chunk.header_sent += header;
            let payload = (count - header).min(chunk.payload.len());
            chunk.payload.advance(payload);
            count -= header + payload;
            if chunk.len() > 0 {
                return;
            }
            self.chunks.pop_front();
        }
    }
}
