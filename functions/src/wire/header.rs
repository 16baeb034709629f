//! The twelve bytes in front of every payload.

use super::error::WireError;

/// Length of a frame header in bytes.
pub const HEADER_LEN: usize = 12;

/// Longest payload of one frame: 1 MiB. Longer bodies travel as several BODY frames.
pub const MAX_PAYLOAD: usize = 1 << 20;

/// What a frame is. The high bit is set on everything that an instance sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Host: an invocation begins.
    Invoke = 0x01,
    /// Host: a piece of the event (handlers) or of the request body (stdio).
    RequestBody = 0x02,
    /// Host: the event or request body is complete.
    RequestEnd = 0x03,
    /// Host: stop working on this invocation (stdio only).
    Cancel = 0x04,
    /// Host: the process that is parked becomes an instance of this function.
    Load = 0x05,
    /// Instance: the handler is loaded.
    Ready = 0x81,
    /// Instance: the handler could not be loaded; the process exits.
    InitError = 0x82,
    /// Instance: the BODY frames that follow are the handler's JSON result.
    Result = 0x83,
    /// Instance: status and headers; the BODY frames that follow are the reply's bytes.
    Head = 0x84,
    /// Instance: a piece of the result or of the reply.
    ReplyBody = 0x85,
    /// Instance: the reply is complete.
    ReplyEnd = 0x86,
    /// Instance: the invocation failed.
    Error = 0x87,
    /// Instance: the process is parked and waits for LOAD.
    Parked = 0x88,
}

impl Kind {
    fn from_byte(byte: u8) -> Result<Self, WireError> {
        Ok(match byte {
            0x01 => Self::Invoke,
            0x02 => Self::RequestBody,
            0x03 => Self::RequestEnd,
            0x04 => Self::Cancel,
            0x05 => Self::Load,
            0x81 => Self::Ready,
            0x82 => Self::InitError,
            0x83 => Self::Result,
            0x84 => Self::Head,
            0x85 => Self::ReplyBody,
            0x86 => Self::ReplyEnd,
            0x87 => Self::Error,
            0x88 => Self::Parked,
            other => return Err(WireError::UnknownKind(other)),
        })
    }

    /// Whether it belongs to the start of an instance and not to an invocation.
    fn is_of_start(self) -> bool {
        matches!(self, Self::Load | Self::Parked | Self::Ready | Self::InitError)
    }
}

/// A decoded frame header. One that exists is valid: the length is within [`MAX_PAYLOAD`] and the sequence number fits
/// the kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    kind: Kind,
    seq: u32,
    len: usize,
}

impl Header {
    /// A header for a payload of `len` bytes.
    ///
    /// # Errors
    /// [`WireError::TooLong`] over [`MAX_PAYLOAD`]; [`WireError::Sequence`] or [`WireError::NoSequence`] when `seq`
    /// does not fit the kind.
    pub fn new(kind: Kind, seq: u32, len: usize) -> Result<Self, WireError> {
        if len > MAX_PAYLOAD {
            return Err(WireError::TooLong(len));
        }
        match (kind.is_of_start(), seq) {
            (true, 0) => {}
            (true, got) => return Err(WireError::Sequence { kind, expected: 0, got }),
            (false, 0) => return Err(WireError::NoSequence(kind)),
            (false, _) => {}
        }
        Ok(Self { kind, seq, len })
    }

    /// Reads a header.
    ///
    /// # Errors
    /// [`WireError::UnknownKind`], [`WireError::Reserved`], and those of [`Header::new`].
    pub fn decode(bytes: &[u8; HEADER_LEN]) -> Result<Self, WireError> {
        let [l0, l1, l2, l3, s0, s1, s2, s3, kind, r0, r1, r2] = *bytes;
        if [r0, r1, r2] != [0; 3] {
            return Err(WireError::Reserved([r0, r1, r2]));
        }
        let len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        Self::new(Kind::from_byte(kind)?, u32::from_le_bytes([s0, s1, s2, s3]), len)
    }

    /// Writes the header, for callers that send header and payload with one vectored write.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        let len = u32::try_from(self.len).expect("a header holds at most MAX_PAYLOAD");
        bytes[0..4].copy_from_slice(&len.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.seq.to_le_bytes());
        bytes[8] = self.kind as u8;
        bytes
    }

    /// What the frame is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Which invocation of the lane it belongs to; 0 before the first.
    pub fn seq(&self) -> u32 {
        self.seq
    }

    /// The payload's length in bytes.
    pub fn payload_len(&self) -> usize {
        self.len
    }
}
