//! Frames between the platform and a function's process, in both directions.

use bytes::{BufMut, BytesMut};
use functions::wire::{Decoder, Frame, HostFrame, InstanceFrame, ReplyOrder, encode};

/// What an instance says.
pub(crate) fn from_instance(input: &[u8]) {
    let mut order = ReplyOrder::new(1);
    for (seq, frame) in frames::<InstanceFrame>(input) {
        let was_done = order.is_done();
        let verdict = order.accept(seq, &frame);
        assert!(!(was_done && verdict.is_ok()), "nothing follows the end");
    }
}

/// What the platform says, as a shim reads it.
pub(crate) fn from_host(input: &[u8]) {
    frames::<HostFrame>(input);
}

/// Decodes the input in pieces, whose size is its first byte, and in one piece: both must find the same. What is found must survive encoding.
fn frames<F: Frame + PartialEq + std::fmt::Debug>(input: &[u8]) -> Vec<(u32, F)> {
    let Some((&piece, bytes)) = input.split_first() else {
        return Vec::new();
    };
    let whole = decoded::<F>(bytes, bytes.len().max(1));
    assert_eq!(
        whole,
        decoded::<F>(bytes, usize::from(piece).max(1)),
        "how it is cut changes nothing"
    );
    let mut again = BytesMut::new();
    for (seq, frame) in &whole {
        encode(frame, *seq, &mut again).expect("a frame that was read can be written");
    }
    assert_eq!(whole, decoded::<F>(&again, again.len().max(1)));
    whole
}

fn decoded<F: Frame>(bytes: &[u8], piece: usize) -> Vec<(u32, F)> {
    let mut decoder = Decoder::<F>::new();
    let mut found = Vec::new();
    for piece in bytes.chunks(piece) {
        decoder.buffer().put_slice(piece);
        while let Ok(Some(frame)) = decoder.next_frame() {
            found.push(frame);
        }
    }
    found
}
