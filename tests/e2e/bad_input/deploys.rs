//! What a deploy refuses: names, settings, code that does not load.

use tests::{Server, Source, poll};

/// The exit codes of `fn` that a script may rely on.
const BAD_INPUT: i32 = 3;
const CHECK_FAILED: i32 = 6;

fn good() -> Source {
    Source::python_body("    return 'ok'")
}

#[tokio::test]
async fn a_directory_without_a_handler() {
    let server = Server::start().await;
    let nothing = Source::empty().file("notes.txt", "nothing to run");
    let said = server
        .try_deploy("nothing", nothing.path(), &[])
        .await
        .refused("handler");
    assert!(
        said.all().contains("handler.py"),
        "it says what it looked for: {}",
        said.all()
    );
    let wrong = Source::python("def something_else():\n    pass\n");
    server.try_deploy("wrong", wrong.path(), &[]).await.refused("handler");
    server
        .try_deploy("gone", &wrong.join("no/such/path"), &[])
        .await
        .refused("no/such/path");
    let missing = ["--handler", "handler.missing"];
    let said = server
        .try_deploy("missing", good().path(), &missing)
        .await
        .refused("missing");
    assert!(
        [Some(BAD_INPUT), Some(CHECK_FAILED)].contains(&said.code),
        "found by reading, or by the check: {}",
        said.all()
    );
    assert_eq!(
        server.call("missing").await.error(404),
        "function_not_found",
        "what was refused is not there"
    );
}

#[tokio::test]
async fn a_syntax_error_is_shown_with_its_traceback() {
    let server = Server::start().await;
    let broken = Source::python("def handler(event, context):\n    return (\n");
    let said = server
        .try_deploy("broken", broken.path(), &[])
        .await
        .refused("SyntaxError");
    assert_eq!(said.code, Some(CHECK_FAILED), "{}", said.all());
    assert!(
        said.all().contains("handler.py"),
        "the traceback names the file: {}",
        said.all()
    );
    let node = Source::node("export const handler = async () => {{{;\n");
    server
        .try_deploy("broken-node", node.path(), &[])
        .await
        .refused("SyntaxError");

    server.deploy("broken", &broken, &["--no-check"]).await;
    assert_eq!(server.call("broken").await.error(502), "init_error");
    assert_eq!(
        server.deploy("broken", &good(), &[]).await,
        2,
        "the next deploy repairs it"
    );
    server.call("broken").await.good();
}

#[tokio::test]
async fn a_failed_check_leaves_the_old_revision_live() {
    let server = Server::start().await;
    server.deploy("steady", &good(), &[]).await;
    let broken = Source::python("import no_such_module\n\n\ndef handler(event, context):\n    return 'new'\n");
    server
        .try_deploy("steady", broken.path(), &[])
        .await
        .refused("no_such_module");
    let reply = server.call("steady").await.good();
    assert_eq!(reply.revision(), 1);
    assert_eq!(reply.json(), "ok");
}

#[tokio::test]
async fn an_unknown_runtime() {
    let server = Server::start().await;
    let said = server
        .try_deploy("cobol", good().path(), &["--runtime", "cobol"])
        .await
        .refused("runtime");
    for known in ["python", "node", "stdio"] {
        assert!(said.all().contains(known), "it names what there is: {}", said.all());
    }
    server
        .try_deploy("typo", good().path(), &["--runtime", "pyhton"])
        .await
        .refused("python");
}

#[tokio::test]
async fn names_that_are_none() {
    let server = Server::start().await;
    let long = "a".repeat(64);
    for name in [
        "a/b",
        "..",
        "../up",
        "Upper",
        "-start",
        "end-",
        "a_b",
        "a.b",
        "",
        "ü",
        "a b",
        long.as_str(),
    ] {
        server.try_deploy(name, good().path(), &[]).await.refused("name");
    }
    let manifest = serde_json::json!({"bundle": "0".repeat(64), "manifest": {}, "check": false});
    for name in ["Upper", "..%2Fup", "a%2Fb", "%2e%2e", "a%00b", long.as_str()] {
        let reply = server
            .admin()
            .put(&format!("http://localhost/v1/functions/{name}"), &manifest)
            .await;
        let reply = reply.expect("the admin socket answers");
        assert!(
            (400..500).contains(&reply.status),
            "{name}: {} {}",
            reply.status,
            reply.text()
        );
        reply.error(reply.status);
    }
    for path in [
        "/function/Upper",
        "/function/..%2Fup",
        "/function/a_b",
        &format!("/function/{long}"),
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let reply = tests::raw::exchange(server.address(), request.as_bytes()).await;
        assert!(
            [400, 404].contains(&reply.status),
            "{path}: {} {}",
            reply.status,
            reply.text()
        );
        reply.error(reply.status);
    }
    let longest = "a".repeat(63);
    server.deploy(&longest, &good(), &[]).await;
    server.call(&longest).await.good();
}

#[tokio::test]
async fn an_unknown_key_gets_a_suggestion() {
    let server = Server::start().await;
    let source = good().file("fn.toml", "memroy = \"64MiB\"\n");
    let said = server.try_deploy("typo", source.path(), &[]).await.refused("memroy");
    assert!(
        said.all().contains("memory"),
        "it suggests what was meant: {}",
        said.all()
    );
    let source = good().file("fn.toml", "[scale]\nmaxx = 3\n");
    server.try_deploy("typo", source.path(), &[]).await.refused("max");
    server
        .try_deploy("typo", good().path(), &["--set", "idel=3s"])
        .await
        .refused("idle");
}

#[tokio::test]
async fn values_that_make_no_sense() {
    let server = Server::start().await;
    for (key, value) in [
        ("memory", "lots"),
        ("memory", "1"),
        ("cpu", "-1"),
        ("pids", "0"),
        ("timeout", "soon"),
        ("timeout", "0s"),
        ("concurrency", "0"),
        ("scale.max", "0"),
        ("rootfs", "maybe"),
    ] {
        server
            .try_deploy("odd", good().path(), &["--set", &format!("{key}={value}")])
            .await
            .refused(key);
    }
    server
        .try_deploy("odd", good().file("fn.toml", "memory = [").path(), &[])
        .await
        .refused("fn.toml");
}

#[tokio::test]
async fn two_deploys_of_one_name_at_once() {
    let server = Server::start().await;
    let body = |answer: &str| Source::python_body(&format!("    return '{answer}'"));
    let (left, right) = (body("left"), body("right"));
    let (one, other) = tokio::join!(
        server.deploy("contested", &left, &[]),
        server.deploy("contested", &right, &[])
    );
    assert_eq!([one.min(other), one.max(other)], [1, 2], "each has its own revision");
    let live = if one == 2 { "left" } else { "right" };
    let reply = poll::until("the later revision", async || {
        let reply = server.call("contested").await.good();
        (reply.revision() == 2).then_some(reply)
    })
    .await;
    assert_eq!(reply.json(), live, "what is live is one of the two, whole");
}

#[tokio::test]
async fn a_revision_without_its_bundle() {
    let server = Server::start().await;
    for bundle in ["0".repeat(64).as_str(), "not-a-digest", "../../etc/passwd"] {
        let manifest = serde_json::json!({"bundle": bundle, "manifest": {"runtime": "python"}, "check": false});
        let reply = server
            .admin()
            .put("http://localhost/v1/functions/hollow", &manifest)
            .await;
        let reply = reply.expect("the admin socket answers");
        assert!(
            (400..500).contains(&reply.status),
            "{bundle}: {} {}",
            reply.status,
            reply.text()
        );
        reply.error(reply.status);
    }
}

#[tokio::test]
async fn no_server_is_said_plainly() {
    let place = tests::Place::new();
    let socket = place.admin_socket();
    let args = ["list".as_ref(), "--admin-socket".as_ref(), socket.as_os_str()];
    let said = tests::program::run(tests::server::binary(), args)
        .await
        .refused("fn serve");
    assert_eq!(said.code, Some(5), "unreachable has an exit code of its own");
}
