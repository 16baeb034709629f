//! Layers at `/opt`, and the extensions in them.

use tests::{Server, Source, poll};

const BOOTSTRAP: &str = include_str!("lambda_extensions/bootstrap");
const WATCHER: &str = include_str!("lambda_extensions/watcher");

/// A layer with the extension, which behaves as `mode` says.
fn layer(mode: &str) -> Source {
    Source::empty()
        .executable("extensions/watcher", WATCHER)
        .file("extensions/no-program", "")
        .file("mode", mode)
}

fn function(layers: &[&Source]) -> Source {
    let layers: Vec<_> = layers.iter().map(|layer| layer.path()).collect();
    Source::empty()
        .executable("bootstrap", BOOTSTRAP)
        .file("fn.toml", format!("timeout = \"3s\"\nlayers = {layers:?}\n"))
}

/// Waits until the log has a line with all of these.
async fn logged(server: &Server, parts: &[&str]) {
    poll::until(&format!("{parts:?} in the log"), async || {
        let logs = server.fn_command(["logs", "rt"]).await.good().stdout;
        let found = logs.lines().any(|line| parts.iter().all(|part| line.contains(part)));
        found.then_some(())
    })
    .await;
}

#[tokio::test]
async fn extensions_are_told_of_each_invocation_and_of_the_end() {
    let server = Server::start().await;
    let layer = layer("");
    server.deploy("rt", &function(&[&layer]), &[]).await;
    let url = server.function("rt");
    let trace = [("x-amzn-trace-id", "Root=1-5759e988-bd862e3fe1be46a994272793")];
    let first = server.client().post_with(&url, &trace, "").await.unwrap().good();
    let said = first.json();
    for (what, expected) in [
        (
            "shutdown inside",
            serde_json::json!([403, "Extension.InvalidEventType"]),
        ),
        ("no name", serde_json::json!([403, "Extension.InvalidExtensionName"])),
        ("no json", serde_json::json!([403, "InvalidRequestFormat"])),
        (
            "no id",
            serde_json::json!([403, "Extension.MissingExtensionIdentifier"]),
        ),
        (
            "bad id",
            serde_json::json!([403, "Extension.InvalidExtensionIdentifier"]),
        ),
        ("late", serde_json::json!([403, "Extension.RegistrationClosed"])),
        ("telemetry", serde_json::json!([202, "Telemetry.NotSupported"])),
        ("logs", serde_json::json!([202, "Logs.NotSupported"])),
        ("opt", serde_json::json!(["extensions", "mode"])),
        (
            "registered",
            serde_json::json!([200, { "functionName": "rt", "functionVersion": "1", "handler": "bootstrap", "accountId": "000000000000" }]),
        ),
    ] {
        assert_eq!(said[what], expected, "{what}");
    }
    let second = server.call("rt").await.good();
    second.is_warm();
    let (first, second_id) = (first.header("x-fn-request-id"), second.header("x-fn-request-id"));
    logged(&server, &["watcher registered 200", "False"]).await;
    logged(&server, &["watcher INVOKE", first, "True", trace[0].1]).await;
    logged(&server, &["watcher INVOKE", second_id]).await;
    let third = server.call("rt").await.good().json();
    let invokes = third["invokes"].as_array().unwrap();
    assert!(invokes[..2] == [first, second_id], "{invokes:?}");

    server.evict("rt").await;
    logged(&server, &["runtime terminated"]).await;
    logged(&server, &["watcher SHUTDOWN", "spindown", "True"]).await;
    logged(&server, &["watcher done"]).await;
}

#[tokio::test]
async fn an_end_by_timeout_is_told_as_such() {
    let server = Server::start().await;
    let layer = layer("");
    server.deploy("rt", &function(&[&layer]), &[]).await;
    let url = format!("{}/sleep", server.function("rt"));
    assert_eq!(server.client().get(&url).await.unwrap().error(504), "timeout");
    logged(&server, &["watcher SHUTDOWN", "timeout"]).await;
    let next = server.call("rt").await.good();
    assert!(next.json()["invokes"].is_array());
}

#[tokio::test]
async fn an_extension_that_ends_takes_its_instance_along() {
    let server = Server::start().await;
    let layer = layer("");
    server.deploy("rt", &function(&[&layer]), &[]).await;
    let before = server.call("rt").await.good();
    let url = format!("{}/kill-extension", server.function("rt"));
    assert_eq!(server.client().get(&url).await.unwrap().error(502), "function_error");
    let after = server.call("rt").await.good();
    assert_ne!(after.instance(), before.instance());
}

#[tokio::test]
async fn an_extension_that_can_not_start_fails_the_start_with_its_words() {
    let server = Server::start().await;
    for (mode, expected) in [
        (
            "fails",
            "Extension.InitError: the extension watcher says Watcher.NoLuck",
        ),
        ("ends", "Extension.Crash: the extension watcher ended: exit status 5"),
    ] {
        let layer = layer(mode);
        let said = server.try_deploy("rt", function(&[&layer]).path(), &[]).await;
        assert!(said.all().contains(expected), "{}", said.all());
    }
}

#[tokio::test]
async fn a_runtime_may_lie_in_a_layer() {
    let server = Server::start().await;
    let runtime = Source::empty().executable("bootstrap", BOOTSTRAP);
    let source = Source::empty().file(
        "fn.toml",
        format!("runtime = \"lambda\"\nlayers = [{:?}]\n", runtime.path()),
    );
    server.deploy("rt", &source, &[]).await;
    let said = server.call("rt").await.good().json();
    assert_eq!(said["opt"], serde_json::json!(["bootstrap"]));
}

#[tokio::test]
async fn handlers_find_what_their_layers_hold() {
    let server = Server::start().await;
    let below = Source::empty()
        .file("python/shared.py", "WORD = 'below'\n")
        .file("python/only.py", "WORD = 'only'\n")
        .file("nodejs/node_modules/shared/index.js", "module.exports = 'node';\n")
        .executable("bin/tool", "#!/bin/sh\necho tool\n");
    let above = Source::empty().file("python/shared.py", "WORD = 'above'\n");
    let layers = format!("layers = [{:?}, {:?}]\n", below.path(), above.path());
    let python = Source::python_body(
        "    import only, shared\n    tool = subprocess.run(['tool'], capture_output=True, text=True).stdout\n    try:\n        open('/opt/x', 'w')\n    except OSError as error:\n        return [only.WORD, shared.WORD, tool, error.strerror]",
    )
    .file("fn.toml", &layers);
    server.deploy("py", &python, &[]).await;
    let expected = serde_json::json!(["only", "above", "tool\n", "Read-only file system"]);
    // The first start executes the interpreter, later ones may be forks of a template.
    for _ in 0..2 {
        assert_eq!(server.call("py").await.good().json(), expected);
        server.evict("py").await;
    }
    server.deploy("writes", &python, &["--set", "rootfs=writable"]).await;
    let written = server.call("writes").await.good().json();
    assert_eq!(
        written,
        serde_json::json!(["only", "above", "tool\n", "Permission denied"])
    );
    let node = Source::empty()
        .file(
            "index.js",
            "exports.handler = async () => ({ word: require('shared') });\n",
        )
        .file("fn.toml", &layers);
    server.deploy("js", &node, &[]).await;
    assert_eq!(server.call("js").await.good().json()["word"], "node");
    let shown = server.fn_command(["show", "py"]).await.good().stdout;
    assert!(shown.contains(above.path().to_str().unwrap()), "{shown}");
}

#[tokio::test]
async fn layers_that_are_not_there_are_named() {
    let server = Server::start().await;
    let source = Source::python_body("    return 1").file("fn.toml", "layers = [\"./no-such-layer\"]\n");
    let said = server.try_deploy("x", source.path(), &[]).await;
    assert!(said.all().contains("no-such-layer"), "{}", said.all());
}
