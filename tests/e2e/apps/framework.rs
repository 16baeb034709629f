//! The Functions Framework of Python and of Node, with functions of requests and of CloudEvents.

use reqwest::header::{HeaderMap, HeaderName};
use tests::{Server, Source, packages, poll};

const PYTHON: &str = r#"
import functions_framework
from flask import Response


@functions_framework.errorhandler(KeyError)
def handle(error):
    return "no such key", 418


@functions_framework.http
def hello(request):
    if request.path == "/echo":
        return Response(request.get_data(), content_type="application/octet-stream")
    if request.path == "/flow":
        return Response((f"{number}\n" for number in range(5)), content_type="text/plain")
    if request.path == "/fail":
        raise ValueError("an error of the function")
    if request.path == "/key":
        raise KeyError("x")
    if not request.path.startswith("/items/"):
        return "nothing here", 404
    reply = Response(status=200)
    reply.set_cookie("one", "1")
    reply.set_cookie("two", "2")
    reply.content_type = "application/json"
    reply.set_data(functions_framework.json.dumps({
        "id": request.path.rpartition("/")[2],
        "q": request.args.getlist("q"),
        "headers": sum(name.lower().startswith("x-header-") for name in request.headers.keys()),
        "cookies": request.cookies,
    }))
    return reply


@functions_framework.cloud_event
def event(event):
    print("event", event["id"], event["type"], event["source"], event.data)
"#;

const NODE: &str = r#"
const functions = require('@google-cloud/functions-framework');
const { buffer } = require('node:stream/consumers');

functions.http('hello', async (req, res) => {
  if (req.path === '/echo') return res.type('application/octet-stream').send(req.rawBody ?? (await buffer(req)));
  if (req.path === '/flow') {
    for (let number = 0; number < 5; number += 1) res.write(`${number}\n`);
    return res.end();
  }
  if (req.path === '/fail') throw new Error('an error of the function');
  if (!req.path.startsWith('/items/')) return res.status(404).send('nothing here');
  res.cookie('one', '1').cookie('two', '2');
  res.json({
    id: decodeURIComponent(req.path.split('/').pop()),
    q: [req.query.q].flat(),
    headers: Object.keys(req.headers).filter((name) => name.startsWith('x-header-')).length,
    cookies: Object.fromEntries((req.headers.cookie ?? '').split('; ').filter(Boolean).map((one) => one.split('='))),
  });
});

functions.cloudEvent('event', (event) => {
  console.log('event', event.id, event.type, event.source, JSON.stringify(event.data));
});
"#;

const PYPI: &[&str] = &["functions-framework==3.10.2", "cloudevents==1.12.0"];
const NPM: &[&str] = &["@google-cloud/functions-framework@3.4.6"];

/// Deploys with a function chosen as the framework chooses it.
async fn deploy(server: &Server, source: Source, target: &str) {
    let manifest = format!("[env]\nFUNCTION_TARGET = \"{target}\"\n");
    server.deploy(target, &source.file("fn.toml", manifest), &[]).await;
}

#[tokio::test]
async fn functions_of_requests_run_in_python() {
    let server = Server::start().await;
    let source = Source::empty()
        .tree(&packages::pypi(PYPI).await)
        .file("main.py", PYTHON);
    deploy(&server, source, "hello").await;
    super::drive(&server, "hello").await;
    assert_eq!(super::get(&server, "hello", "/key").await.status, 418);
    assert_eq!(super::get(&server, "hello", "/robots.txt").await.status, 404);
}

#[tokio::test]
async fn functions_of_requests_run_in_node() {
    let server = Server::start().await;
    let source = Source::empty().tree(&packages::npm(NPM).await).file("index.js", NODE);
    deploy(&server, source, "hello").await;
    super::drive(&server, "hello").await;
    assert_eq!(super::get(&server, "hello", "/favicon.ico").await.status, 404);
}

#[tokio::test]
async fn functions_of_cloudevents_run_in_python() {
    let server = Server::start().await;
    let source = Source::empty()
        .tree(&packages::pypi(PYPI).await)
        .file("main.py", PYTHON);
    deploy(&server, source, "event").await;
    events(&server, "event 1 a.type /source {'n': 1}").await;
}

#[tokio::test]
async fn functions_of_cloudevents_run_in_node() {
    let server = Server::start().await;
    let source = Source::empty().tree(&packages::npm(NPM).await).file("index.js", NODE);
    deploy(&server, source, "event").await;
    events(&server, "event 1 a.type /source {\"n\":1}").await;
}

#[tokio::test]
async fn functions_without_a_decorator_are_called_as_the_signature_says() {
    let server = Server::start().await;
    let plain = "def hello(request):\n    return request.args.get('q', 'none')\n\n\ndef event(event):\n    print('event', event['id'], event['type'], event['source'], event.data)\n";
    let python = || async { Source::empty().tree(&packages::pypi(PYPI).await).file("main.py", plain) };
    deploy(&server, python().await, "hello").await;
    assert_eq!(super::get(&server, "hello", "/?q=seen").await.good().text(), "seen");
    let source = python()
        .await
        .file("fn.toml", "handler = \"main.event\"\nsignature = \"cloudevent\"\n");
    server.deploy("event", &source, &[]).await;
    events(&server, "event 1 a.type /source {'n': 1}").await;

    let script = "exports.event = (event) => { console.log('event', event.id, event.type, event.source, JSON.stringify(event.data)); };\n";
    let manifest = "handler = \"index.event\"\n[env]\nFUNCTION_SIGNATURE_TYPE = \"cloudevent\"\n";
    let source = Source::empty().tree(&packages::npm(NPM).await).file("index.js", script);
    server.deploy("event", &source.file("fn.toml", manifest), &[]).await;
    events(&server, "event 1 a.type /source {\"n\":1}").await;
}

/// Header lines.
type Lines<'a> = &'a [(&'static str, &'static str)];

/// Sends CloudEvents to the function `event`, good ones and bad ones. What a good one prints is `expected`.
async fn events(server: &Server, expected: &str) {
    let binary = [
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-type", "a.type"),
        ("ce-source", "/source"),
        ("content-type", "application/json"),
    ];
    let structured = r#"{"specversion":"1.0","id":"1","type":"a.type","source":"/source","data":{"n":1}}"#;
    let in_json = [("content-type", "application/cloudevents+json; charset=utf-8")];
    let in_batch = [("content-type", "application/cloudevents-batch+json")];
    let in_xml = [("content-type", "application/cloudevents+xml")];
    let batch = format!("[{structured}]");
    let without_source = structured.replace("source", "sauce");
    let newer = structured.replace("1.0", "9.0");
    let mut no_id = binary;
    no_id[1].0 = "x-id";
    let good: [(Lines<'_>, &str); 2] = [(&binary, r#"{"n":1}"#), (&in_json, structured)];
    for (round, (headers, body)) in good.into_iter().enumerate() {
        let reply = super::ask(server, "event", "POST", "/", map(headers), body.into()).await;
        assert!((200..300).contains(&reply.status), "{} {}", reply.status, reply.text());
        poll::until(expected, async || {
            let logs = server.fn_command(["logs", "event"]).await.good().stdout;
            (said(&logs, expected) > round).then_some(())
        })
        .await;
    }
    let bad: [(Lines<'_>, &str, u16); 9] = [
        (&in_json, "{\"specversion\"", 400),
        (&in_json, "[]", 400),
        (&in_json, &without_source, 400),
        (&in_json, &newer, 400),
        (&no_id, "{}", 400),
        (&in_batch, &batch, 415),
        (&in_batch, "[]", 415),
        (&in_xml, "<event/>", 415),
        (&[("content-type", "application/json")], "{}", 400),
    ];
    for (headers, body, status) in bad {
        let reply = super::ask(server, "event", "POST", "/", map(headers), body.into()).await;
        assert_eq!(reply.status, status, "{headers:?} {body}: {}", reply.text());
    }
}

/// How often the log has a text. It prints JSON, in which quotes are escaped.
fn said(logs: &str, expected: &str) -> usize {
    logs.matches(&expected.replace('"', "\\\"")).count()
}

fn map(headers: Lines<'_>) -> HeaderMap {
    let lines = headers.iter();
    lines
        .map(|(name, value)| (HeaderName::from_static(name), value.parse().expect("a value")))
        .collect()
}
