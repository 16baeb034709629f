//! Lanes over real socketpairs; the test is the instance.

use std::os::fd::AsFd;
use std::time::Duration;

use bytes::BytesMut;
use functions::BootId;
use functions::wire::{End, Failure, Ready, ResultHead, encode};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// The instance's side.
struct Peer {
    socket: UnixStream,
    decoder: Decoder<HostFrame>,
}

fn pair() -> (Lane, Peer) {
    let (host, instance) = std::os::unix::net::UnixStream::pair().unwrap();
    for socket in [&host, &instance] {
        socket.set_nonblocking(true).unwrap();
    }
    let peer = Peer {
        socket: UnixStream::from_std(instance).unwrap(),
        decoder: Decoder::new(),
    };
    (Lane::new(host.into()).unwrap(), peer)
}

impl Peer {
    async fn say(&mut self, seq: u32, frames: &[InstanceFrame]) {
        let mut bytes = BytesMut::new();
        for frame in frames {
            encode(frame, seq, &mut bytes).unwrap();
        }
        self.socket.write_all(&bytes).await.unwrap();
    }

    async fn hear(&mut self) -> (u32, HostFrame) {
        loop {
            if let Some(frame) = self.decoder.next_frame().unwrap() {
                return frame;
            }
            assert_ne!(self.socket.read_buf(self.decoder.buffer()).await.unwrap(), 0);
        }
    }
}

fn boot_id() -> BootId {
    BootId::from_bytes([7; 16])
}

fn invoke() -> Invoke {
    Invoke {
        request_id: "r".into(),
        deadline_ms: 1,
        trace_id: None,
        arn: "arn".into(),
        client_context: None,
        repeated: Default::default(),
        base_path: String::new(),
        env: Vec::new(),
    }
}

fn reply(body: &'static [u8]) -> [InstanceFrame; 3] {
    [
        InstanceFrame::Result(ResultHead { boot_id: boot_id() }),
        InstanceFrame::Body(Bytes::from_static(body)),
        InstanceFrame::End(End { handler_us: 5 }),
    ]
}

#[tokio::test]
async fn a_whole_exchange_and_another_one() {
    let (mut lane, mut peer) = pair();
    for seq in 1..=2 {
        assert!(lane.is_clean());
        assert_eq!(lane.begin(), seq);
        lane.push_call(invoke(), Bytes::from_static(b"{}")).unwrap();
        lane.flush().await.unwrap();
        assert_eq!(peer.hear().await, (seq, HostFrame::Invoke(invoke())));
        assert_eq!(peer.hear().await, (seq, HostFrame::Body(Bytes::from_static(b"{}"))));
        assert_eq!(peer.hear().await, (seq, HostFrame::End));
        peer.say(seq, &reply(b"1")).await;
        for expected in reply(b"1") {
            assert!(!lane.is_clean());
            assert_eq!(lane.next().await.unwrap(), expected);
        }
        lane.finish().unwrap();
    }
    assert!(lane.is_clean());
}

#[tokio::test]
async fn finish_refuses_what_is_not_finished() {
    let (mut lane, mut peer) = pair();
    lane.begin();
    lane.push_call(invoke(), Bytes::new()).unwrap();
    assert!(matches!(lane.finish(), Err(LaneError::Unfinished)), "no reply yet");
    lane.flush().await.unwrap();
    let [result, _, end] = reply(b"");
    peer.say(1, &[result, end]).await;
    lane.next().await.unwrap();
    assert!(matches!(lane.finish(), Err(LaneError::Unfinished)), "no end yet");
    lane.next().await.unwrap();
    lane.finish().unwrap();
}

#[tokio::test]
async fn bytes_after_the_end_make_a_lane_dirty() {
    let (mut lane, mut peer) = pair();
    lane.begin();
    lane.push_call(invoke(), Bytes::new()).unwrap();
    let [result, body, end] = reply(b"x");
    peer.say(1, &[result, end, body]).await;
    lane.next().await.unwrap();
    lane.next().await.unwrap();
    assert!(matches!(lane.finish(), Err(LaneError::Unfinished)));
    assert!(!lane.is_clean());
}

#[tokio::test]
async fn frames_of_another_exchange_break_a_lane() {
    let (mut lane, mut peer) = pair();
    lane.begin();
    lane.push_end().unwrap();
    peer.say(9, &reply(b"x")).await;
    assert!(matches!(
        lane.next().await,
        Err(LaneError::Protocol(WireError::Sequence {
            expected: 1,
            got: 9,
            ..
        }))
    ));
    lane.begin();
    assert!(!lane.is_clean(), "a broken lane stays broken");
    assert!(matches!(lane.push_end(), Err(LaneError::Unfinished)));
}

#[tokio::test]
async fn a_peer_that_leaves_closes_the_lane() {
    let (mut lane, peer) = pair();
    drop(peer);
    lane.begin();
    lane.push_call(invoke(), Bytes::from_static(b"{}")).unwrap();
    assert!(matches!(lane.next().await, Err(LaneError::Closed)));
    assert!(!lane.is_clean());
}

#[tokio::test]
async fn what_a_peer_said_before_it_left_is_still_heard() {
    let (mut lane, mut peer) = pair();
    lane.begin();
    let failure = Failure {
        error_message: "m".into(),
        error_type: "t".into(),
        stack_trace: Vec::new(),
    };
    let error = InstanceFrame::Error {
        boot_id: boot_id(),
        failure,
    };
    peer.say(1, std::slice::from_ref(&error)).await;
    drop(peer);
    lane.push_call(invoke(), Bytes::from(vec![b' '; 1 << 20])).unwrap();
    assert_eq!(lane.next().await.unwrap(), error);
    assert!(
        matches!(lane.finish(), Err(LaneError::Unfinished)),
        "the event did not arrive"
    );
}

#[tokio::test]
async fn an_event_larger_than_the_socket_arrives_while_the_reply_is_awaited() {
    let (mut lane, mut peer) = pair();
    let event: Bytes = (0..3_000_000u32).map(|n| n as u8).collect::<Vec<_>>().into();
    lane.begin();
    lane.push_call(invoke(), event.clone()).unwrap();
    let instance = tokio::spawn(async move {
        let mut body = Vec::new();
        loop {
            match peer.hear().await.1 {
                HostFrame::Body(piece) => body.extend_from_slice(&piece),
                HostFrame::End => break,
                _ => {}
            }
        }
        peer.say(1, &reply(b"ok")).await;
        body
    });
    for expected in reply(b"ok") {
        assert_eq!(lane.next().await.unwrap(), expected);
    }
    lane.finish().unwrap();
    assert_eq!(instance.await.unwrap(), event);
}

#[tokio::test]
async fn a_cancelled_flush_goes_on_where_it_stopped() {
    let (mut lane, mut peer) = pair();
    lane.begin();
    lane.push_call(invoke(), Bytes::from(vec![b'x'; 2_000_000])).unwrap();
    let cut = tokio::time::timeout(Duration::ZERO, lane.flush()).await;
    assert!(cut.is_err(), "the socket is smaller than that");
    assert!(lane.queued_bytes() > 0);
    let hear_all = async {
        let mut heard = 0;
        loop {
            match peer.hear().await.1 {
                HostFrame::Body(piece) => heard += piece.len(),
                HostFrame::End => return heard,
                _ => {}
            }
        }
    };
    let (flushed, heard) = tokio::join!(lane.flush(), hear_all);
    flushed.unwrap();
    assert_eq!(heard, 2_000_000);
}

#[tokio::test]
async fn only_a_greeting_comes_first() {
    let (mut lane, mut peer) = pair();
    let ready = InstanceFrame::Ready(Ready {
        boot_id: boot_id(),
        runtime: "test".into(),
        init_us: 1,
    });
    peer.say(0, std::slice::from_ref(&ready)).await;
    assert_eq!(lane.greeting().await.unwrap(), ready);
    assert!(lane.is_clean());

    let (mut lane, mut peer) = pair();
    peer.say(1, &reply(b"")[..1]).await;
    assert!(matches!(
        lane.greeting().await,
        Err(LaneError::Protocol(WireError::OutOfOrder(_)))
    ));
    assert!(!lane.is_clean());
}

#[tokio::test]
async fn a_parked_process_is_told_its_function_over_another_lane_of_the_same_socket() {
    let (mut watch, mut peer) = pair();
    let socket = watch.socket.as_fd().try_clone_to_owned().unwrap();
    peer.say(0, &[InstanceFrame::Parked]).await;
    watch.parked().await.unwrap();
    drop(watch);

    let mut lane = Lane::new(socket).unwrap();
    let load = Load {
        env: vec![("A".into(), "b".into())],
        cwd: "/function".into(),
    };
    lane.load(load.clone()).await.unwrap();
    assert_eq!(peer.hear().await, (0, HostFrame::Load(load)));
    assert!(lane.is_clean());
}

#[tokio::test]
async fn a_process_that_does_not_wait_for_load_is_not_parked() {
    let ready = InstanceFrame::Ready(Ready {
        boot_id: boot_id(),
        runtime: "test".into(),
        init_us: 1,
    });
    for said in [vec![ready.clone()], vec![InstanceFrame::Parked, ready]] {
        let (mut lane, mut peer) = pair();
        peer.say(0, &said).await;
        assert!(matches!(lane.parked().await, Err(LaneError::Protocol(_))), "{said:?}");
    }
    let (mut lane, peer) = pair();
    drop(peer);
    assert!(matches!(lane.parked().await, Err(LaneError::Closed)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn garbage_is_an_error_and_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 1..4096)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (mut lane, mut peer) = pair();
            lane.begin();
            peer.socket.write_all(&bytes).await.unwrap();
            drop(peer);
            while lane.next().await.is_ok() {}
            assert!(!lane.is_clean());
        });
    }
}
