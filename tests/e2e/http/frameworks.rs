//! Apps of the usual frameworks, unchanged, with their dependencies installed by `fn deploy`.

use reqwest::Method;
use tests::{Server, Source};

use super::ask;

/// Deploys an app, and sees that it answers, takes a body, and is one process for two calls.
async fn runs(source: &Source) {
    let server = Server::start().await;
    server
        .deploy("app", source, &["--set", "memory=512MiB", "--set", "timeout=60s"])
        .await;
    let hello = ask(&server, Method::GET, "/hello/you?q=a%20b", &[], Vec::new())
        .await
        .good();
    hello.is_cold();
    let said = hello.json();
    assert_eq!((said["name"].as_str(), said["q"].as_str()), (Some("you"), Some("a b")));
    assert!(hello.header("content-type").starts_with("application/json"));
    let json = [("content-type", "application/json")];
    let echo = ask(&server, Method::POST, "/echo", &json, br#"{"a":[1,"\u00e9"]}"#.to_vec()).await;
    echo.is_warm();
    assert_eq!(echo.json()["a"][1], "é");
    assert_eq!(echo.instance(), hello.instance());
    assert_eq!(ask(&server, Method::GET, "/nowhere", &[], Vec::new()).await.status, 404);
}

#[tokio::test]
async fn flask_below_gunicorn() {
    let app = r#"
from flask import Flask, request

app = Flask(__name__)


@app.get("/hello/<name>")
def hello(name):
    return {"name": name, "q": request.args["q"]}


@app.post("/echo")
def echo():
    return request.json
"#;
    let source = Source::empty()
        .file("app.py", app)
        .file("requirements.txt", "flask==3.1.3\ngunicorn\n")
        .file("Procfile", "web: gunicorn --bind :$PORT --threads 4 app:app\n");
    runs(&source).await;
}

#[tokio::test]
async fn fastapi_below_uvicorn() {
    let app = r#"
from fastapi import FastAPI, Request

app = FastAPI()


@app.get("/hello/{name}")
async def hello(name: str, q: str):
    return {"name": name, "q": q}


@app.post("/echo")
async def echo(request: Request):
    return await request.json()
"#;
    let source = Source::empty()
        .file("main.py", app)
        .file("requirements.txt", "fastapi\nuvicorn\n")
        .file("Procfile", "web: uvicorn main:app --host 0.0.0.0 --port $PORT\n");
    runs(&source).await;
}

/// A package whose app is started by `node server.js`.
fn node(dependency: &str, version: &str, server: &str) -> Source {
    let package = format!(r#"{{"name": "app", "private": true, "dependencies": {{"{dependency}": "{version}"}}}}"#);
    Source::empty()
        .file("package.json", package)
        .file("server.js", server)
        .file("fn.toml", "[http]\ncommand = [\"node\", \"server.js\"]\n")
}

#[tokio::test]
async fn express() {
    let server = r#"
const express = require("express");
const app = express();
app.use(express.json());
app.get("/hello/:name", (req, res) => res.json({ name: req.params.name, q: req.query.q }));
app.post("/echo", (req, res) => res.json(req.body));
app.listen(process.env.PORT);
"#;
    runs(&node("express", "^5", server)).await;
}

#[tokio::test]
async fn fastify() {
    let server = r#"
const app = require("fastify")();
app.get("/hello/:name", async (req) => ({ name: req.params.name, q: req.query.q }));
app.post("/echo", async (req) => req.body);
app.listen({ port: Number(process.env.PORT), host: "0.0.0.0" });
"#;
    runs(&node("fastify", "^5", server)).await;
}
