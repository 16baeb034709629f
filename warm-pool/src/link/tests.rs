pub(super) mod served;

use std::sync::Arc;

use http_body_util::{BodyExt, Empty, Full};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use self::served::Served;
use super::*;

/// Every connection is answered by what `reply` says of its number and of the number of the request on it; `None` closes it.
fn served(reply: impl Fn(usize, usize) -> Option<Vec<u8>> + Send + Sync + 'static) -> Served {
    let reply = Arc::new(reply);
    Served::new(move |connection, mut stream| {
        let reply = reply.clone();
        tokio::spawn(async move {
            for request in 0.. {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    match stream.read_u8().await {
                        Ok(byte) => head.push(byte),
                        Err(_) => return,
                    }
                }
                match reply(connection, request) {
                    Some(bytes) => stream.write_all(&bytes).await.unwrap(),
                    None => return,
                }
            }
        });
    })
}

fn get() -> Request<RequestBody> {
    let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
    Request::get("/").header("host", "x").body(body).unwrap()
}

fn post() -> Request<RequestBody> {
    let body = Full::from("body").map_err(|never| match never {}).boxed_unsync();
    Request::post("/").header("host", "x").body(body).unwrap()
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

async fn read(link: &mut Link, served: &Served) -> Result<Bytes, LinkError> {
    link.begin();
    let reply = link.send(served, get()).await?;
    let body = reply.into_body().collect().await.unwrap().to_bytes();
    link.finish();
    Ok(body)
}

#[tokio::test]
async fn a_connection_is_kept_from_one_call_to_the_next() {
    let served = served(|_, _| Some(OK.to_vec()));
    let mut link = Link::new(Door::Port(1));
    for _ in 0..5 {
        assert_eq!(read(&mut link, &served).await.unwrap(), "ok");
        assert!(link.is_clean());
    }
    assert_eq!(served.connections(), 1);
    link.forget();
    read(&mut link, &served).await.unwrap();
    assert_eq!(served.connections(), 2);
}

#[tokio::test]
async fn one_that_was_closed_is_replaced() {
    let served = served(|_, request| {
        let close = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";
        (request == 0).then(|| close.to_vec())
    });
    let mut link = Link::new(Door::Port(1));
    for _ in 0..3 {
        assert_eq!(read(&mut link, &served).await.unwrap(), "ok");
    }
    assert_eq!(served.connections(), 3);
}

#[tokio::test]
async fn what_was_sent_is_not_sent_again() {
    // It reads the request and says nothing.
    let served = served(|_, _| None);
    let mut link = Link::new(Door::Port(1));
    link.begin();
    assert!(matches!(link.send(&served, post()).await, Err(LinkError::Broken(_))));
    assert_eq!(served.connections(), 1);
    assert!(!link.is_clean(), "whoever began says how it ends");
    link.abandon();
    assert!(link.is_clean());
}

#[tokio::test]
async fn an_abandoned_exchange_closes_its_connection() {
    let (seen, closed) = tokio::sync::oneshot::channel();
    let seen = std::sync::Mutex::new(Some(seen));
    let served = Served::new(move |_, mut stream| {
        let seen = seen.lock().unwrap().take().unwrap();
        tokio::spawn(async move {
            stream.read_u8().await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nwithout end").await.unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.unwrap();
            let _there = seen.send(());
        });
    });
    let mut link = Link::new(Door::Port(1));
    link.begin();
    let reply = link.send(&served, get()).await.unwrap();
    link.abandon();
    drop(reply);
    closed.await.unwrap();
}

#[tokio::test]
async fn an_answer_is_heard_although_nobody_reads_the_request_any_more() {
    let served = Served::new(|_, mut stream| {
        tokio::spawn(async move {
            stream.read_u8().await.unwrap();
            let head = b"HTTP/1.1 413 Payload Too Large\r\ncontent-length: 30000\r\n\r\n";
            stream
                .write_all(&[head.as_slice(), &[b'x'; 30_000]].concat())
                .await
                .unwrap();
        });
    });
    // More than the connection holds, so that writing fails when the server is gone.
    let body = Full::from(vec![0; 1 << 20])
        .map_err(|never| match never {})
        .boxed_unsync();
    let mut link = Link::new(Door::Port(1));
    link.begin();
    let request = Request::post("/").header("host", "x").body(body).unwrap();
    let reply = link.send(&served, request).await.unwrap();
    assert_eq!(reply.status(), 413);
    assert_eq!(reply.into_body().collect().await.unwrap().to_bytes().len(), 30_000);
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let served = served(|_, _| {
        let mut head = b"HTTP/1.1 200 OK\r\n".to_vec();
        head.extend(b"x: ".iter().chain(&[b'y'; 200_000]));
        Some(head)
    });
    let mut link = Link::new(Door::Port(1));
    link.begin();
    assert!(matches!(link.send(&served, get()).await, Err(LinkError::Malformed(_))));
}

proptest! {
    #[test]
    fn any_bytes_are_a_reply_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300), plausible: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let reply = match plausible {
                true => [b"HTTP/1.1 200 OK\r\n".as_slice(), &bytes].concat(),
                false => bytes,
            };
            // One answer, and then the end of the connection.
            let served = Served::new(move |_, mut stream| {
                    let reply = reply.clone();
                    tokio::spawn(async move {
                        let _closed = stream.write_all(&reply).await;
                    });
            });
            let mut link = Link::new(Door::Port(1));
            link.begin();
            if let Ok(reply) = link.send(&served, get()).await {
                let _whole = reply.into_body().collect().await;
                link.finish();
            }
        });
    }
}
