//! What can be wrong with bytes on a lane.

use super::header::{Kind, MAX_PAYLOAD};

/// Why bytes are not a valid exchange. After any of these the lane must not be used again: the two sides no longer agree
/// where a frame begins.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// A header announces, or a caller tries to send, more than [`MAX_PAYLOAD`] bytes.
    #[error("frame payload of {0} bytes is over the limit of {MAX_PAYLOAD}")]
    TooLong(usize),
    /// The kind byte names no frame.
    #[error("unknown frame kind {0:#04x}")]
    UnknownKind(u8),
    /// The frame exists but belongs to the other direction.
    #[error("frame {0:?} came from the wrong side")]
    WrongSide(Kind),
    /// One of the three reserved bytes is not zero.
    #[error("reserved header bytes are {0:02x?} instead of zero")]
    Reserved([u8; 3]),
    /// A frame that has no payload came with one.
    #[error("frame {kind:?} must be empty but carries {len} bytes")]
    NotEmpty {
        /// The frame's kind.
        kind: Kind,
        /// The payload's length in bytes.
        len: usize,
    },
    /// The payload is not the JSON object this kind carries.
    #[error("frame {kind:?} carries bad JSON: {problem}")]
    Json {
        /// The frame's kind.
        kind: Kind,
        /// What the JSON reader said, in one line of bounded length: it quotes what was sent.
        problem: String,
    },
    /// The frame belongs to another invocation. Those of a start have 0, all others a number from 1.
    #[error("frame {kind:?} has sequence number {got} where {expected} was due")]
    Sequence {
        /// The frame's kind.
        kind: Kind,
        /// The sequence number that was due.
        expected: u32,
        /// The sequence number that came.
        got: u32,
    },
    /// Only the start of an instance may have sequence number 0.
    #[error("frame {0:?} has sequence number 0")]
    NoSequence(Kind),
    /// The frame is sound but not allowed at this point of the exchange.
    #[error("frame {0:?} is out of order")]
    OutOfOrder(Kind),
    /// An earlier frame of this stream was malformed, so nothing after it can be trusted.
    #[error("an earlier frame of this stream was malformed")]
    Broken,
    /// The stream ended in the middle of a frame.
    #[error("the stream ended with {0} bytes of an unfinished frame")]
    Truncated(usize),
}
