//! A whole server on sockets of its own, and a client of it.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use functions::bundle;
use gateway::server::Drain;
use gateway::{Opened, ServeConfig};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use warm_pool::Pool;
use warm_pool::launcher::Launcher;

use crate::bare::Bare;
use crate::puppet::Puppets;
use crate::wire::PATIENCE;

/// A server. Dropping it cuts its connections.
pub(crate) struct Platform {
    pub(crate) address: std::net::SocketAddr,
    pub(crate) puppets: Arc<Puppets>,
    pub(crate) drain: Drain,
    pub(crate) running: tokio::task::JoinHandle<()>,
    pub(crate) dir: TempDir,
}

/// A whole reply.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// `None` when it broke off.
    pub(crate) body: Option<Bytes>,
}

impl Reply {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone().expect("a whole body").to_vec()).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text()).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .unwrap_or_else(|| panic!("no {name} in {self:?}"))
            .to_str()
            .unwrap()
    }

    /// Checks that it is an error document.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{self:?} {:?}", self.body);
        let document = self.json();
        assert_eq!(document["error"]["code"], code, "{document}");
        assert_eq!(
            document["error"]["request_id"],
            self.header("x-fn-request-id"),
            "{document}"
        );
        document
    }
}

impl Platform {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut ServeConfig)) -> Self {
        let dir = TempDir::new().unwrap();
        Self::at(dir, change).await
    }

    /// A server over a directory that may hold the state of an earlier one.
    pub(crate) async fn at(dir: TempDir, change: impl FnOnce(&mut ServeConfig)) -> Self {
        let puppets = Arc::new(Puppets::default());
        let launcher = puppets.clone();
        Self::launching(dir, puppets, change, |_| launcher).await
    }

    /// A server whose instances are real interpreters and programs.
    pub(crate) async fn bare() -> Self {
        let launcher = |opened: &Opened| Arc::new(Bare::new(opened.store().clone(), opened.runtimes().clone()));
        Self::launching(TempDir::new().unwrap(), Arc::default(), |_| {}, launcher).await
    }

    async fn launching<L: Launcher>(
        dir: TempDir,
        puppets: Arc<Puppets>,
        change: impl FnOnce(&mut ServeConfig),
        launcher: impl FnOnce(&Opened) -> Arc<L>,
    ) -> Self {
        let mut config = ServeConfig::new(dir.path().join("state"), dir.path().join("admin.sock"));
        config.listen.set_port(0);
        change(&mut config);
        let opened = Opened::new(config).await.unwrap();
        let pool = Pool::with_launcher(launcher(&opened), Arc::new(opened.logs().clone()));
        let (address, drain) = (opened.address(), Drain::new());
        let running = tokio::spawn(opened.run(pool, json!({ "findings": [] }), drain.clone()));
        Self {
            address,
            puppets,
            drain,
            running,
            dir,
        }
    }

    /// Stops it in an orderly way and gives its directory back.
    pub(crate) async fn stop(self) -> TempDir {
        self.drain.begin();
        tokio::time::timeout(PATIENCE, self.running)
            .await
            .expect("it stops")
            .unwrap();
        self.dir
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("admin.sock")
    }

    /// Sends a request to the admin API.
    pub(crate) async fn admin(&self, method: &str, path: &str, body: impl Into<Bytes>) -> Reply {
        let stream = UnixStream::connect(self.socket()).await.unwrap();
        send(stream, request(method, path, body)).await
    }

    /// Sends a request over TCP.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Reply {
        send(TcpStream::connect(self.address).await.unwrap(), request).await
    }

    /// Calls a function with GET.
    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send(request("GET", path, "")).await
    }

    /// Packs and uploads a directory of these files, and returns its digest.
    pub(crate) async fn upload(&self, files: &[(&str, &str)]) -> String {
        let dir = TempDir::new().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::write(&path, text).unwrap();
            if text.starts_with("#!") {
                use std::os::unix::fs::PermissionsExt;
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            }
        }
        let mut archive = Vec::new();
        bundle::pack(dir.path(), &mut archive).unwrap();
        let reply = self.admin("POST", "/v1/bundles", archive).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()["digest"].as_str().unwrap().to_owned()
    }

    /// Deploys a Python handler (that no test runs as Python) with these settings.
    pub(crate) async fn deploy(&self, name: &str, manifest: Value) -> Reply {
        let digest = self
            .upload(&[("handler.py", "def handler(event, context):\n    return event\n")])
            .await;
        self.put(name, &json!({ "bundle": digest, "manifest": manifest })).await
    }

    /// Deploys a program.
    pub(crate) async fn deploy_program(&self, name: &str, manifest: Value) -> Reply {
        let digest = self.upload(&[("handler", "#!/bin/sh\ncat\n")]).await;
        self.put(name, &json!({ "bundle": digest, "manifest": manifest })).await
    }

    pub(crate) async fn put(&self, name: &str, document: &Value) -> Reply {
        self.admin("PUT", &format!("/v1/functions/{name}"), document.to_string())
            .await
    }

    /// The metrics' text.
    pub(crate) async fn metrics(&self) -> String {
        self.get("/metrics").await.text()
    }

    /// Waits until the metrics have a line, which they have after an event that nobody can await.
    pub(crate) async fn until_metrics_have(&self, line: &str) {
        let waited = async {
            while !self.metrics().await.contains(line) {
                tokio::task::yield_now().await;
            }
        };
        if tokio::time::timeout(PATIENCE, waited).await.is_err() {
            panic!("{line} never came in {}", self.metrics().await);
        }
    }
}

/// A request with a Host.
pub(crate) fn request(method: &str, path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let method: Method = method.parse().unwrap();
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost")
        .body(Full::new(body.into()))
        .unwrap()
}

async fn send<I: AsyncRead + AsyncWrite + Unpin + Send + 'static>(io: I, request: Request<Full<Bytes>>) -> Reply {
    let exchange = async {
        let (mut sender, connection) = http1::handshake(TokioIo::new(io)).await.unwrap();
        let connection = tokio::spawn(connection);
        let (head, body) = sender.send_request(request).await.unwrap().into_parts();
        let body = body.collect().await.ok().map(|body| body.to_bytes());
        drop(sender);
        connection.abort();
        Reply {
            status: head.status,
            headers: head.headers,
            body,
        }
    };
    tokio::time::timeout(PATIENCE, exchange).await.expect("an answer")
}
