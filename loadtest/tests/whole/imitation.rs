//! A small real HTTP server with the product's headers and its evict endpoint; each function name is a behaviour.

use std::collections::HashMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Barrier;

/// Calls of `gate` that must be in flight together before any is answered.
const GATE: usize = 20;
/// Calls before the measured ones at 200 calls per second for 500 ms: one cold, five warm, ten of settling.
const BEFORE: u64 = 16;

pub(crate) struct Imitation {
    url: String,
    socket: PathBuf,
    state: Arc<State>,
    _dir: tempfile::TempDir,
}

struct State {
    counts: Mutex<Counts>,
    gate: Barrier,
}

#[derive(Default)]
struct Counts {
    calls: HashMap<String, u64>,
    /// The boot id of the instance, while there is one.
    instances: HashMap<String, u64>,
    boots: u64,
    evictions: u64,
}

impl Imitation {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("admin.sock");
        let state = Arc::new(State {
            counts: Mutex::default(),
            gate: Barrier::new(GATE),
        });
        let public = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", public.local_addr().unwrap());
        let admin = UnixListener::bind(&socket).unwrap();
        let shared = state.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = public.accept().await {
                let state = shared.clone();
                stream.set_nodelay(true).unwrap();
                let service = service_fn(move |request| answer(state.clone(), request));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        let shared = state.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = admin.accept().await {
                let state = shared.clone();
                let service = service_fn(move |request| evict(state.clone(), request));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self {
            url,
            socket,
            state,
            _dir: dir,
        }
    }

    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }

    pub(crate) fn warm(&self, function: &str, more: &[&str]) -> Vec<String> {
        warm(&self.url, function, more)
    }

    pub(crate) fn cold(&self, function: &str, more: &[&str]) -> Vec<String> {
        self.with_admin("cold", function, more)
    }

    pub(crate) fn compare(&self, function: &str, more: &[&str]) -> Vec<String> {
        self.with_admin("compare", function, more)
    }

    fn with_admin(&self, command: &str, function: &str, more: &[&str]) -> Vec<String> {
        let mut args = args(command, &self.url, function, more);
        args.extend(["--admin-socket".to_owned(), self.socket.to_str().unwrap().to_owned()]);
        args
    }

    /// Calls of `function` so far, warm-ups included.
    pub(crate) fn calls(&self, function: &str) -> u64 {
        self.state
            .counts
            .lock()
            .unwrap()
            .calls
            .get(function)
            .copied()
            .unwrap_or(0)
    }

    pub(crate) fn evictions(&self) -> u64 {
        self.state.counts.lock().unwrap().evictions
    }
}

pub(crate) fn warm(url: &str, function: &str, more: &[&str]) -> Vec<String> {
    args("warm", url, function, more)
}

fn args(command: &str, url: &str, function: &str, more: &[&str]) -> Vec<String> {
    let mut args = vec![command, "--url", url, "--function", function];
    args.extend(more);
    args.into_iter().map(str::to_owned).collect()
}

type Reply = Result<Response<Full<Bytes>>, Infallible>;

async fn answer(state: Arc<State>, request: Request<Incoming>) -> Reply {
    let function = request.uri().path().strip_prefix("/function/").unwrap().to_owned();
    let (calls, start, instance) = state.counts.lock().unwrap().call(&function);
    if function == "gate" && calls > BEFORE {
        state.gate.wait().await;
    }
    if function == "silent" {
        std::future::pending::<()>().await;
    }
    let status = match function.as_str() {
        "half-broken" if calls > BEFORE && calls % 2 == 0 => 500,
        "wants-body" if request.method() != "POST" || request.body().size_hint().exact() != Some(7) => 400,
        _ => 200,
    };
    let mut reply = Response::builder()
        .status(status)
        .header("x-fn-start", start)
        .header("x-fn-instance", instance.to_string())
        .header("server-timing", "queue;dur=0.5, handler;dur=2");
    if function == "hangs-up" && calls % 3 == 0 {
        reply = reply.header("connection", "close");
    }
    Ok(reply.body(Full::from("hello")).unwrap())
}

impl Counts {
    fn call(&mut self, function: &str) -> (u64, &'static str, u64) {
        let calls = self.calls.entry(function.to_owned()).or_default();
        *calls += 1;
        let calls = *calls;
        match function {
            "liar" => (calls, "cold", 1),
            "always-warm" => (calls, "warm", 1),
            "always-cold" => (calls, "cold", calls),
            _ => match self.instances.get(function) {
                Some(boot) => (calls, "warm", *boot),
                None => {
                    self.boots += 1;
                    self.instances.insert(function.to_owned(), self.boots);
                    (calls, "cold", self.boots)
                }
            },
        }
    }
}

async fn evict(state: Arc<State>, request: Request<Incoming>) -> Reply {
    let whole = request.uri().path_and_query().unwrap().as_str();
    let name = whole
        .strip_prefix("/v1/functions/")
        .and_then(|rest| rest.strip_suffix("/evict?all=true"));
    let (status, text) = match name {
        Some("unknown") | None => (404, r#"{"error":{"code":"not_found","message":"no such function"}}"#),
        Some(_) if request.method() != "POST" => (405, ""),
        Some(name) => {
            let mut counts = state.counts.lock().unwrap();
            counts.evictions += 1;
            counts.instances.remove(name);
            (200, r#"{"evicted":1}"#)
        }
    };
    Ok(Response::builder().status(status).body(Full::from(text)).unwrap())
}

/// A server that resets every connection as soon as a request has arrived.
pub(crate) async fn rude_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A socket closed with unread bytes is reset.
            tokio::spawn(async move { stream.peek(&mut [0]).await });
        }
    });
    url
}

/// An address at which nothing listens: no other test binds there, so the port can't be given away meanwhile.
pub(crate) async fn unused_address() -> String {
    let listener = TcpListener::bind("127.0.0.9:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}
