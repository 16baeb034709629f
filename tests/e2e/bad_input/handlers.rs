//! Handlers that misbehave while they run. The caller gets a typed error, and the next call a working instance.

use tests::{Reply, Server, Source, poll, processes};

/// A handler that answers, and does `evil` (a Python statement) when the query says so.
fn sometimes(evil: &str) -> Source {
    let body = format!(
        "    if 'evil' in query:\n        {}\n    return 'ok'",
        evil.replace('\n', "\n        ")
    );
    Source::python_body(&body)
}

async fn evil(server: &Server, name: &str) -> Reply {
    let url = format!("{}?evil=1", server.function(name));
    server
        .client()
        .get(&url)
        .await
        .expect("the platform answers, whatever the handler does")
}

/// Deploys, calls well, calls badly, and checks that the bad call is an error of the given status and one of the codes, that its
/// instance is not used again, and that the next call is answered.
async fn is_contained(evil_statement: &str, settings: &[&str], status: u16, codes: &[&str]) {
    let server = Server::start().await;
    server.deploy("evil", &sometimes(evil_statement), settings).await;
    let before = server.call("evil").await.good();
    let reply = evil(&server, "evil").await;
    let code = reply.error(status);
    assert!(
        codes.contains(&code.as_str()),
        "expected one of {codes:?}, seen {code}: {}",
        reply.text()
    );
    let after = server.call("evil").await;
    after.is_cold();
    assert_ne!(
        after.instance(),
        before.instance(),
        "the instance that misbehaved is not used again"
    );
    assert_eq!(
        server
            .metrics()
            .await
            .sum("fn_invocations_total", &[("function", "evil")]),
        3.0,
        "every call is counted"
    );
}

#[tokio::test]
async fn never_returns() {
    is_contained("while True: pass", &["--timeout", "1s"], 504, &["timeout"]).await;
}

#[tokio::test]
async fn sleeps_for_ever() {
    is_contained("time.sleep(10**6)", &["--timeout", "1s"], 504, &["timeout"]).await;
}

#[tokio::test]
async fn exits() {
    is_contained("os._exit(3)", &[], 502, &["function_exited"]).await;
}

#[tokio::test]
async fn dies_by_a_signal() {
    is_contained("os.kill(os.getpid(), 9)", &[], 502, &["function_exited"]).await;
}

#[tokio::test]
async fn closes_its_socket() {
    is_contained(
        "os.closerange(3, 256)",
        &[],
        502,
        &["function_exited", "protocol_error", "function_error"],
    )
    .await;
}

#[tokio::test]
async fn writes_garbage_to_its_socket() {
    is_contained(
        "os.write(3, b'garbage' * 1000)",
        &[],
        502,
        &["protocol_error", "function_exited"],
    )
    .await;
}

#[tokio::test]
async fn eats_memory_or_is_stopped_by_its_deadline() {
    // Where nothing limits memory the allocation is small enough to succeed; the strict test stands in `limits`.
    let server = Server::start().await;
    let enforced = server.does_not_enforce("memory").await.is_none();
    server
        .deploy("eats", &sometimes("eaten = b'x' * (300 << 20)"), &["--memory", "64MiB"])
        .await;
    server.call("eats").await.good();
    let reply = evil(&server, "eats").await;
    if enforced {
        assert_eq!(reply.error(502), "out_of_memory");
    }
    server.call("eats").await.good();
}

#[tokio::test]
async fn returns_garbage() {
    let server = Server::start().await;
    for (name, returned) in [
        ("a-set", "{1, 2}"),
        ("an-object", "object()"),
        ("no-status", "{'statusCode': 'soon'}"),
        ("status-range", "{'statusCode': 99999}"),
        (
            "bad-header",
            "{'statusCode': 200, 'headers': {'x-split': 'a\\r\\nset-cookie: b'}}",
        ),
        (
            "bad-base64",
            "{'statusCode': 200, 'isBase64Encoded': True, 'body': '!!'}",
        ),
    ] {
        server
            .deploy(name, &Source::python_body(&format!("    return {returned}")), &[])
            .await;
        let reply = server.call(name).await;
        let code = reply.error(502);
        assert!(
            ["bad_reply", "function_error"].contains(&code.as_str()),
            "{name}: {code}"
        );
        assert!(reply.header("set-cookie").is_empty(), "{name}: a header was split");
    }
}

#[tokio::test]
async fn writes_a_gigabyte_of_logs() {
    let server = Server::start().await;
    let source =
        sometimes("line = b'x' * 1023 + b'\\n'\nchunk = line * 64\nfor _ in range(16 * 1024): os.write(1, chunk)");
    server.deploy("noisy", &source, &["--timeout", "170s"]).await;
    evil(&server, "noisy").await.good();
    server.call("noisy").await.good();
    let kept = size_of(&server.place().state().join("logs"));
    assert!(kept <= 32 << 20, "logs are bounded, {kept} bytes are kept");
}

fn size_of(dir: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size_of(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

#[tokio::test]
async fn leaves_daemons_behind() {
    let server = Server::start().await;
    let marker = processes::marker("daemon");
    let source = sometimes(&format!(
        "for _ in range(3): subprocess.Popen(['{marker}', '1000'], executable='/bin/sleep', start_new_session=True)"
    ));
    server.deploy("daemons", &source, &[]).await;
    evil(&server, "daemons").await.good();
    server.evict("daemons").await;
    poll::until("the end of the daemons with their instance", async || {
        processes::marked(&marker).is_empty().then_some(())
    })
    .await;
    server.call("daemons").await.is_cold();
}

#[tokio::test]
async fn a_program_that_fails_or_hangs() {
    let server = Server::start().await;
    server.deploy("fails", &Source::shell("echo half; exit 3"), &[]).await;
    // A reply that has begun when the program fails breaks off.
    if let Ok(reply) = server.client().get(&server.function("fails")).await {
        assert_eq!(reply.status, 502, "{}", reply.text());
    }
    server
        .deploy("hangs", &Source::shell("exec sleep 1000"), &["--timeout", "1s"])
        .await;
    assert_eq!(server.call("hangs").await.error(504), "timeout");
    assert_eq!(server.call("hangs").await.error(504), "timeout", "and again");
}
