use bytes::{BufMut, Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::BootId;

fn boot_id() -> BootId {
    BootId::from_bytes([0xab; 16])
}

fn any_boot_id() -> impl Strategy<Value = BootId> {
    any::<[u8; 16]>().prop_map(BootId::from_bytes)
}

fn any_bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..300).prop_map(Bytes::from)
}

fn any_failure() -> impl Strategy<Value = Failure> {
    (any::<String>(), any::<String>(), vec(any::<String>(), 0..3)).prop_map(
        |(error_message, error_type, stack_trace)| Failure {
            error_message,
            error_type,
            stack_trace,
        },
    )
}

fn any_host_frame() -> impl Strategy<Value = HostFrame> {
    let invoke = (
        any::<String>(),
        any::<u64>(),
        any::<Option<String>>(),
        any::<String>(),
        any::<Vec<(String, String)>>(),
    );
    prop_oneof![
        invoke.prop_map(|(request_id, deadline_ms, trace_id, arn, env)| {
            HostFrame::Invoke(Invoke {
                request_id,
                deadline_ms,
                trace_id,
                arn,
                client_context: None,
                repeated: Default::default(),
                base_path: "/function/hello".to_owned(),
                env,
            })
        }),
        any_bytes().prop_map(HostFrame::Body),
        Just(HostFrame::End),
        Just(HostFrame::Cancel),
        (any::<Vec<(String, String)>>(), any::<String>()).prop_map(|(env, cwd)| HostFrame::Load(Load { env, cwd })),
    ]
}

fn any_instance_frame() -> impl Strategy<Value = InstanceFrame> {
    let head = (
        any_boot_id(),
        any::<u16>(),
        any::<Vec<(String, String)>>(),
        any::<Vec<String>>(),
        any::<bool>(),
    );
    prop_oneof![
        Just(InstanceFrame::Parked),
        (any_boot_id(), any::<String>(), any::<u64>()).prop_map(|(boot_id, runtime, init_us)| InstanceFrame::Ready(
            Ready {
                boot_id,
                runtime,
                init_us
            }
        )),
        any_failure().prop_map(InstanceFrame::InitError),
        any_boot_id().prop_map(|boot_id| InstanceFrame::Result(ResultHead { boot_id })),
        head.prop_map(|(boot_id, status, headers, cookies, bare)| {
            InstanceFrame::Head(Head {
                boot_id,
                status,
                headers,
                cookies,
                bare,
            })
        }),
        any_bytes().prop_map(InstanceFrame::Body),
        any::<u64>().prop_map(|handler_us| InstanceFrame::End(End { handler_us })),
        (any_boot_id(), any_failure()).prop_map(|(boot_id, failure)| InstanceFrame::Error { boot_id, failure }),
    ]
}

fn seq_for(frame: &impl Frame, seq: u32) -> u32 {
    match frame.kind() {
        Kind::Load | Kind::Parked | Kind::Ready | Kind::InitError => 0,
        _ => seq,
    }
}

fn encoded<F: Frame>(frames: &[F], seq: u32) -> BytesMut {
    let mut out = BytesMut::new();
    for frame in frames {
        encode(frame, seq_for(frame, seq), &mut out).unwrap();
    }
    out
}

/// Feeds `bytes` in pieces of the given sizes, over and over, and collects every frame.
fn decoded<F: Frame>(mut bytes: &[u8], pieces: &[usize]) -> Vec<(u32, F)> {
    let mut decoder = Decoder::<F>::new();
    let mut frames = Vec::new();
    for size in pieces.iter().cycle() {
        let (now, later) = bytes.split_at((*size).min(bytes.len()));
        decoder.buffer().put_slice(now);
        bytes = later;
        while let Some(frame) = decoder.next_frame().unwrap() {
            frames.push(frame);
        }
        if bytes.is_empty() {
            break;
        }
    }
    decoder.finish().unwrap();
    assert!(decoder.is_empty());
    frames
}

proptest! {
    #[test]
    fn host_frames_survive_any_split(
        frames in vec(any_host_frame(), 1..6), seq in 1u32.., pieces in vec(1usize..200, 1..8),
    ) {
        let back = decoded::<HostFrame>(&encoded(&frames, seq), &pieces);
        let sent: Vec<_> = frames.into_iter().map(|frame| (seq_for(&frame, seq), frame)).collect();
        prop_assert_eq!(sent, back);
    }

    #[test]
    fn instance_frames_survive_any_split(
        frames in vec(any_instance_frame(), 1..6), seq in 1u32.., pieces in vec(1usize..200, 1..8),
    ) {
        let back = decoded::<InstanceFrame>(&encoded(&frames, seq), &pieces);
        let sent: Vec<_> = frames.into_iter().map(|frame| (seq_for(&frame, seq), frame)).collect();
        prop_assert_eq!(sent, back);
    }

    #[test]
    fn garbage_is_an_error_or_a_wish_for_more(bytes in vec(any::<u8>(), 0..400)) {
        let mut decoder = Decoder::<InstanceFrame>::new();
        decoder.buffer().put_slice(&bytes);
        for _ in 0..bytes.len() + 1 {
            match decoder.next_frame() {
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => break,
            }
        }
    }

    #[test]
    fn garbage_behind_a_sound_header_is_an_error_or_a_frame(
        kind in prop_oneof![0u8..7, 0x80u8..0x8a], seq in 0u32..3, payload in vec(any::<u8>(), 0..100),
    ) {
        let mut bytes = BytesMut::new();
        bytes.put_u32_le(payload.len() as u32);
        bytes.put_u32_le(seq);
        bytes.put_slice(&[kind, 0, 0, 0]);
        bytes.put_slice(&payload);
        let mut instance = Decoder::<InstanceFrame>::new();
        instance.buffer().put_slice(&bytes);
        let mut host = Decoder::<HostFrame>::new();
        host.buffer().put_slice(&bytes);
        let sound = [instance.next_frame().is_ok_and(|f| f.is_some()), host.next_frame().is_ok_and(|f| f.is_some())];
        prop_assert!(sound != [true, true], "no frame belongs to both directions");
    }

    #[test]
    fn any_order_of_frames_is_judged_without_panic(frames in vec((0u32..2, any_instance_frame()), 0..8)) {
        let mut order = ReplyOrder::new(1);
        for (seq, frame) in &frames {
            let was_done = order.is_done();
            let verdict = order.accept(*seq, frame);
            prop_assert!(!(was_done && verdict.is_ok()), "nothing follows the end");
        }
    }
}

fn raw(len: u32, seq: u32, kind: u8, reserved: [u8; 3]) -> [u8; HEADER_LEN] {
    let mut bytes = Vec::new();
    bytes.extend(len.to_le_bytes());
    bytes.extend(seq.to_le_bytes());
    bytes.push(kind);
    bytes.extend(reserved);
    bytes.try_into().unwrap()
}

fn refused<F: Frame + std::fmt::Debug>(header: [u8; HEADER_LEN], payload: &[u8]) -> WireError {
    let mut decoder = Decoder::<F>::new();
    decoder.buffer().put_slice(&header);
    decoder.buffer().put_slice(payload);
    decoder.next_frame().unwrap_err()
}

#[test]
fn each_malformed_header_has_its_error() {
    assert!(matches!(
        refused::<HostFrame>(raw(MAX_PAYLOAD as u32 + 1, 1, 2, [0; 3]), b""),
        WireError::TooLong(_)
    ));
    assert!(matches!(
        refused::<HostFrame>(raw(u32::MAX, 1, 2, [0; 3]), b""),
        WireError::TooLong(_)
    ));
    assert!(matches!(
        refused::<HostFrame>(raw(0, 1, 9, [0; 3]), b""),
        WireError::UnknownKind(9)
    ));
    assert!(matches!(
        refused::<HostFrame>(raw(0, 1, 2, [0, 1, 0]), b""),
        WireError::Reserved([0, 1, 0])
    ));
    assert!(matches!(
        refused::<HostFrame>(raw(0, 1, 0x85, [0; 3]), b""),
        WireError::WrongSide(Kind::ReplyBody)
    ));
    assert!(matches!(
        refused::<InstanceFrame>(raw(0, 1, 2, [0; 3]), b""),
        WireError::WrongSide(Kind::RequestBody)
    ));
    assert!(matches!(
        refused::<HostFrame>(raw(0, 0, 2, [0; 3]), b""),
        WireError::NoSequence(Kind::RequestBody)
    ));
    assert!(matches!(
        refused::<InstanceFrame>(raw(0, 7, 0x81, [0; 3]), b""),
        WireError::Sequence {
            kind: Kind::Ready,
            expected: 0,
            got: 7
        }
    ));
    assert!(matches!(
        refused::<HostFrame>(raw(0, 1, 5, [0; 3]), b""),
        WireError::Sequence {
            kind: Kind::Load,
            expected: 0,
            got: 1
        }
    ));
    assert!(matches!(
        refused::<InstanceFrame>(raw(1, 0, 0x88, [0; 3]), b"x"),
        WireError::NotEmpty {
            kind: Kind::Parked,
            len: 1
        }
    ));
    assert!(matches!(
        refused::<InstanceFrame>(raw(0, 0, 5, [0; 3]), b""),
        WireError::WrongSide(Kind::Load)
    ));
}

#[test]
fn each_malformed_payload_has_its_error() {
    assert!(matches!(
        refused::<HostFrame>(raw(1, 1, 3, [0; 3]), b"x"),
        WireError::NotEmpty { len: 1, .. }
    ));
    for payload in [
        &b"{"[..],
        b"[]",
        b"null",
        b"{}",
        b"\xff",
        b"{\"handler_us\":-1}",
        b"{\"handler_us\":1,\"x\":2}",
    ] {
        let error = refused::<InstanceFrame>(raw(payload.len() as u32, 1, 0x86, [0; 3]), payload);
        assert!(
            matches!(
                error,
                WireError::Json {
                    kind: Kind::ReplyEnd,
                    ..
                }
            ),
            "{payload:?}: {error}"
        );
    }
    for id in ["", "ab", &"AB".repeat(16), &"zz".repeat(16), &"ab".repeat(17)] {
        let payload = format!("{{\"boot_id\":\"{id}\"}}");
        let error = refused::<InstanceFrame>(raw(payload.len() as u32, 1, 0x83, [0; 3]), payload.as_bytes());
        assert!(matches!(error, WireError::Json { .. }), "{id}");
    }
}

#[test]
fn what_an_instance_says_is_quoted_in_one_short_line() {
    let long = "x\n".repeat(100_000);
    let payload = serde_json::to_vec(&serde_json::json!({ "handler_us": long })).unwrap();
    let error = refused::<InstanceFrame>(raw(payload.len() as u32, 1, 0x86, [0; 3]), &payload).to_string();
    assert!(error.len() < 1000 && !error.contains('\n'), "{error}");
    let failure = Failure {
        error_message: long,
        error_type: "Value\x1bError".into(),
        stack_trace: Vec::new(),
    };
    let shown = failure.to_string();
    assert!(
        shown.starts_with("Value\\x1bError: x\\x0ax") && shown.len() < 3000,
        "{shown}"
    );
}

#[test]
fn a_broken_stream_stays_broken() {
    let mut decoder = Decoder::<HostFrame>::new();
    decoder.buffer().put_slice(&raw(0, 1, 9, [0; 3]));
    assert!(matches!(decoder.next_frame(), Err(WireError::UnknownKind(9))));
    decoder.buffer().put_slice(&raw(0, 1, 3, [0; 3]));
    assert!(matches!(decoder.next_frame(), Err(WireError::Broken)));
    let mut decoder = Decoder::<InstanceFrame>::new();
    decoder.buffer().put_slice(&raw(1, 1, 0x86, [0; 3]));
    decoder.buffer().put_slice(b"x");
    assert!(matches!(decoder.next_frame(), Err(WireError::Json { .. })));
    decoder
        .buffer()
        .put_slice(&encoded(&[InstanceFrame::Body(Bytes::new())], 1));
    assert!(matches!(decoder.next_frame(), Err(WireError::Broken)));
}

#[test]
fn a_stream_cut_inside_a_frame_is_truncated() {
    let bytes = encoded(&[HostFrame::Body(Bytes::from_static(b"hello"))], 1);
    for cut in 1..bytes.len() {
        let mut decoder = Decoder::<HostFrame>::new();
        decoder.buffer().put_slice(&bytes[..cut]);
        assert!(decoder.next_frame().unwrap().is_none());
        assert!(matches!(decoder.finish(), Err(WireError::Truncated(_))), "cut at {cut}");
    }
}

#[test]
fn a_frame_over_the_limit_is_not_sent() {
    let mut out = BytesMut::new();
    let frame = HostFrame::Body(Bytes::from(vec![0; MAX_PAYLOAD + 1]));
    assert!(matches!(encode(&frame, 1, &mut out), Err(WireError::TooLong(_))));
    assert!(out.is_empty());
}

#[test]
fn a_call_of_any_size_is_cut_into_frames() {
    let invoke = Invoke {
        request_id: "r".into(),
        deadline_ms: 5,
        trace_id: None,
        arn: "arn:aws:lambda:local:000000000000:function:f".into(),
        client_context: None,
        repeated: Default::default(),
        base_path: "/function/hello".to_owned(),
        env: Vec::new(),
    };
    let event = vec![7u8; 2 * MAX_PAYLOAD + 3];
    let mut out = BytesMut::new();
    encode_call(invoke.clone(), &event, 4, &mut out).unwrap();
    let frames = decoded::<HostFrame>(&out, &[65_536]);
    assert!(frames.iter().all(|(seq, _)| *seq == 4));
    let body: Vec<u8> = frames
        .iter()
        .filter_map(|(_, frame)| match frame {
            HostFrame::Body(bytes) => Some(bytes.as_ref()),
            _ => None,
        })
        .collect::<Vec<_>>()
        .concat();
    assert_eq!(body, event);
    assert_eq!(frames.len(), 5);
    assert_eq!(frames[0].1, HostFrame::Invoke(invoke));
    assert_eq!(frames[4].1, HostFrame::End);
}

#[test]
fn a_reply_goes_through_its_states() {
    let result = InstanceFrame::Result(ResultHead { boot_id: boot_id() });
    let body = InstanceFrame::Body(Bytes::from_static(b"1"));
    let end = InstanceFrame::End(End { handler_us: 1 });
    let failure = Failure {
        error_message: "m".into(),
        error_type: "T".into(),
        stack_trace: Vec::new(),
    };
    let error = InstanceFrame::Error {
        boot_id: boot_id(),
        failure,
    };

    let mut order = ReplyOrder::new(3);
    assert!(matches!(
        order.accept(3, &body),
        Err(WireError::OutOfOrder(Kind::ReplyBody))
    ));
    assert!(matches!(
        order.accept(2, &result),
        Err(WireError::Sequence {
            expected: 3,
            got: 2,
            ..
        })
    ));
    order.accept(3, &result).unwrap();
    assert!(matches!(
        order.accept(3, &result),
        Err(WireError::OutOfOrder(Kind::Result))
    ));
    order.accept(3, &body).unwrap();
    order.accept(3, &end).unwrap();
    assert!(order.is_done());
    assert!(order.accept(3, &end).is_err());

    let mut order = ReplyOrder::new(1);
    order.accept(1, &error).unwrap();
    assert!(order.is_done());
}
