//! What a function answers: the JSON of a handler, the head of a stream, and what becomes of its headers.

use functions::payload::{Prelude, ReplyHead, reply as read};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};

/// The result of a handler; with a first byte below 32, a stream that begins with a head, in pieces of that size.
pub(crate) fn reply(input: &[u8]) {
    match input.split_first() {
        Some((&piece, stream)) if piece < 0x20 => streamed(stream, usize::from(piece).max(1)),
        _ => {
            if let Ok(reply) = read(input) {
                sent(reply.head);
            }
        }
    }
}

fn streamed(stream: &[u8], piece: usize) {
    let cut = found(stream.chunks(piece));
    let whole = found(std::iter::once(stream));
    match (cut, whole) {
        (Some((cut, mut body, taken)), Some((whole, rest, _))) => {
            body.extend_from_slice(&stream[taken..]);
            assert_eq!((cut.status, &cut.headers, body), (whole.status, &whole.headers, rest));
            sent(whole);
        }
        (None, None) => {}
        // A head that is too long is refused sooner when it comes in pieces, and never accepted.
        (cut, whole) => assert!(cut.is_none() && whole.is_none(), "how it is cut changes nothing"),
    }
}

/// The head, what of the body came with it, and how many bytes were taken by then.
fn found<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Option<(ReplyHead, Vec<u8>, usize)> {
    let mut prelude = Prelude::default();
    let mut taken = 0;
    for piece in pieces {
        taken += piece.len();
        if let Some((head, body)) = prelude.push(piece).ok()? {
            return Some((head, body.to_vec(), taken));
        }
    }
    None
}

/// A reply on its way out says nothing in the platform's name, and nothing of the connection.
fn sent(mut head: ReplyHead) {
    if gateway::reply::check(head.status, &head.headers).is_err() {
        return;
    }
    gateway::reply::clean_reply(&mut head.headers);
    for name in [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE] {
        assert!(!head.headers.contains_key(name));
    }
    for (name, value) in &head.headers {
        assert!(!name.as_str().starts_with("x-fn-") && name != "server-timing", "{name}");
        assert!(
            !value.as_bytes().iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)),
            "{value:?}"
        );
    }
}
