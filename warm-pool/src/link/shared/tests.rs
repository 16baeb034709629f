use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::server::conn::http2 as server;
use hyper::service::service_fn;
use tokio::io::DuplexStream;
use tokio::sync::Barrier;

use super::super::Link;
use super::*;
use crate::driver::launcher::{Ending, Exit, Later, Stream, Usage};

/// A process whose server is a task of the test.
struct Served {
    connections: AtomicUsize,
    serve: Box<dyn Fn(DuplexStream) + Send + Sync>,
}

impl Confined for Served {
    fn kill(&self) {}

    fn gone(&self) -> Later<'_, Ending> {
        Box::pin(async {
            Ending {
                exit: Exit::Unknown,
                oom_kills: 0,
            }
        })
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }

    fn connect<'a>(&'a self, _door: &'a Door) -> Later<'a, io::Result<Box<dyn Stream>>> {
        Box::pin(async {
            let (ours, theirs) = tokio::io::duplex(64 << 10);
            self.connections.fetch_add(1, Ordering::SeqCst);
            (self.serve)(theirs);
            Ok(Box::new(ours) as Box<dyn Stream>)
        })
    }
}

impl Served {
    fn new(serve: impl Fn(DuplexStream) + Send + Sync + 'static) -> Self {
        Self {
            connections: AtomicUsize::new(0),
            serve: Box::new(serve),
        }
    }

    /// Answers with the head that it saw, when `together` calls are there; `/never` it does not answer.
    fn telling(together: usize) -> Self {
        let there = Arc::new(Barrier::new(together));
        Self::new(move |stream| {
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

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
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
    let served = Arc::new(Served::telling(8));
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
    let served = Served::telling(1);
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
    let served = Served::telling(1);
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
    let served = Served::new(|mut stream| {
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
