//! The examples: what their files say, and those that need no download run.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use functions::payload::{RequestHead, event};
use functions::{FunctionName, Manifest, Runtime};
use http::{HeaderMap, Method, Version};
use serde_json::{Value, json};

use crate::host::Instance;
use crate::web;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}

fn text(name: &str, file: &str) -> String {
    std::fs::read_to_string(example(name).join(file)).unwrap()
}

fn get(query: Option<&str>) -> Value {
    let name: FunctionName = "hello".parse().unwrap();
    let headers = HeaderMap::new();
    let head = RequestHead {
        function: &name,
        request_id: "req-1",
        method: &Method::GET,
        path: "/",
        query,
        version: Version::HTTP_11,
        headers: &headers,
        host: "hello.localhost",
        scheme: "http",
        source_ip: Ipv4Addr::LOCALHOST.into(),
        trace_id: None,
        time: jiff::Timestamp::UNIX_EPOCH,
    };
    serde_json::from_slice(&event(&head, b"")).unwrap()
}

#[test]
fn every_manifest_is_valid_and_every_directory_is_what_it_looks_like() {
    let mut seen = 0;
    for entry in std::fs::read_dir(example("")).unwrap() {
        let path = entry.unwrap().path();
        if !path.is_dir() {
            continue;
        }
        seen += 1;
        let manifest = Manifest::from_toml(&std::fs::read_to_string(path.join("fn.toml")).unwrap()).unwrap();
        let name = manifest.name.clone().unwrap();
        // The compiled program is not there before it is built.
        if path.ends_with("hello-rust") {
            continue;
        }
        let detected = manifest.detect(&path).unwrap();
        manifest.resolve(&name, &detected).unwrap();
        let (runtime, handler) = match path.file_name().unwrap().to_str().unwrap() {
            "hello-python" | "resize-python" => (Runtime::Python, "handler.handler"),
            "functions-framework-python" => (Runtime::Python, "main.hello"),
            "functions-framework-node" => (Runtime::Node, "index.hello"),
            "fastapi-python" => (Runtime::Python, "main.app"),
            "flask-python" => (Runtime::Python, "app.app"),
            "hello-node" | "api-node" | "express-node" | "fetch-node" => (Runtime::Node, "index.handler"),
            "hello-shell" => (Runtime::Stdio, "handler.sh"),
            "hello-http" => (Runtime::Http, "python3 app.py"),
            "hello-openfaas" => (Runtime::Http, "python3 index.py"),
            "hello-lambda" => (Runtime::Lambda, "bootstrap"),
            "hello-fdk" => (Runtime::Fdk, "fdk /function/func.py handler"),
            other => panic!("{other} is not known here"),
        };
        assert_eq!((detected.runtime, detected.handler.as_str()), (runtime, handler));
    }
    assert_eq!(seen, 16);
}

#[test]
fn hello_python_and_node_greet() {
    for (runtime, name, file, handler) in [
        (Runtime::Python, "hello-python", "handler.py", "handler.handler"),
        (Runtime::Node, "hello-node", "index.mjs", "index.handler"),
    ] {
        let source = text(name, file);
        let mut instance = Instance::start_with(runtime, handler, &[(file, &source)], &[("GREETING", "Hello")]);
        instance.ready();
        assert_eq!(
            instance.call(&get(None)).json(),
            json!({"message": "Hello, world!"}),
            "{name}"
        );
        assert_eq!(
            instance.call(&get(Some("name=Ada+L"))).json(),
            json!({"message": "Hello, Ada L!"}),
            "{name}"
        );
    }
}

#[test]
fn fetch_node_greets() {
    let source = text("fetch-node", "index.mjs");
    let mut instance = web::app(Runtime::Node, "index.handler", "index.mjs", &source);
    let greeting = |event| -> Value { serde_json::from_slice(&instance.call(&event).streamed().1).unwrap() };
    assert_eq!(
        [get(None), get(Some("name=Ada+L"))].map(greeting),
        [json!({"message": "Hello, world!"}), json!({"message": "Hello, Ada L!"})]
    );
}

#[test]
fn hello_shell_greets() {
    let script = text("hello-shell", "handler.sh");
    let mut instance = Instance::stdio(&script, 1);
    instance.ready();
    instance.send_call(0, &[("REQUEST_METHOD", "POST"), ("PATH_INFO", "/x")], b"Ada");
    assert_eq!(instance.answer(0).streamed().1, b"Hello, Ada! You sent a POST to /x.\n");
    instance.send_call(0, &[("REQUEST_METHOD", "GET"), ("PATH_INFO", "/")], b"");
    assert_eq!(instance.answer(0).streamed().1, b"Hello, world! You sent a GET to /.\n");
}
