//! Functions of the Fn Project, below the FDKs that are published for them, unmodified.

use tests::{Server, Source};

/// What a function of either language answers: its own status and headers, and what it was told.
async fn answers(source: &Source) {
    let server = Server::start().await;
    server.deploy("hello", source, &["--set", "memory=512MiB"]).await;
    let url = format!("{}/a/b?c=d%20e", server.function("hello"));
    let headers = [("content-type", "text/plain"), ("x-asked", "yes")];
    let cold = server
        .client()
        .post_with(&url, &headers, "h\u{e9}llo")
        .await
        .expect("the server answers");
    assert_eq!(cold.status, 201, "{}", cold.text());
    assert!(!["", "warm", "thawed"].contains(&cold.start()), "{}", cold.start());
    assert_eq!(
        (cold.header("x-answered"), cold.header("content-type")),
        ("so", "application/json")
    );
    assert!(
        !cold.headers.keys().any(|name| name.as_str().starts_with("fn-")),
        "{:?}",
        cold.headers
    );
    let said = cold.json();
    assert_eq!(
        (said["body"].as_str(), said["asked"].as_str()),
        (Some("h\u{e9}llo"), Some("yes"))
    );
    assert_eq!(
        (said["method"].as_str(), said["name"].as_str()),
        (Some("POST"), Some("hello"))
    );
    let asked = said["url"].as_str().unwrap_or_default();
    assert!(asked.ends_with("/a/b?c=d%20e"), "{said}");
    assert_eq!(said["id"], cold.header("x-fn-request-id"));

    let warm = server.client().post(&url, "again").await.expect("the server answers");
    assert_eq!((warm.status, warm.start()), (201, "warm"));
    assert_eq!(warm.json()["body"], "again");
    assert_eq!(warm.instance(), cold.instance());

    let failed = server.client().post(&url, "fail").await.expect("the server answers");
    assert_eq!(failed.error(502), "function_error");
    assert!(!failed.text().contains("the inner secret"), "{}", failed.text());
    assert_eq!(
        server
            .client()
            .post(&url, "on")
            .await
            .expect("the server answers")
            .start(),
        "warm"
    );
    let large: Vec<u8> = vec![b'x'; 1 << 20];
    let reply = server.client().post(&url, large).await.expect("the server answers");
    assert_eq!(reply.json()["body"].as_str().map(str::len), Some(1 << 20));
}

#[tokio::test]
async fn the_fdk_for_python() {
    let func = r#"
import json
from fdk import response


def handler(ctx, data=None):
    body = data.getvalue().decode()
    if body == "fail":
        raise ValueError("the inner secret")
    said = {"body": body, "method": ctx.Method(), "url": ctx.RequestURL(), "name": ctx.FnID(), "id": ctx.CallID(), "asked": ctx.HTTPHeaders().get("x-asked")}
    return response.Response(ctx, response_data=json.dumps(said), status_code=201, headers={"Content-Type": "application/json", "X-Answered": "so"})
"#;
    let yaml = "schema_version: 20180708\nname: hello\nruntime: python\nentrypoint: /python/bin/fdk /function/func.py handler\n";
    let source = Source::empty()
        .file("func.py", func)
        .file("func.yaml", yaml)
        .file("requirements.txt", "fdk==0.1.128\n");
    answers(&source).await;
}

#[tokio::test]
async fn the_fdk_for_node() {
    let func = r#"
const fdk = require("@fnproject/fdk");
fdk.handle((input, ctx) => {
  const body = input.toString();
  if (body === "fail") throw new Error("the inner secret");
  const http = ctx.httpGateway;
  http.statusCode = 201;
  http.setResponseHeader("X-Answered", "so");
  ctx.responseContentType = "application/json";
  return { body, method: http.method, url: http.requestURL, name: ctx.fnID, id: ctx.callID, asked: http.getHeader("X-Asked") };
}, { inputMode: "buffer" });
"#;
    let package = r#"{"name": "hello", "private": true, "dependencies": {"@fnproject/fdk": "0.0.76"}}"#;
    let source = Source::empty()
        .file("func.js", func)
        .file(
            "func.yaml",
            "schema_version: 20180708\nname: hello\nruntime: node\nentrypoint: node func.js\n",
        )
        .file("package.json", package);
    answers(&source).await;
}

#[tokio::test]
async fn a_function_without_its_socket_says_so() {
    let server = Server::start().await;
    let source = Source::empty().file(
        "fn.toml",
        "runtime = \"fdk\"\nhandler = \"sleep 60\"\ntimeout = \"1s\"\n",
    );
    let said = server.try_deploy("hello", source.path(), &[]).await;
    assert!(
        said.all().contains("did not listen on the unix socket /tmp/lsnr.sock"),
        "{}",
        said.all()
    );
    let source = Source::empty().file("fn.toml", "runtime = \"fdk\"\n");
    let said = server.try_deploy("hello", source.path(), &[]).await;
    assert!(said.all().contains("func.yaml"), "{}", said.all());
}
