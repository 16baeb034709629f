//! Messages of `application/vnd.amazon.eventstream` ("Amazon event stream specification", Smithy 2.0), as a server writes them. Pure.
//!
//! ```text
//! total length, headers length, CRC of both | headers: name, type 7 (text), value | payload | CRC of everything
//! ```

use bytes::{BufMut, Bytes, BytesMut};

/// The content type of a body of such messages.
pub(super) const CONTENT_TYPE: &str = "application/vnd.amazon.eventstream";

/// Lengths and checksum before the headers.
const PRELUDE: usize = 12;
/// The checksum at the end.
const CHECKSUM: usize = 4;
/// A value is text.
const TEXT: u8 = 7;

/// One message of the type `event`. The payload is at most 16 MiB, which is what clients take in.
pub(super) fn event(kind: &'static str, content_type: &'static str, payload: &[u8]) -> Bytes {
    let headers = [
        (":message-type", "event"),
        (":event-type", kind),
        (":content-type", content_type),
    ];
    let headers_length: usize = headers
        .iter()
        .map(|(name, value)| 1 + name.len() + 3 + value.len())
        .sum();
    let total = PRELUDE + headers_length + payload.len() + CHECKSUM;
    let mut message = BytesMut::with_capacity(total);
    message.put_u32(u32::try_from(total).expect("a payload has at most 16 MiB"));
    message.put_u32(u32::try_from(headers_length).expect("three short headers"));
    message.put_u32(crc32fast::hash(&message));
    for (name, value) in headers {
        message.put_u8(u8::try_from(name.len()).expect("a short name"));
        message.put_slice(name.as_bytes());
        message.put_u8(TEXT);
        message.put_u16(u16::try_from(value.len()).expect("a short value"));
        message.put_slice(value.as_bytes());
    }
    message.put_slice(payload);
    message.put_u32(crc32fast::hash(&message));
    message.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification with our headers would be ours alone, so the checksums are those of zlib, in Python.
    #[test]
    fn a_message_has_lengths_headers_payload_and_checksums() {
        let message = event("PayloadChunk", "application/octet-stream", b"one");
        let number = |at: usize| u32::from_be_bytes(message[at..at + 4].try_into().unwrap());
        let headers = b"\x0d:message-type\x07\0\x05event\x0b:event-type\x07\0\x0cPayloadChunk\x0d:content-type\x07\0\x18application/octet-stream";
        assert_eq!((number(0) as usize, number(4) as usize), (message.len(), headers.len()));
        assert_eq!(&message[12..message.len() - 7], headers);
        assert_eq!(&message[message.len() - 7..message.len() - 4], b"one");
        assert_eq!(number(8), CRCS.0);
        assert_eq!(number(message.len() - 4), CRCS.1);
        assert_eq!(event("InvokeComplete", "application/json", b"").len(), 12 + 84 + 4);
    }

    const CRCS: (u32, u32) = (0x8f3ed47f, 0xeca9e117);
}
