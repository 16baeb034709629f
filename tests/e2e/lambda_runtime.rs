//! Functions that are runtimes of Lambda: they ask for their invocations.

use std::path::{Path, PathBuf};

use futures_util::future::join_all;
use tests::{Reply, Server, Source, program, skip};

const BOOTSTRAP: &str = include_str!("lambda_runtime/bootstrap");

async fn serving(set: &[&str]) -> Server {
    let server = Server::start().await;
    let source = Source::empty().executable("bootstrap", BOOTSTRAP);
    server.deploy("rt", &source, set).await;
    server
}

async fn get(server: &Server, path: &str) -> Reply {
    let url = format!("{}{path}", server.function("rt"));
    server.client().get(&url).await.expect("the server answers")
}

#[tokio::test]
async fn a_bootstrap_is_cold_then_warm_and_told_all_of_its_invocation() {
    let server = serving(&[]).await;
    let url = format!("{}/head?a=1", server.function("rt"));
    let headers = [
        ("x-amzn-trace-id", "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1"),
        ("cookie", "c=d"),
    ];
    let cold = server
        .client()
        .post_with(&url, &headers, "h\u{e9}llo")
        .await
        .unwrap()
        .good();
    cold.is_cold();
    let said = cold.json();
    assert_eq!(said["id"], cold.header("x-fn-request-id"));
    assert_eq!(said["headers"]["Lambda-Runtime-Trace-Id"], headers[0].1);
    assert_eq!(said["headers"]["Content-Type"], "application/json");
    assert_eq!(
        said["headers"]["Lambda-Runtime-Invoked-Function-Arn"],
        "arn:aws:lambda:us-east-1:000000000000:function:rt"
    );
    assert!(
        said["headers"]["Lambda-Runtime-Deadline-Ms"]
            .as_str()
            .unwrap()
            .parse::<u64>()
            .unwrap()
            > 1_600_000_000_000
    );
    let event = &said["event"];
    assert_eq!(
        (event["version"].as_str(), event["rawQueryString"].as_str()),
        (Some("2.0"), Some("a=1"))
    );
    assert_eq!(event["cookies"][0], "c=d");
    assert_eq!(event["requestContext"]["http"]["method"], "POST");

    let warm = get(&server, "/x").await.good();
    warm.is_warm();
    assert_eq!(warm.instance(), cold.instance());
    let logs = server.fn_command(["logs", "rt"]).await.good().stdout;
    assert!(
        logs.contains("serving /x") && logs.contains(warm.header("x-fn-request-id")),
        "{logs}"
    );
}

#[tokio::test]
async fn replies_are_read_as_those_of_handlers() {
    let server = serving(&[]).await;
    let tea = get(&server, "/http").await;
    assert_eq!(
        (tea.status, tea.body.as_slice(), tea.header("x-a")),
        (418, &b"\0tea"[..], "b")
    );
    assert_eq!(tea.headers.get_all("set-cookie").iter().count(), 2);
    assert_eq!(get(&server, "/not-json").await.error(502), "bad_reply");
    let failed = get(&server, "/error").await;
    assert_eq!(failed.error(502), "function_error");
    assert!(!failed.text().contains("the inner secret"));
    assert_eq!(
        get(&server, "/x").await.good().start(),
        "warm",
        "none of that cost the instance"
    );
    for (size, status) in [(6 << 20, 200), ((6 << 20) + 100, 200), ((6 << 20) + 101, 502)] {
        let large = get(&server, &format!("/large?{size}")).await;
        assert_eq!(large.status, status, "{size}");
    }
    assert_eq!(get(&server, "/kept").await.good().json()["large"], 413);
}

#[tokio::test]
async fn what_is_not_allowed_is_refused_with_its_name() {
    let server = serving(&[]).await;
    get(&server, "/x").await.good();
    let said = get(&server, "/states").await.good().json();
    let expected = serde_json::json!({
        "early": 403, "ping": 200, "restore": 200, "elsewhere": 404,
        "twice": 403, "wrong": [400, "InvalidRequestID"], "late": 403, "again": 403,
    });
    assert_eq!(said, expected);
    assert_eq!(get(&server, "/mode").await.error(502), "function_error");
    assert_eq!(get(&server, "/kept").await.good().json()["mode"], 400);
}

#[tokio::test]
async fn streams_flow_and_their_errors_are_seen() {
    let server = serving(&[]).await;
    let stream = get(&server, "/stream").await;
    assert_eq!((stream.status, stream.text().as_str()), (201, "one,two,three"));
    assert_eq!(
        (stream.header("x-a"), stream.header("content-type")),
        ("b", "text/plain")
    );
    assert_eq!(stream.headers.get_all("set-cookie").iter().count(), 2);
    let raw = get(&server, "/raw").await.good();
    assert_eq!(
        (raw.text().as_str(), raw.header("content-type")),
        ("just bytes", "text/csv")
    );
    let url = format!("{}/broken", server.function("rt"));
    assert!(
        server.client().get(&url).await.is_err(),
        "a reply that broke off never looks complete"
    );
    assert_eq!(get(&server, "/headless").await.error(502), "bad_reply");
    let kept = get(&server, "/kept").await.good();
    kept.is_warm();
    assert_eq!(kept.json()["stream"], "HTTP/1.1 202");
}

#[tokio::test]
async fn a_runtime_that_ends_or_is_late_is_replaced() {
    let server = serving(&["--set", "timeout=1s"]).await;
    let first = get(&server, "/x").await.good();
    assert_eq!(get(&server, "/exit").await.error(502), "function_exited");
    let second = get(&server, "/x").await.good();
    assert_ne!(second.instance(), first.instance());
    assert_eq!(get(&server, "/sleep").await.error(504), "timeout");
    let third = get(&server, "/x").await.good();
    assert_ne!(third.instance(), second.instance());
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_the_end_of_its_call_alone_unless_its_process_ended() {
    let server = serving(&[]).await;
    let first = get(&server, "/x").await.good();
    assert_eq!(get(&server, "/cut").await.error(502), "function_error");
    assert_eq!(get(&server, "/x").await.good().instance(), first.instance());
    assert_eq!(get(&server, "/cut-and-exit").await.error(502), "function_exited");
    assert_ne!(get(&server, "/x").await.good().instance(), first.instance());
}

#[tokio::test]
async fn a_runtime_that_can_not_start_says_why() {
    let server = Server::start().await;
    let source = Source::empty().executable("bootstrap", BOOTSTRAP);
    let deploy = async |handler: &str| {
        let set = format!("handler={handler}");
        server
            .try_deploy("rt", source.path(), &["--set", "runtime=lambda", "--set", &set])
            .await
    };
    let said = deploy("fails").await;
    assert!(said.all().contains("Runtime.NoLuck: no luck today"), "{}", said.all());
    let said = deploy("ends").await;
    assert!(said.all().contains("exited with code 4"), "{}", said.all());
}

#[tokio::test]
async fn its_environment_is_that_of_lambda() {
    let server = serving(&["--set", "env.LEVEL=debug"]).await;
    let env = get(&server, "/env").await.good().json();
    for (name, value) in [
        ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001"),
        ("AWS_LAMBDA_FUNCTION_NAME", "rt"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/rt"),
        ("AWS_REGION", "us-east-1"),
        ("LAMBDA_TASK_ROOT", "/var/task"),
        ("LAMBDA_RUNTIME_DIR", "/var/runtime"),
        ("_HANDLER", "bootstrap"),
        ("LEVEL", "debug"),
    ] {
        assert_eq!(env[name], value, "{name}");
    }
}

/// The runtime client that AWS itself publishes, unmodified.
fn awslambdaric(handler: &str) -> Source {
    Source::empty()
        .executable(
            "bootstrap",
            "#!/bin/sh\nexec /usr/bin/python3 -m awslambdaric \"$_HANDLER\"\n",
        )
        .file("requirements.txt", "awslambdaric==4.2.2\n")
        .file("app.py", handler)
        .file(
            "fn.toml",
            "runtime = \"lambda\"\nhandler = \"app.handler\"\nmemory = \"512MiB\"\ntimeout = \"30s\"\n",
        )
}

#[tokio::test]
async fn awslambdaric_runs_unmodified() {
    let handler = r#"
import json, os

calls = 0


def handler(event, context):
    global calls
    calls += 1
    if event["rawPath"] == "/raise":
        raise ValueError("the inner secret")
    print("called", context.aws_request_id)
    left = context.get_remaining_time_in_millis()
    body = {"calls": calls, "id": context.aws_request_id, "arn": context.invoked_function_arn, "name": context.function_name, "left": left, "body": event.get("body")}
    return {"statusCode": 200, "headers": {"content-type": "application/json"}, "cookies": ["a=1", "b=2"], "body": json.dumps(body)}
"#;
    let server = Server::start().await;
    server.deploy("rt", &awslambdaric(handler), &[]).await;
    let cold = server.post("rt", "h\u{e9}llo").await.good();
    cold.is_cold();
    let said = cold.json();
    assert_eq!((said["calls"].as_u64(), said["name"].as_str()), (Some(1), Some("rt")));
    assert_eq!(said["id"], cold.header("x-fn-request-id"));
    assert!(
        said["left"].as_u64().is_some_and(|left| left > 0 && left <= 30_000),
        "{said}"
    );
    assert_eq!(cold.headers.get_all("set-cookie").iter().count(), 2);
    assert_eq!(get(&server, "/raise").await.error(502), "function_error");
    let warm = get(&server, "/").await.good();
    warm.is_warm();
    assert_eq!(warm.json()["calls"], 3);
    let replies = join_all((0..6).map(|_| get(&server, "/"))).await;
    assert!(replies.into_iter().all(|reply| reply.good().json()["calls"].is_u64()));
    let logs = server.fn_command(["logs", "rt"]).await.good().stdout;
    assert!(logs.contains("the inner secret") && logs.contains("called "), "{logs}");
}

/// Where clients are kept that are built for these tests.
fn clients() -> PathBuf {
    match std::env::var_os("FN_TEST_CLIENTS") {
        Some(dir) => PathBuf::from(dir),
        None => tests::server::binary().with_file_name("test-clients"),
    }
}

/// The program of `lambda_runtime/crate`, on the runtime client for Rust that AWS publishes. It is built once beside the build and kept there.
async fn rust_bootstrap() -> Vec<u8> {
    let target = clients().join("lambda-runtime-crate");
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/e2e/lambda_runtime/crate/Cargo.toml");
    let target_dir = target.to_str().expect("the place of the build has a name of text");
    let words = [
        "build",
        "--quiet",
        "--locked",
        "--manifest-path",
        manifest,
        "--target-dir",
        target_dir,
    ];
    program::run("cargo", words).await.good();
    std::fs::read(target.join("debug/bootstrap")).expect("cargo has built it")
}

#[tokio::test]
async fn the_crate_lambda_runtime_runs_unmodified() {
    let server = Server::start().await;
    let source = Source::empty()
        .executable("bootstrap", rust_bootstrap().await)
        .file("fn.toml", "timeout = \"10s\"\n");
    server.deploy("rt", &source, &[]).await;
    let url = server.function("rt");
    let trace = [("x-amzn-trace-id", "Root=1-5759e988-bd862e3fe1be46a994272793")];
    let cold = server
        .client()
        .post_with(&url, &[trace[0], ("content-type", "text/plain")], "body")
        .await
        .unwrap()
        .good();
    cold.is_cold();
    let said = cold.json();
    assert_eq!(said["id"], cold.header("x-fn-request-id"));
    assert_eq!(said["arn"], "arn:aws:lambda:us-east-1:000000000000:function:rt");
    assert_eq!(
        (said["trace"].as_str(), said["name"].as_str()),
        (Some(trace[0].1), Some("rt"))
    );
    assert_eq!(
        (said["memory"].as_u64(), said["event"]["body"].as_str()),
        (Some(256), Some("body"))
    );
    assert!(
        said["deadline"]
            .as_u64()
            .is_some_and(|deadline| deadline > 1_600_000_000_000),
        "{said}"
    );
    let failed = get(&server, "/fail").await;
    assert_eq!(failed.error(502), "function_error");
    assert!(!failed.text().contains("the inner secret"));
    get(&server, "/").await.good().is_warm();
}

/// The runtime client for Node that AWS publishes. It is built once beside the build and kept there.
async fn aws_lambda_ric() -> PathBuf {
    let built = clients().join("aws-lambda-ric-3.3.0");
    if !built.join("built").exists() {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/e2e/lambda_runtime/aws_lambda_ric.sh");
        program::run("/bin/sh", [script.as_ref(), built.as_os_str()])
            .await
            .good();
    }
    built
}

#[tokio::test]
async fn aws_lambda_ric_runs_unmodified() {
    if !Path::new("/usr/include/node/node_api.h").exists() {
        skip!("no headers of Node are installed here, and aws-lambda-ric is built from source");
    }
    let handler = r#"
let calls = 0;
exports.handler = async (event, context) => {
    calls += 1;
    if (event.rawPath === "/raise") throw new TypeError("the inner secret");
    console.log("called", context.awsRequestId);
    const left = context.getRemainingTimeInMillis();
    return { calls, id: context.awsRequestId, arn: context.invokedFunctionArn, left, trace: process.env._X_AMZN_TRACE_ID };
};
"#;
    let server = Server::start().await;
    let exec = "#!/bin/sh\nexec /usr/bin/node node_modules/aws-lambda-ric/bin/index.mjs \"$_HANDLER\"\n";
    let source = Source::empty()
        .executable("bootstrap", exec)
        .file("app.js", handler)
        .file(
            "fn.toml",
            "runtime = \"lambda\"\nhandler = \"app.handler\"\nmemory = \"512MiB\"\ntimeout = \"30s\"\n",
        )
        .tree(&aws_lambda_ric().await);
    server.deploy("rt", &source, &[]).await;
    let trace = [("x-amzn-trace-id", "Root=1-5759e988-bd862e3fe1be46a994272793")];
    let cold = server.client().post_with(&server.function("rt"), &trace, "").await;
    let cold = cold.unwrap().good();
    cold.is_cold();
    let said = cold.json();
    assert_eq!(
        (said["calls"].as_u64(), said["trace"].as_str()),
        (Some(1), Some(trace[0].1))
    );
    assert_eq!(said["id"], cold.header("x-fn-request-id"));
    assert!(
        said["left"].as_u64().is_some_and(|left| left > 0 && left <= 30_000),
        "{said}"
    );
    assert_eq!(get(&server, "/raise").await.error(502), "function_error");
    let warm = get(&server, "/").await.good();
    warm.is_warm();
    assert_eq!(warm.json()["calls"], 3);
    let logs = server.fn_command(["logs", "rt"]).await.good().stdout;
    assert!(logs.contains("the inner secret") && logs.contains("called"), "{logs}");
}
