//! What a function gives up by `[security]`: each key with its opposite, and the strictest of them for the examples.

use std::path::Path;

use serde_json::{Value, json};
use tests::{Server, Source, packages, poll};

/// Tries one thing for each key and says how it went: `done`, or the number of the error.
const ATTEMPTS: &str = "
import os, socket

def tell(attempt):
    try:
        attempt()
        return 'done'
    except OSError as error:
        return error.errno

def forked():
    pid = os.fork()
    if pid == 0: os._exit(0)
    os.waitpid(pid, 0)

def written():
    path = '/dev/shm/program'
    with open('/bin/true', 'rb') as program, open(path, 'wb') as file: file.write(program.read())
    os.chmod(path, 0o755)
    pid = os.fork()
    if pid == 0:
        try: os.execv(path, [path])
        except OSError as error: os._exit(error.errno)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code: raise OSError(code, 'it failed')

def handler(event, context):
    return {
        'deny': tell(forked),
        'read_only': tell(lambda: open('/tmp/file', 'w').close()),
        'network': tell(lambda: socket.socket().close()),
        'exec_written': tell(written),
    }
";

async fn show(server: &Server, name: &str) -> Value {
    server.fn_command(["show", name]).await.good().json()
}

#[tokio::test]
async fn each_key_takes_one_thing_away_from_executed_and_forked_instances() {
    let server = Server::start().await;
    let source = Source::python(ATTEMPTS);
    let all = json!({ "deny": "done", "read_only": "done", "network": "done", "exec_written": "done" });
    for (name, key, refused) in [
        ("plain", "security.profile=default", None),
        ("deny", "security.deny=[\"fork\", \"clone\"]", Some(("deny", 1))),
        ("paths", "security.read_only=[\"/tmp\"]", Some(("read_only", 30))),
        ("network", "security.network=false", Some(("network", 97))),
        ("written", "security.exec_written=false", Some(("exec_written", 13))),
    ] {
        server
            .deploy(name, &source, &["--set", key, "--set", "scale.ahead=0"])
            .await;
        let mut expected = all.clone();
        if let Some((attempt, errno)) = refused {
            expected[attempt] = json!(errno);
        }
        let executed = server.call(name).await.good();
        poll::until("the template", async || {
            (show(&server, name).await["class"]["name"] == "fork").then_some(())
        })
        .await;
        server.fn_command(["evict", name]).await.good();
        let forked = server.call(name).await.good();
        assert_eq!(forked.start(), "forked", "{name}");
        for reply in [executed, forked] {
            let mut said = reply.json();
            if name == "deny" {
                // It forks to find out.
                said["exec_written"] = json!("done");
            }
            assert_eq!(said, expected, "{name} {}", reply.start());
        }
        let settings = show(&server, name).await["settings"]["security"].clone();
        assert_eq!(settings.is_null(), name == "plain", "{settings}");
    }
}

#[tokio::test]
async fn what_can_not_be_given_up_is_refused_at_the_deploy_with_or_without_a_check() {
    let server = Server::start().await;
    let source = Source::python_body("    return 'fine'");
    for (key, expected) in [
        ("security.deny=[\"sokcet\"]", "did you mean \"socket\"?"),
        ("security.deny=[\"execve\"]", "no program starts without execve"),
        ("security.read_only=[\"tmp\"]", "not absolute"),
        ("security.profile=strikt", "did you mean \"strict\"?"),
    ] {
        for check in [&[][..], &["--no-check"]] {
            let args = [&["--set", key][..], check].concat();
            let said = server.try_deploy("refused", source.path(), &args).await;
            let text = format!("{}{}", said.stdout, said.stderr).replace("\\\"", "\"");
            assert!(text.contains(expected), "{key}: {text}");
        }
    }
    let missing = ["--set", "security.read_only=[\"/nowhere\"]"];
    let said = server.try_deploy("refused", source.path(), &missing).await;
    let text = format!("{}{}", said.stdout, said.stderr);
    assert!(text.contains("read-only"), "{text}");
}

#[tokio::test]
async fn a_strict_node_function_has_a_process_of_its_own() {
    let server = Server::start().await;
    let source = Source::node("export const handler = async () => 'fine';");
    server.deploy("parked", &source, &[]).await;
    server.call("parked").await.good();
    poll::until("a parked process", async || {
        (server.metrics().await.sum("fn_parked_processes", &[]) >= 1.0).then_some(())
    })
    .await;
    server
        .deploy("strict", &source, &["--set", "security.profile=strict"])
        .await;
    assert_eq!(server.call("strict").await.good().start(), "cold");
}

/// An example with what it depends on, installed before.
fn example(dir: &str, installed: Option<&Path>) -> Source {
    let from = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../functions/examples")
        .join(dir);
    let mut source = Source::empty();
    for entry in std::fs::read_dir(from).expect("the example can be read") {
        let path = entry.expect("the example can be read").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name of text");
        if installed.is_some() && matches!(name, "requirements.txt" | "package.json") {
            continue;
        }
        let contents = std::fs::read(&path).expect("the example can be read");
        source = match contents.starts_with(b"#!") {
            true => source.executable(name, contents),
            false => source.file(name, contents),
        };
    }
    match installed {
        Some(installed) => source.tree(installed),
        None => source,
    }
}

#[tokio::test]
async fn the_examples_work_with_the_strictest_profile() {
    let server = Server::start().await;
    let flask = packages::pypi(&["flask==3.1.3"]).await;
    let fastapi = packages::pypi(&["fastapi==0.165.0"]).await;
    let framework = packages::pypi(&["functions-framework==3.10.2", "cloudevents==1.12.0"]).await;
    let express = packages::npm(&["express@5.3.0"]).await;
    for (dir, installed) in [
        ("hello-python", None),
        ("hello-node", None),
        ("fetch-node", None),
        ("hello-shell", None),
        ("hello-http", None),
        ("hello-openfaas", None),
        ("hello-lambda", None),
        ("flask-python", Some(&flask)),
        ("fastapi-python", Some(&fastapi)),
        ("functions-framework-python", Some(&framework)),
        ("express-node", Some(&express)),
    ] {
        let source = example(dir, installed.map(AsRef::as_ref));
        // Its own name is in its fn.toml.
        let strict = ["--set", "security.profile=strict", "--set", &format!("name={dir}")];
        server.deploy(dir, &source, &strict).await;
        for warm in [false, true] {
            let url = format!("{}?name=Ada", server.function(dir));
            let reply = match dir {
                "hello-shell" | "hello-openfaas" => server.post(dir, "Ada").await,
                _ => server.client().get(&url).await.expect("a reply"),
            };
            let reply = reply.good();
            assert_eq!(reply.start() == "warm", warm, "{dir}");
            assert!(reply.text().contains("Ada"), "{dir}");
        }
        assert_eq!(show(&server, dir).await["settings"]["security"]["profile"], "strict");
    }
}
