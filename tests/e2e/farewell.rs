//! How an instance that did nothing wrong ends: it is asked to, and has some time for it.

use nix::sys::signal::Signal;
use tests::{Server, Source, poll};

/// Says goodbye when it is asked to end, or hears nothing.
const APP: &str = "
import os, signal, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'here')

def goodbye(*_):
    print('goodbye', flush=True)
    os._exit(0)

signal.signal(signal.SIGTERM, signal.SIG_IGN if os.environ.get('DEAF') else goodbye)
ThreadingHTTPServer(('', int(os.environ['PORT'])), Handler).serve_forever()
";

fn app(toml: &str) -> Source {
    let toml = format!("{toml}\n[http]\ncommand = [\"python3\", \"app.py\"]\n");
    Source::empty().file("app.py", APP).file("fn.toml", toml)
}

async fn said_goodbye(server: &Server, name: &str) {
    poll::until("a goodbye in the log", async || {
        let logs = server.fn_command(["logs", name]).await.good();
        logs.all().contains("goodbye").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_server_of_an_older_revision_is_asked_to_end() {
    let server = Server::start().await;
    server.deploy("polite", &app(""), &[]).await;
    server.call("polite").await.good();
    server.deploy("polite", &app("timeout = \"29s\""), &[]).await;
    said_goodbye(&server, "polite").await;
    assert_eq!(server.call("polite").await.good().revision(), 2);
}

#[tokio::test]
async fn a_server_that_nobody_calls_is_asked_to_end_also_when_it_was_frozen() {
    let server = Server::start().await;
    server.deploy("idle", &app("idle = \"11s\""), &[]).await;
    server.call("idle").await.good();
    said_goodbye(&server, "idle").await;
    server.scaled_to_zero("idle").await;
}

#[tokio::test]
async fn a_server_that_hears_nothing_is_killed_when_its_grace_is_over() {
    let server = Server::start().await;
    let deaf = app("[env]\nDEAF = \"1\"\n");
    server
        .deploy("deaf", &deaf, &["--set", "http.grace=100ms", "--set", "scale.max=1"])
        .await;
    let old = server.call("deaf").await.good().instance().to_owned();
    server
        .deploy("deaf", &deaf, &["--set", "http.grace=200ms", "--set", "scale.max=1"])
        .await;
    // There is room for one: it comes when the old one is gone.
    let new = server.call("deaf").await.good();
    assert_ne!(new.instance(), old);
}

#[tokio::test]
async fn everybody_is_asked_to_end_when_the_whole_server_stops() {
    let server = Server::start().await;
    server.deploy("polite", &app(""), &[]).await;
    let deaf = app("[env]\nDEAF = \"1\"\n");
    server.deploy("deaf", &deaf, &["--set", "http.grace=100ms"]).await;
    for name in ["polite", "deaf"] {
        server.call(name).await.good();
    }
    server.signal(Signal::SIGTERM);
    let (code, place) = server.end().await;
    assert_eq!(code, Some(0));
    let log = std::fs::read_to_string(place.log()).unwrap();
    assert!(!log.contains("are not gone yet"), "{log}");
    let server = Server::start_in(place, &[]).await;
    said_goodbye(&server, "polite").await;
}

#[tokio::test]
async fn a_runtime_of_lambda_is_asked_as_well() {
    let server = Server::start().await;
    let bootstrap = "#!/usr/bin/python3
import os, signal, urllib.request
def goodbye(*_):
    print('goodbye', flush=True)
    os._exit(0)
signal.signal(signal.SIGTERM, goodbye)
base = 'http://' + os.environ['AWS_LAMBDA_RUNTIME_API'] + '/2018-06-01/runtime/invocation/'
while True:
    with urllib.request.urlopen(base + 'next') as event:
        id = event.headers['Lambda-Runtime-Aws-Request-Id']
        event.read()
    urllib.request.urlopen(urllib.request.Request(base + id + '/response', b'\"here\"')).read()
";
    let source = Source::empty().executable("bootstrap", bootstrap);
    server.deploy("runtime", &source, &[]).await;
    server.call("runtime").await.good();
    server.deploy("runtime", &source, &["--timeout", "29s"]).await;
    said_goodbye(&server, "runtime").await;
}
