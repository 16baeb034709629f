//! Node instances that begin in a process which was started before the function was known.

use std::collections::BTreeSet;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tests::{Reply, Server, Source, poll, processes};

const ON_DEMAND: &[&str] = &["--set", "scale.ahead=0"];

/// Waits until a process is parked, kills every instance that was used, and calls.
async fn fresh(server: &Server, name: &str) -> Reply {
    one_parked(server).await;
    server.fn_command(["evict", name]).await.good();
    let reply = server.call(name).await.good();
    reply.is_cold();
    reply
}

async fn parked(server: &Server) -> f64 {
    let metrics = server.metrics().await;
    metrics.sum("fn_parked_processes", &[("runtime", "node")])
}

async fn one_parked(server: &Server) {
    poll::until("a parked process", async || (parked(server).await >= 1.0).then_some(())).await;
}

#[tokio::test]
async fn none_is_parked_before_the_first_node_function_starts() {
    let server = Server::start().await;
    let source = Source::python_body("    return 'ok'");
    server.deploy("snake", &source, ON_DEMAND).await;
    server.call("snake").await.good();
    // A deploy runs the function for its check, and no call.
    server
        .deploy("node", &Source::node("export const handler = () => 'ok';"), ON_DEMAND)
        .await;
    assert_eq!(parked(&server).await, 0.0);
    assert_eq!(server.call("node").await.good().start(), "pooled");
    one_parked(&server).await;
}

#[tokio::test]
async fn a_function_can_not_tell_it_from_a_process_of_its_own() {
    let source = Source::node(
        "import os from 'node:os';\n\
         const loading = { env: { ...process.env }, cwd: process.cwd() };\n\
         export const handler = async (event, context) => ({\n\
           loading, env: { ...process.env }, cwd: process.cwd(), argv: process.argv, exec: process.execArgv,\n\
           host: os.hostname(), home: os.homedir(), umask: process.umask(), ids: [process.getuid(), process.getgid()],\n\
           handles: process.getActiveResourcesInfo(), globals: Object.getOwnPropertyNames(globalThis),\n\
           context: { ...context, awsRequestId: 0 },\n\
         });\n",
    );
    let server = Server::start().await;
    let args = [ON_DEMAND, &["--set", "env.GREETING=hello", "--set", "env.A=b"]].concat();
    server.deploy("same", &source, &args).await;
    let executed = server.call("same").await.good();
    assert_eq!(executed.start(), "pooled");
    let loaded = fresh(&server, "same").await;
    assert_eq!(loaded.start(), "ahead");
    assert_eq!(loaded.json(), executed.json());
    assert_ne!(loaded.instance(), executed.instance());
    server.call("same").await.is_warm();
}

#[tokio::test]
async fn no_two_functions_share_a_process() {
    let source = Source::node(
        "const found = globalThis.mark ?? null;\n\
         globalThis.mark = process.env.FN_FUNCTION;\n\
         export const handler = () => ({ found, mark: globalThis.mark, files: process.env.MINE });\n",
    );
    let server = Server::start().await;
    for name in ["one", "other"] {
        let mine = format!("env.MINE={name}");
        let args = [ON_DEMAND, &["--set", &mine]].concat();
        server.deploy(name, &source, &args).await;
        server.call(name).await.good();
    }
    let mut instances = BTreeSet::new();
    for _ in 0..3 {
        for name in ["one", "other"] {
            let reply = fresh(&server, name).await;
            assert_eq!(reply.start(), "ahead");
            assert!(
                instances.insert(reply.instance().to_owned()),
                "each has an id of its own"
            );
            let said = reply.json();
            assert_eq!(
                (&said["found"], &said["mark"], &said["files"]),
                (&Value::Null, &name.into(), &name.into()),
                "{said}"
            );
        }
    }
}

#[tokio::test]
async fn a_function_that_would_notice_is_executed() {
    let source = Source::node("export const handler = () => process.execArgv;");
    let server = Server::start().await;
    server.deploy("plain", &source, ON_DEMAND).await;
    server.call("plain").await.good();
    for (name, setting) in [
        ("small", "memory=128MiB"),
        ("wide", "concurrency=2"),
        ("zone", "env.TZ=Europe/Berlin"),
    ] {
        let args = [ON_DEMAND, &["--set", setting]].concat();
        server.deploy(name, &source, &args).await;
        server.call(name).await.good();
        assert_eq!(fresh(&server, name).await.start(), "pooled", "{setting}");
    }
    assert_eq!(fresh(&server, "plain").await.start(), "ahead");
}

#[tokio::test]
async fn a_handler_that_does_not_load_fails_in_the_same_way() {
    // What it was started with, which the process environment hides, tells the two kinds apart.
    let source = Source::node(
        "import { readFileSync } from 'node:fs';\n\
         console.log(readFileSync('/proc/self/environ', 'utf8').includes('FN_PARKED') ? 'was parked' : 'was executed');\n\
         throw new TypeError('not today');\n",
    );
    let server = Server::start().await;
    server
        .deploy("broken", &source, &["--no-check", "--set", "scale.ahead=0"])
        .await;
    let failure = async || {
        let reply = server.call("broken").await;
        assert_eq!(reply.error(502), "init_error");
        let mut error = reply.json()["error"].clone();
        error["request_id"].take();
        error
    };
    let executed = failure().await;
    one_parked(&server).await;
    let printed = poll::until("a failure in a parked process", async || {
        assert_eq!(failure().await, executed);
        let logs = server.fn_command(["logs", "broken"]).await.good().stdout;
        logs.contains("was parked").then_some(logs)
    })
    .await;
    assert!(printed.contains("was executed"), "{printed}");
    let lines = |what: &'static str| {
        let text = move |line: &str| line.find(what).map(|at| line[at..].to_owned());
        printed.lines().filter_map(text).collect::<BTreeSet<_>>()
    };
    assert_eq!(lines("[ERROR]").len(), 1, "both log the same: {printed}");
    assert_eq!(lines("at file:").len(), 1, "and the same frames: {printed}");
}

#[tokio::test]
async fn a_parked_process_that_was_killed_is_not_missed() {
    let server = Server::start().await;
    server
        .deploy("plain", &Source::node("export const handler = () => 'ok';"), ON_DEMAND)
        .await;
    server.call("plain").await.good();
    one_parked(&server).await;
    for process in processes::family(server.pid()) {
        if process.pid != server.pid() {
            // It may have gone with the one before it.
            let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
        }
    }
    poll::until("a call that is answered again", async || {
        let reply = server.call("plain").await;
        (reply.status == 200).then_some(())
    })
    .await;
    assert_eq!(fresh(&server, "plain").await.start(), "ahead", "others were parked");
}
