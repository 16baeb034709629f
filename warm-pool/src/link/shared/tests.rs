use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::server::conn::http2 as server;
use hyper::service::service_fn;
use tokio::sync::Barrier;

use super::super::Link;
use super::super::tests::served::Served;
use super::*;

/// Answers with the head that it saw, when `together` calls are there; `/never` it does not answer.
fn telling(together: usize) -> Served {
    let there = Arc::new(Barrier::new(together));
    Served::new(move |_, stream| {
        let there = there.clone();
        let tell = service_fn(move |request: Request<Incoming>| {
            let there = there.clone();
            async move {
                let (head, _) = request.into_parts();
                match head.uri.path() {
                    "/never" => std::future::pending().await,
                    _ => there.wait().await,
                };
                let text = format!("{} {:?}", head.uri, head.headers);
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(text))))
            }
        });
        let io = TokioIo::new(stream);
        tokio::spawn(async move {
            let _ended = server::Builder::new(TokioExecutor::new())
                .serve_connection(io, tell)
                .await;
        });
    })
}

fn links(count: usize) -> Vec<Link> {
    let all = Arc::new(Shared::default());
    (0..count).map(|_| Link::sharing(Door::Port(1), all.clone())).collect()
}

fn get(target: &str) -> Request<RequestBody> {
    let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
    let request = Request::get(target).header("host", "x.localhost:80");
    request.header("connection", "upgrade").body(body).unwrap()
}

async fn read(link: &mut Link, served: &Served) -> Result<String, LinkError> {
    link.begin();
    let reply = link.send(served, get("/a?b=c")).await?;
    let body = reply.into_body().collect().await.unwrap().to_bytes();
    link.finish();
    Ok(String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test]
async fn calls_at_a_time_are_streams_of_one_connection() {
    let served = Arc::new(telling(8));
    let calls = links(8).into_iter().map(|mut link| {
        let served = served.clone();
        tokio::spawn(async move { read(&mut link, &served).await.unwrap() })
    });
    for call in calls.collect::<Vec<_>>() {
        let seen = call.await.unwrap();
        assert!(seen.starts_with("http://x.localhost:80/a?b=c "), "{seen}");
        assert!(
            seen.contains("\"te\": \"trailers\"") && !seen.contains("connection"),
            "{seen}"
        );
    }
    assert_eq!(served.connections(), 1);
}

#[tokio::test]
async fn a_connection_is_kept_until_it_is_given_up() {
    let served = telling(1);
    let mut links = links(2);
    for link in &mut links {
        read(link, &served).await.unwrap();
    }
    assert_eq!(served.connections(), 1);
    links[0].forget();
    read(&mut links[1], &served).await.unwrap();
    assert_eq!(served.connections(), 2);
}

#[tokio::test]
async fn an_abandoned_call_leaves_the_connection_to_the_others() {
    let served = telling(1);
    let mut links = links(2);
    links[0].begin();
    let never = links[0].send(&served, get("/never"));
    assert!(tokio::time::timeout(std::time::Duration::ZERO, never).await.is_err());
    let seen = read(&mut links[1], &served).await.unwrap();
    assert!(seen.contains("/a?b=c"), "{seen}");
    links[0].abandon();
    assert!(links[0].is_clean());
    read(&mut links[0], &served).await.unwrap();
    assert_eq!(served.connections(), 1);
}

#[tokio::test]
async fn a_server_of_another_protocol_is_an_error() {
    let served = Served::new(|_, mut stream| {
        tokio::spawn(async move {
            use tokio::io::AsyncWriteExt;
            let said = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n");
            said.await.unwrap();
        });
    });
    let mut link = links(1).remove(0);
    link.begin();
    assert!(matches!(link.send(&served, get("/")).await, Err(LinkError::Broken(_))));
}
