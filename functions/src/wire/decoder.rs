//! From a stream of bytes, cut anywhere, to frames.

use std::marker::PhantomData;

use bytes::{Buf, BytesMut};

use super::error::WireError;
use super::frame::Frame;
use super::header::{HEADER_LEN, Header};

/// Collects bytes and hands out whole frames. BODY payloads are slices of the buffer, not copies.
///
/// A caller alternates between reading into [`Decoder::buffer`] and calling [`Decoder::next_frame`] until it answers
/// `None`. After an error every further call answers [`WireError::Broken`]: there is no way to find the next frame.
/// The buffer never has to hold more than one frame that is incomplete; how much more a caller reads at once is his
/// choice.
#[derive(Debug)]
pub struct Decoder<F> {
    buffer: BytesMut,
    /// The header of the frame whose payload is still coming, already taken out of the buffer.
    header: Option<Header>,
    broken: bool,
    _direction: PhantomData<fn() -> F>,
}

impl<F> Default for Decoder<F> {
    fn default() -> Self {
        Self {
            buffer: BytesMut::new(),
            header: None,
            broken: false,
            _direction: PhantomData,
        }
    }
}

impl<F: Frame> Decoder<F> {
    /// An empty decoder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Where bytes from the socket go: append only, for example with tokio's `read_buf`. At least [`HEADER_LEN`] and at
    /// most the missing part of the current frame is reserved beforehand, so that a read always makes progress.
    pub fn buffer(&mut self) -> &mut BytesMut {
        let missing = self
            .header
            .map_or(HEADER_LEN, |header| header.payload_len())
            .saturating_sub(self.buffer.len());
        self.buffer.reserve(missing.max(HEADER_LEN));
        &mut self.buffer
    }

    /// The next whole frame with its sequence number, or `None` when more bytes are needed.
    ///
    /// # Errors
    /// Whatever is wrong with the header or the payload, once; then [`WireError::Broken`].
    pub fn next_frame(&mut self) -> Result<Option<(u32, F)>, WireError> {
        if self.broken {
            return Err(WireError::Broken);
        }
        let next = self.take_frame();
        self.broken = next.is_err();
        next
    }

    fn take_frame(&mut self) -> Result<Option<(u32, F)>, WireError> {
        let header = match self.header {
            Some(header) => header,
            None => {
                let Some(bytes) = self.buffer.first_chunk::<HEADER_LEN>() else {
                    return Ok(None);
                };
                let header = Header::decode(bytes)?;
                self.buffer.advance(HEADER_LEN);
                *self.header.insert(header)
            }
        };
        if self.buffer.len() < header.payload_len() {
            return Ok(None);
        }
        self.header = None;
        let payload = self.buffer.split_to(header.payload_len()).freeze();
        F::decode(header.kind(), payload).map(|frame| Some((header.seq(), frame)))
    }

    /// Called when the stream has ended.
    ///
    /// # Errors
    /// [`WireError::Truncated`] when it ended inside a frame.
    pub fn finish(&self) -> Result<(), WireError> {
        match self.buffer.len() + self.header.map_or(0, |_| HEADER_LEN) {
            0 => Ok(()),
            left => Err(WireError::Truncated(left)),
        }
    }

    /// Whether bytes are waiting that are not part of a frame handed out. A lane is given back only when this is false.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty() && self.header.is_none()
    }
}
