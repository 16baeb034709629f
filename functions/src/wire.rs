//! The frames that travel between the host and an instance on an inherited stream socket.
//!
//! Owns the byte layout, the typed content of every frame and the order in which frames may come. Never does I/O: the
//! decoder is fed bytes and the encoder fills a buffer, so that blocking and async callers share one implementation.
//! Everything that arrives from an instance is hostile until decoded: whatever bytes come, the answer is a frame, the
//! wish for more bytes, or a [`WireError`], after which the lane is of no more use.
//!
//! A lane is one socket and carries one invocation at a time:
//!
//! ```text
//!  instance -> host   PARKED                                     once, on lane 0, seq 0; only by a process that was
//!  host -> instance   LOAD                                       started ahead of its function, and the answer to it
//!
//!  instance -> host   READY | INIT_ERROR                         once, on lane 0, seq 0
//!
//!  host -> instance   INVOKE  BODY*  END                         seq n; CANCEL at any time after INVOKE
//!  instance -> host   (RESULT | HEAD)  BODY*  (END | ERROR)      seq n; or ERROR alone
//! ```
//!
//! A frame is a header of 12 bytes and a payload of at most 1 MiB: the payload's length and the sequence number, both
//! u32 little-endian, one byte of kind, three zero bytes. An instance may answer before the request has ended; whatever
//! of the old request still arrives afterwards is skipped by the instance.

mod decoder;
mod error;
mod frame;
mod header;
mod order;
#[cfg(test)]
mod tests;

pub use decoder::Decoder;
pub use error::WireError;
pub use frame::{
    End, Failure, Frame, Head, HostFrame, InstanceFrame, Invoke, Load, Ready, ResultHead, encode, encode_body,
    encode_call,
};
pub use header::{HEADER_LEN, Header, Kind, MAX_PAYLOAD};
pub use order::ReplyOrder;
