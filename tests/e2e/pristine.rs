//! `reuse = "request"`: no call finds anything of another one.

use std::collections::BTreeSet;

use tests::{Server, Source};

const PRISTINE: &[&str] = &["--set", "reuse=request"];

/// A handler that reports what it finds in every place that it can write to, and leaves something in each.
const LEAVES_TRACES: &str = "import os

kept = []


def handler(event, context):
    found = {
        'memory': list(kept),
        'tmp': os.listdir('/tmp'),
        'shm': os.listdir('/dev/shm'),
        'env': os.environ.get('LEFT_BEHIND'),
        'cwd': os.getcwd(),
        'umask': os.umask(0o77),
    }
    kept.append(1)
    os.environ['LEFT_BEHIND'] = 'here'
    for directory in ('/tmp', '/dev/shm'):
        with open(directory + '/left_behind', 'w') as file:
            file.write('here')
    os.chdir('/tmp')
    return found
";

#[tokio::test]
async fn nothing_that_a_call_leaves_is_seen_by_the_next() {
    let server = Server::start().await;
    server
        .deploy("pristine", &Source::python(LEAVES_TRACES), PRISTINE)
        .await;
    let first = server.call("pristine").await.good();
    let clean = first.json();
    assert_eq!(clean["memory"], serde_json::json!([]), "{clean}");
    assert_eq!(clean["tmp"], serde_json::json!([]), "{clean}");
    assert_eq!(clean["shm"], serde_json::json!([]), "{clean}");
    assert_eq!(clean["env"], serde_json::Value::Null, "{clean}");
    // More than a template forks before it stands, so that executed and forked instances are both among them.
    for _ in 0..20 {
        let reply = server.call("pristine").await.good();
        reply.is_cold();
        assert_eq!(reply.json(), clean);
    }
}

#[tokio::test]
async fn without_it_the_next_call_sees_what_was_left() {
    let server = Server::start().await;
    server.deploy("reused", &Source::python(LEAVES_TRACES), &[]).await;
    server.call("reused").await.good();
    let next = server.call("reused").await.good();
    next.is_warm();
    let found = next.json();
    assert_eq!(found["tmp"], serde_json::json!(["left_behind"]), "{found}");
    assert_eq!(found["env"], "here", "{found}");
}

#[tokio::test]
async fn calls_in_a_row_are_all_answered_each_by_another_instance() {
    let server = Server::start().await;
    server
        .deploy("pristine", &Source::python_body("    return os.getpid()"), PRISTINE)
        .await;
    let mut instances = BTreeSet::new();
    for _ in 0..50 {
        let reply = server.call("pristine").await.good();
        reply.is_cold();
        assert!(instances.insert(reply.instance().to_owned()), "it served before");
    }
    let metrics = server.metrics().await;
    let crashes = [("function", "pristine"), ("reason", "crashed")];
    assert_eq!(metrics.sum("fn_cold_starts_total", &crashes), 0.0);
}

#[tokio::test]
async fn invocations_at_the_same_time_in_one_instance_are_refused_at_deploy() {
    let server = Server::start().await;
    let source = Source::python_body("    return 'ok'");
    let path = source.path().to_str().expect("a path of the test is text");
    let refused = server
        .fn_command(["deploy", path, "--set", "reuse=request", "--set", "concurrency=2"])
        .await;
    assert_ne!(refused.code, Some(0), "{}", refused.all());
    assert!(refused.all().contains("Set concurrency to 1"), "{}", refused.all());
}
