//! FastAPI, an ASGI app.

use tests::{Server, Source, packages, poll};

const APP: &str = r#"
import asyncio
import contextlib

from fastapi import BackgroundTasks, FastAPI, Request, Response
from fastapi.responses import StreamingResponse


@contextlib.asynccontextmanager
async def lifespan(app):
    yield {"opened": "at the start"}


app = FastAPI(lifespan=lifespan)


@app.post("/echo")
async def echo(request: Request):
    return Response(await request.body(), media_type="application/octet-stream")


@app.api_route("/items/{id}", methods=["GET", "HEAD"])
async def item(id: str, request: Request, response: Response):
    response.set_cookie("one", "1")
    response.set_cookie("two", "2")
    return {
        "id": id,
        "q": request.query_params.getlist("q"),
        "headers": sum(name.startswith("x-header-") for name in request.headers),
        "cookies": request.cookies,
        "twice": request.headers.getlist("x-twice"),
        "opened": request.state.opened,
        "url": str(request.url),
        "address": request.client.host,
    }


@app.get("/threads")
def threads():
    return "a thread of a pool"


@app.get("/flow")
def flow():
    return StreamingResponse((f"{number}\n" for number in range(5)), media_type="text/plain")


@app.get("/slow")
async def slow():
    async def ticks():
        while True:
            yield "tick\n"
            await asyncio.sleep(3600)

    return StreamingResponse(ticks(), media_type="text/event-stream")


@app.get("/links/")
async def links(request: Request):
    return [str(request.url_for("item", id="seen").include_query_params(q=1)), app.url_path_for("links").make_absolute_url(request.base_url).path, str(request.url)]


@app.get("/later")
async def later(tasks: BackgroundTasks):
    tasks.add_task(print, "what came after the reply")
    return "soon"


@app.get("/fail")
async def fail():
    raise ValueError("an error of the app")
"#;

#[tokio::test]
async fn fastapi_runs_without_a_server() {
    let packages = packages::pypi(&["fastapi==0.165.0"]).await;
    let server = Server::start().await;
    let source = Source::empty().tree(&packages).file("main.py", APP);
    server.deploy("fastapi", &source, &["--set", "concurrency=4"]).await;
    super::drive(&server, "fastapi").await;
    super::is_forked(&server, "fastapi").await;
    let path = "/items/x?q=1";
    let seen = super::ask(&server, "fastapi", "GET", path, super::many_headers(), Vec::new())
        .await
        .good()
        .json();
    assert_eq!(seen["twice"], serde_json::json!(["1", "2, 3"]));
    assert_eq!(seen["opened"], "at the start");
    assert_eq!(seen["url"], format!("{}/items/x?q=1", server.function("fastapi")));
    assert_eq!(seen["address"], "127.0.0.1");
    assert_eq!(
        super::get(&server, "fastapi", "/threads").await.good().text(),
        "\"a thread of a pool\""
    );
    assert_eq!(super::get(&server, "fastapi", "/later").await.good().text(), "\"soon\"");
    let socket = [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let headers = socket
        .iter()
        .map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")))
        .collect();
    let refused = super::ask(&server, "fastapi", "GET", "/items/x", headers, Vec::new()).await;
    assert_eq!(refused.status, 501, "{}", refused.text());
    for said in [
        "what came after the reply",
        "ValueError: an error of the app",
        "a websocket",
    ] {
        poll::until(said, async || {
            let logs = server.fn_command(["logs", "fastapi"]).await.good();
            logs.stdout.contains(said).then_some(())
        })
        .await;
    }
    super::flows(&server, "fastapi").await;
    super::links(&server, "fastapi").await;
}
