//! Flask, a WSGI app.

use tests::{Server, Source, packages};

const APP: &str = r#"
import time

from flask import Flask, Response, jsonify, request, url_for

app = Flask(__name__)


@app.post("/echo")
def echo():
    return Response(request.get_data(), content_type="application/octet-stream")


@app.get("/items/<id>")
def item(id):
    reply = jsonify(
        id=id,
        q=request.args.getlist("q"),
        headers=sum(name.lower().startswith("x-header-") for name in request.headers.keys()),
        cookies=request.cookies,
        host=request.host,
        scheme=request.scheme,
        address=request.remote_addr,
        twice=request.headers.get("x-twice"),
    )
    reply.set_cookie("one", "1")
    reply.set_cookie("two", "2")
    return reply


@app.get("/links/")
def links():
    return [url_for("item", id="seen", q=1, _external=True), url_for("links"), request.url]


@app.get("/flow")
def flow():
    return Response((f"{number}\n" for number in range(5)), content_type="text/plain")


@app.get("/slow")
def slow():
    def ticks():
        while True:
            yield "tick\n"
            time.sleep(3600)

    return Response(ticks(), content_type="text/event-stream")


@app.get("/fail")
def fail():
    raise ValueError("an error of the app")
"#;

#[tokio::test]
async fn flask_runs_without_a_server() {
    let packages = packages::pypi(&["flask==3.1.3"]).await;
    let server = Server::start().await;
    let source = Source::empty().tree(&packages).file("app.py", APP);
    server.deploy("flask", &source, &[]).await;
    super::drive(&server, "flask").await;
    super::is_forked(&server, "flask").await;
    let seen = super::ask(&server, "flask", "GET", "/items/x", super::many_headers(), Vec::new())
        .await
        .good()
        .json();
    assert_eq!(seen["twice"], "1,2, 3");
    assert_eq!(seen["host"], server.address());
    assert_eq!(
        (&seen["scheme"], &seen["address"]),
        (&"http".into(), &"127.0.0.1".into())
    );
    super::flows(&server, "flask").await;
    super::links(&server, "flask").await;
}
