//! A directory, a server on a socket in it, and the command with nothing of the tester's environment.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tempfile::TempDir;

/// What one request brought.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) route: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Seen {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// One answer: a status, headers and a body.
pub(crate) type Reply = (u16, Vec<(&'static str, &'static str)>, String);

/// The answers by `METHOD /path?query`, and what was asked.
#[derive(Clone, Default)]
struct Book {
    replies: Arc<Mutex<BTreeMap<String, Reply>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    /// The one document on standard output.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// Checks the code and that every text stands in what people read.
    #[track_caller]
    pub(crate) fn says(&self, code: i32, texts: &[&str]) -> &Self {
        assert_eq!(self.code, code, "{self:?}");
        for text in texts {
            assert!(
                self.out.contains(text) || self.err.contains(text),
                "'{text}' is not in {self:?}"
            );
        }
        self
    }
}

/// The world of one test. Dropping it removes the directory and stops the server.
pub(crate) struct World {
    home: TempDir,
    book: Book,
    env: Vec<(String, String)>,
    _server: Option<tokio::runtime::Runtime>,
}

impl World {
    /// A world without a server.
    pub(crate) fn silent() -> Self {
        World {
            home: TempDir::new().unwrap(),
            book: Book::default(),
            env: Vec::new(),
            _server: None,
        }
    }

    /// A world with a server that knows `GET /v1/info` and nothing else yet.
    pub(crate) fn new() -> Self {
        let mut world = World::silent();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let guard = runtime.enter();
        let listener = tokio::net::UnixListener::bind(world.socket()).unwrap();
        drop(guard);
        let app = axum::Router::new().fallback(answer).with_state(world.book.clone());
        runtime.spawn(async move { axum::serve(listener, app).await });
        world._server = Some(runtime);
        world.on(
            "GET /v1/info",
            200,
            &json!({ "version": "0.1.0", "report": { "findings": [] } }),
        );
        world
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.home.path().join("admin.sock")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Sets a variable of the command.
    pub(crate) fn env(&mut self, name: &str, value: impl Into<String>) {
        self.env.push((name.into(), value.into()));
    }

    /// The server answers a route with a document.
    pub(crate) fn on(&self, route: &str, status: u16, document: &Value) {
        self.reply(
            route,
            (status, vec![("content-type", "application/json")], document.to_string()),
        );
    }

    /// The server answers a route with anything.
    pub(crate) fn reply(&self, route: &str, reply: Reply) {
        self.book.replies.lock().unwrap().insert(route.to_owned(), reply);
    }

    /// The server takes bundles and deploys `name`.
    pub(crate) fn takes_deploys_of(&self, name: &str) {
        self.on(
            "POST /v1/bundles",
            200,
            &json!({ "digest": "d", "bytes": 1, "files": 1 }),
        );
        let url = format!("http://127.0.0.1:8080/function/{name}");
        let document = json!({ "name": name, "revision": 3, "url": url, "check": { "init_us": 1234 } });
        self.on(&format!("PUT /v1/functions/{name}"), 200, &document);
    }

    /// The requests of a route, a prefix of `METHOD /path`.
    pub(crate) fn seen(&self, route: &str) -> Vec<Seen> {
        self.book
            .seen
            .lock()
            .unwrap()
            .iter()
            .filter(|seen| seen.route.starts_with(route))
            .cloned()
            .collect()
    }

    /// Writes a file below the directory, executable when it begins like a script.
    pub(crate) fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        if content.starts_with("#!") {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        path
    }

    /// Runs the command line, with `{}` for the directory.
    pub(crate) fn run(&self, line: &str) -> Ended {
        self.run_with(line, b"")
    }

    /// Runs the command line with something on its standard input.
    pub(crate) fn run_with(&self, line: &str, input: &[u8]) -> Ended {
        let home = self.home.path().display().to_string();
        let words = line
            .split_whitespace()
            .map(|word| word.replace("{}", &home).replace('~', " "));
        let mut child = command()
            .args(words)
            .current_dir(self.home.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.home.path())
            .env("FN_ADMIN_SOCKET", self.socket())
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that does not read its input closes it early, which is its right.
        let _ = child.stdin.take().unwrap().write_all(input);
        let output = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ended {
            code: output.status.code().unwrap(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this file is where the tests start the command"
)]
fn command() -> Command {
    Command::new(Path::new(env!("CARGO_BIN_EXE_fn")))
}

async fn answer(State(book): State<Book>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let route = format!("{method} {uri}");
    book.seen.lock().unwrap().push(Seen {
        route: route.clone(),
        headers,
        body,
    });
    let reply = book.replies.lock().unwrap().get(&route).cloned();
    let Some((status, headers, body)) = reply else {
        let mut document = json!({ "error": { "code": "function_not_found", "message": "no function has this name", "request_id": "r1" } });
        // A refused call is answered as every caller is, without advice for operators.
        if !uri.path().contains("/invoke") {
            document["error"]["hint"] = json!("See which there are: fn list");
        }
        return (StatusCode::NOT_FOUND, axum::Json(document)).into_response();
    };
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    response.body(Body::from(body)).unwrap()
}
