//! The same way with real interpreters and real programs at its end.

use std::collections::HashSet;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::platform::{Platform, Reply, request};

const COUNTER: &str = "
import json
calls = 0
def handler(event, context):
    global calls
    calls += 1
    print('call', calls)
    if event['rawPath'] == '/raise':
        raise ValueError('secret words')
    if event['rawPath'] == '/exit':
        import os
        os._exit(3)
    if event['rawPath'] == '/hang':
        import time
        time.sleep(3600)
    return {'calls': calls, 'body': event.get('body'), 'id': context.aws_request_id}
";

async fn deploy(platform: &Platform, files: &[(&str, &str)], manifest: Value) -> Reply {
    let bundle = platform.upload(files).await;
    platform
        .put("hello", &json!({ "bundle": bundle, "manifest": manifest }))
        .await
}

#[tokio::test]
async fn python_is_cold_then_warm_and_fails_as_it_should() {
    let platform = Platform::bare().await;
    let deployed = deploy(&platform, &[("handler.py", COUNTER)], json!({ "timeout": "5s" })).await;
    assert_eq!(deployed.status, 200, "{deployed:?}");
    assert!(
        deployed.json()["check"]["runtime"]
            .as_str()
            .unwrap()
            .starts_with("python3.")
    );
    let first = platform.get("/function/hello").await;
    let reply = first.json();
    assert_eq!(
        (&reply["calls"], &reply["id"]),
        (&json!(1), &json!(first.header("x-fn-request-id")))
    );
    let second = platform.get("/function/hello").await;
    assert_eq!(
        (second.json()["calls"].as_u64(), second.header("x-fn-start")),
        (Some(2), "warm")
    );
    assert_eq!(second.header("x-fn-instance"), first.header("x-fn-instance"));
    let raised = platform.get("/function/hello/raise").await;
    assert!(!raised.refused(502, "function_error").to_string().contains("secret"));
    let path = format!("/v1/functions/hello/logs?request={}", raised.header("x-fn-request-id"));
    let log = platform.admin("GET", &path, "").await.text();
    assert_eq!(
        log.matches("ValueError: secret words").count(),
        2,
        "a line of the shim and one of the traceback: {log}"
    );
    assert!(log.contains("call 3"), "{log}");
    platform
        .get("/function/hello/exit")
        .await
        .refused(502, "function_exited");
    let fresh = platform.get("/function/hello").await;
    assert_eq!(fresh.json()["calls"], 1);
    assert_ne!(fresh.header("x-fn-instance"), first.header("x-fn-instance"));
}

#[tokio::test]
async fn python_that_can_not_be_loaded_is_not_deployed() {
    let platform = Platform::bare().await;
    for (source, kind) in [
        (
            "def handler(event, context)\n    return 1\n",
            "Runtime.UserCodeSyntaxError",
        ),
        (
            "import no_such_module\ndef handler(event, context): pass\n",
            "Runtime.ImportModuleError",
        ),
    ] {
        let refused = deploy(&platform, &[("handler.py", source)], json!({}))
            .await
            .refused(422, "check_failed");
        assert_eq!(refused["error"]["details"]["errorType"], kind, "{refused}");
        assert!(refused["error"]["details"]["output"].is_string(), "{refused}");
    }
    platform.get("/function/hello").await.refused(404, "function_not_found");
}

#[tokio::test]
async fn node_answers_and_streams() {
    let platform = Platform::bare().await;
    let source =
        "export const handler = async (event) => ({ statusCode: 200, body: event.rawPath + (event.body ?? '') });\n";
    let deployed = deploy(&platform, &[("index.mjs", source)], json!({})).await;
    assert_eq!(deployed.status, 200, "{deployed:?}");
    let call = http::Request::post("/function/hello/a")
        .header("host", "localhost")
        .header("content-type", "text/plain")
        .body("b".into())
        .unwrap();
    assert_eq!(platform.send(call).await.text(), "/ab");
}

#[tokio::test]
async fn a_program_gets_the_body_and_gives_it_back() {
    let platform = Platform::bare().await;
    let source = "#!/bin/sh\n[ \"$Http_Path\" = /fail ] && exit 7\necho \"$REQUEST_METHOD $PATH_INFO\"\nexec cat\n";
    let deployed = deploy(&platform, &[("handler", source)], json!({})).await;
    assert_eq!(deployed.status, 200, "{deployed:?}");
    let body = "x".repeat(3 * 1024 * 1024);
    let reply = platform.send(request("POST", "/function/hello/a", body.clone())).await;
    assert_eq!(reply.text(), format!("POST /a\n{body}"));
    let failed = platform.get("/function/hello/fail").await;
    failed.refused(502, "function_error");
    let path = format!("/v1/functions/hello/logs?request={}", failed.header("x-fn-request-id"));
    assert!(platform.admin("GET", &path, "").await.text().contains('7'));
    let next = platform.get("/function/hello/b").await;
    assert_eq!((next.text().as_str(), next.header("x-fn-start")), ("GET /b\n", "warm"));
}

#[tokio::test]
async fn a_burst_to_a_cold_function_loses_nothing() {
    let platform = Platform::bare().await;
    let deployed = deploy(
        &platform,
        &[("handler.py", COUNTER)],
        json!({ "scale": { "max": 4 }, "queue": 200 }),
    )
    .await;
    assert_eq!(deployed.status, 200, "{deployed:?}");
    let replies = join_all((0..200).map(|_| platform.get("/function/hello"))).await;
    assert!(
        replies.iter().all(|reply| reply.status == 200),
        "{:?}",
        replies.iter().find(|reply| reply.status != 200)
    );
    let instances: HashSet<&str> = replies.iter().map(|reply| reply.header("x-fn-instance")).collect();
    assert!((1..=4).contains(&instances.len()), "{instances:?}");
    let ids: HashSet<&str> = replies.iter().map(|reply| reply.header("x-fn-request-id")).collect();
    assert_eq!(ids.len(), 200);
    for reply in &replies {
        assert_eq!(
            reply.json()["id"],
            reply.header("x-fn-request-id"),
            "a reply goes to its own request"
        );
    }
}
