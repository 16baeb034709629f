//! The main job: deploy, call cold, call warm, evict, scale to zero, start again, deploy anew under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tests::processes;
use tests::{Server, Source, poll};

/// Answers with its own pid and how often this process was called.
fn counting_python() -> Source {
    Source::python(
        "import os\n\ncalls = 0\n\n\ndef handler(event, context):\n    global calls\n    calls += 1\n    return {'pid': os.getpid(), 'calls': calls}\n",
    )
}

fn counting_node() -> Source {
    Source::node("let calls = 0;\nexport const handler = async (event) => ({ pid: process.pid, calls: ++calls });\n")
}

async fn one_process_serves_until_it_is_evicted(source: &Source) {
    let server = Server::start().await;
    let revision = server.deploy("counting", source, &[]).await;
    assert_eq!(revision, 1);

    let cold = server.call("counting").await;
    cold.is_cold();
    assert_eq!(cold.json()["calls"], 1);
    assert_eq!(cold.revision(), 1);
    assert_eq!(
        cold.instance().len(),
        32,
        "a boot id has 32 hexadecimal digits: {:?}",
        cold.instance()
    );
    assert!(!cold.header("x-fn-request-id").is_empty());
    assert!(
        cold.header("server-timing").contains("handler;dur="),
        "{:?}",
        cold.headers
    );

    let warm = server.call("counting").await;
    warm.is_warm();
    assert_eq!(warm.json()["calls"], 2, "the same process counts on");
    assert_eq!(warm.instance(), cold.instance());
    assert_ne!(warm.header("x-fn-request-id"), cold.header("x-fn-request-id"));

    server.fn_command(["evict", "counting", "--all"]).await.good();
    let again = server.call("counting").await;
    again.is_cold();
    assert_eq!(again.json()["calls"], 1, "a new process counts anew");
    assert_ne!(again.instance(), cold.instance());

    let metrics = server.metrics().await;
    let reason = |reason| metrics.sum("fn_cold_starts_total", &[("function", "counting"), ("reason", reason)]);
    assert_eq!((reason("first"), reason("evicted")), (1.0, 1.0));
    assert_eq!(metrics.sum("fn_invocations_total", &[("function", "counting")]), 3.0);
}

#[tokio::test]
async fn python_is_cold_then_warm_then_cold_after_evict() {
    one_process_serves_until_it_is_evicted(&counting_python()).await;
}

#[tokio::test]
async fn node_is_cold_then_warm_then_cold_after_evict() {
    one_process_serves_until_it_is_evicted(&counting_node()).await;
}

#[tokio::test]
async fn commonjs_and_sync_handlers_of_node_work() {
    let server = Server::start().await;
    let source = Source::empty().file("index.js", "exports.handler = (event) => ({ path: event.rawPath });\n");
    server.deploy("old-style", &source, &[]).await;
    assert!(server.call("old-style").await.good().json()["path"].is_string());
}

#[tokio::test]
async fn a_shell_script_runs_once_for_each_call_in_a_warm_slot() {
    let server = Server::start().await;
    server
        .deploy("shell", &Source::shell("cat; echo \" and $REQUEST_METHOD\""), &[])
        .await;
    let cold = server.post("shell", "hello").await;
    cold.is_cold();
    assert_eq!(cold.text().trim(), "hello and POST");
    let warm = server.post("shell", "again").await;
    warm.is_warm();
    assert_eq!(warm.text().trim(), "again and POST");
}

#[tokio::test]
async fn a_function_answers_at_its_host_name_too() {
    let server = Server::start().await;
    let source = Source::python_body("    return {'path': event['rawPath'], 'query': query}");
    server.deploy("named", &source, &[]).await;
    let port = server
        .address()
        .rsplit(':')
        .next()
        .expect("an address has a port")
        .to_owned();
    let request = format!("GET /a/b?x=1 HTTP/1.1\r\nHost: named.localhost:{port}\r\nConnection: close\r\n\r\n");
    let reply = tests::raw::exchange(server.address(), request.as_bytes()).await.good();
    assert_eq!(reply.json()["path"], "/a/b");
    assert_eq!(reply.json()["query"]["x"], "1");
}

#[tokio::test]
async fn an_exception_is_kept_from_the_outside() {
    let server = Server::start().await;
    server
        .deploy(
            "raises",
            &Source::python_body("    raise ValueError('the inner secret')"),
            &[],
        )
        .await;
    let reply = server.call("raises").await;
    assert_eq!(reply.error(502), "function_error");
    assert!(!reply.text().contains("the inner secret"), "{}", reply.text());
    let logs = server.fn_command(["logs", "raises"]).await.good();
    assert!(
        logs.stdout.contains("the inner secret"),
        "its author finds it in the logs: {}",
        logs.all()
    );

    let server = Server::start_in(tests::Place::new(), &["--expose-errors"]).await;
    server
        .deploy(
            "raises",
            &Source::python_body("    raise ValueError('the inner secret')"),
            &[],
        )
        .await;
    let reply = server.call("raises").await;
    assert_eq!(reply.status, 502);
    assert_eq!(reply.json()["errorType"], "ValueError");
    assert!(
        reply.json()["errorMessage"]
            .as_str()
            .is_some_and(|text| text.contains("the inner secret"))
    );
    assert!(reply.json()["stackTrace"].is_array());
}

#[tokio::test]
async fn an_idle_function_scales_to_zero_and_starts_again() {
    let server = Server::start().await;
    let marker = processes::marker("idle");
    let source = Source::python_body(&format!(
        "    if 'mark' in query:\n        subprocess.Popen(['{marker}', '1000'], executable='/bin/sleep')\n    return 'ok'"
    ));
    server
        .deploy("sleepy", &source, &["--set", "idle=1s", "--set", "scale.keep=nothing"])
        .await;
    let url = format!("{}?mark=1", server.function("sleepy"));
    let first = server.client().get(&url).await.expect("the function answers");
    first.is_cold();
    server.scaled_to_zero("sleepy").await;
    poll::until("the end of every process of the idle function", async || {
        processes::marked(&marker).is_empty().then_some(())
    })
    .await;
    let again = server.call("sleepy").await;
    again.is_cold();
    assert_ne!(again.instance(), first.instance());
    let metrics = server.metrics().await;
    assert_eq!(
        metrics.sum(
            "fn_cold_starts_total",
            &[("function", "sleepy"), ("reason", "scaled_to_zero")]
        ),
        1.0
    );
}

#[tokio::test]
async fn a_deploy_while_calls_run_loses_none_and_the_old_revision_drains() {
    let server = Arc::new(Server::start().await);
    let body =
        |version: u64| Source::python_body(&format!("    time.sleep(0.02)\n    return {{'version': {version}}}"));
    server.deploy("changing", &body(1), &["--set", "scale.max=4"]).await;
    let old = server.call("changing").await;
    old.is_cold();

    let stop = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (server, stop) = (Arc::clone(&server), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut replies = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    replies.push(server.call("changing").await);
                }
                replies
            })
        })
        .collect();
    assert_eq!(server.deploy("changing", &body(2), &["--set", "scale.max=4"]).await, 2);
    let new = server.call("changing").await.good();
    assert_eq!(
        new.revision(),
        2,
        "the deploy has returned, so new calls reach the new revision"
    );
    assert_ne!(new.instance(), old.instance());
    stop.store(true, Ordering::Relaxed);

    for caller in callers {
        for reply in caller.await.expect("a caller does not panic") {
            assert_eq!(reply.status, 200, "lost while the revision changed: {}", reply.text());
            assert_eq!(
                reply.json()["version"].as_u64(),
                Some(reply.revision()),
                "code and revision belong together"
            );
        }
    }
    let new = server.call("changing").await.good();
    assert_eq!(new.json()["version"], 2);
}

#[tokio::test]
async fn the_command_lists_shows_invokes_and_removes() {
    let server = Server::start().await;
    server
        .deploy(
            "one",
            &Source::python_body("    return {'body': event.get('body'), 'env': os.environ.get('COLOUR')}"),
            &["--env", "COLOUR=red"],
        )
        .await;
    assert!(server.fn_command(["list"]).await.good().stdout.contains("\"one\""));
    let shown = server.fn_command(["show", "one"]).await.good();
    assert_eq!(shown.json()["name"], "one");
    let invoked = server.fn_command(["invoke", "one", "-d", "hello"]).await.good();
    assert!(invoked.stdout.contains("red"), "{}", invoked.all());
    server.fn_command(["rm", "one"]).await.good();
    assert_eq!(server.call("one").await.error(404), "function_not_found");
    assert_eq!(
        server.fn_command(["show", "one"]).await.code,
        Some(4),
        "not found has an exit code of its own"
    );
}

#[tokio::test]
async fn what_init_writes_can_be_deployed() {
    let server = Server::start().await;
    for (runtime, signature) in [
        ("python", "event"),
        ("python", "wsgi"),
        ("python", "asgi"),
        ("python", "http"),
        ("node", "event"),
        ("node", "http"),
        ("node", "fetch"),
        ("stdio", "auto"),
        ("http", "auto"),
        ("lambda", "auto"),
        ("fdk", "auto"),
    ] {
        let name = format!("{runtime}-{signature}");
        initialised(&server, runtime, signature, &name).await;
        let url = format!("{}?name=Ada", server.function(&name));
        // What has no query gets the name as the body.
        let cold = match runtime {
            "fdk" => server.client().post(&url, "Ada").await,
            _ => server.client().get(&url).await,
        };
        let cold = cold.expect("the function answers").good();
        cold.is_cold();
        let text = if runtime == "stdio" {
            "Hello from GET /"
        } else {
            "Hello, Ada!"
        };
        assert!(cold.text().contains(text), "{name}: {}", cold.text());
        let word = if runtime == "stdio" { "saying" } else { "Ada" };
        if runtime != "fdk" {
            let logs = server.fn_command(["logs", &name]).await.good().stdout;
            assert!(logs.contains(word), "{name}: {logs}");
        }
    }
}

#[tokio::test]
async fn what_init_writes_for_events_receives_them() {
    let server = Server::start().await;
    for runtime in ["python", "node"] {
        initialised(&server, runtime, "cloudevent", runtime).await;
        let headers = [
            ("content-type", "application/json"),
            ("ce-specversion", "1.0"),
            ("ce-id", "1"),
            ("ce-type", "made"),
            ("ce-source", "/me"),
        ];
        let url = server.function(runtime);
        let reply = server.client().post_with(&url, &headers, "{\"n\": 1}").await;
        let reply = reply.expect("the function answers");
        assert!((200..300).contains(&reply.status), "{runtime}: {}", reply.text());
        let logs = server.fn_command(["logs", runtime]).await.good().stdout;
        assert!(logs.contains("received made from /me"), "{runtime}: {logs}");
    }
}

/// Deploys what `fn init` writes.
async fn initialised(server: &Server, runtime: &str, signature: &str, name: &str) {
    let dir = Source::empty();
    let path = dir.join("new");
    let path = path.to_str().expect("temporary paths are text");
    let init = ["init", "--runtime", runtime, "--signature", signature, path];
    server.fn_command(init).await.good();
    server.try_deploy(name, path.as_ref(), &[]).await.good();
}

#[tokio::test]
async fn stdout_and_stderr_of_a_call_are_found_by_its_request() {
    let server = Server::start().await;
    let source = Source::python_body(
        "    print('said', query['n'])\n    print('cried', query['n'], file=sys.stderr)\n    return 'ok'",
    );
    server.deploy("talks", &source, &[]).await;
    let mut requests = Vec::new();
    for number in ["1", "2"] {
        let url = format!("{}?n={number}", server.function("talks"));
        requests.push(server.client().get(&url).await.expect("the function answers").good());
    }
    let id = requests[1].header("x-fn-request-id");
    let logs = server
        .fn_command(["logs", "talks", "--request", id])
        .await
        .good()
        .stdout;
    assert!(logs.contains("said 2") && logs.contains("cried 2"), "{logs}");
    assert!(!logs.contains("said 1"), "only the one request's lines: {logs}");
}
