//! Instances that nobody calls are stopped, and continue with the next call.

use serde_json::Value;
use tests::{Reply, Server, Source, poll, skip};

/// Never sleeps, while it is not stopped.
const RESTLESS: &str = "\
import threading

turns = 0

def turn():
    global turns
    while True:
        turns += 1

threading.Thread(target=turn, daemon=True).start()

def handler(event, context):
    return {\"turns\": turns}
";

/// Whether this host can stop an instance.
pub(crate) async fn freezes(server: &Server) -> bool {
    let doctor = server.fn_command(["doctor"]).await;
    let report: Value = serde_json::from_str(&doctor.stdout).expect("one JSON document");
    let findings = report["findings"].as_array().expect("a list");
    findings
        .iter()
        .any(|finding| finding["name"] == "freeze" && finding["state"] == "ok")
}

async fn until_frozen(server: &Server, function: &str) {
    let labels = [("function", function), ("state", "frozen")];
    poll::until("a frozen instance", async || {
        (server.metrics().await.sum("fn_instances", &labels) == 1.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_instance_that_nobody_calls_uses_no_processor_and_continues_where_it_was() {
    let server = Server::start().await;
    if !freezes(&server).await {
        skip!("nothing can be frozen here");
    }
    server.deploy("restless", &Source::python(RESTLESS), &[]).await;
    server
        .deploy("other", &Source::python_body("    return 'ok'"), &[])
        .await;
    let first = server.call("restless").await.good();
    until_frozen(&server, "restless").await;

    let cpu = async || {
        server
            .metrics()
            .await
            .sum("fn_cpu_seconds_total", &[("function", "restless")])
    };
    let before = cpu().await;
    for _ in 0..200 {
        server.call("other").await.good();
    }
    let used = cpu().await - before;
    // It was stopped within this, and else would have used all of a processor during these calls.
    assert!(used < 0.005, "it stands still: {used} s");

    let next = server.call("restless").await.good();
    assert_eq!((next.start(), next.instance()), ("thawed", first.instance()));
    let turns = |reply: &Reply| reply.json()["turns"].as_u64().expect("a number");
    assert!(turns(&next) > turns(&first), "it goes on");
    server.call("restless").await.is_warm();
}

#[tokio::test]
async fn a_frozen_instance_can_be_thrown_out() {
    let server = Server::start().await;
    if !freezes(&server).await {
        skip!("nothing can be frozen here");
    }
    server
        .deploy("quiet", &Source::python_body("    return 'ok'"), &[])
        .await;
    let first = server.call("quiet").await.good();
    until_frozen(&server, "quiet").await;
    server.fn_command(["evict", "quiet"]).await.good();
    let next = server.call("quiet").await.good();
    next.is_cold();
    assert_ne!(next.instance(), first.instance());
}

#[tokio::test]
async fn the_old_connection_to_a_server_is_not_used_after_it_stood_still() {
    let server = Server::start().await;
    if !freezes(&server).await {
        skip!("nothing can be frozen here");
    }
    // It closes connections that are idle for a second, which it can't while it stands still.
    let app = crate::http::APP.replace("    protocol_version", "    timeout = 1\n    protocol_version");
    let source = Source::empty()
        .file("app.py", app)
        .file("Procfile", "web: python3 app.py\n");
    server.deploy("app", &source, &[]).await;
    let url = format!("{}/pid", server.function("app"));
    let first = server.client().get(&url).await.expect("the server answers").good();
    until_frozen(&server, "app").await;
    let next = server.client().get(&url).await.expect("the server answers").good();
    assert_eq!((next.start(), next.instance()), ("thawed", first.instance()));
}
