//! Lambda's Invoke and control API, judged by boto3 as it comes from PyPI: each test is one script that a user of Lambda could have written.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use tests::{Place, Server, Source, poll, program};
use tokio::sync::OnceCell;

/// The client that judges, and its version.
const CLIENT: &str = "boto3==1.44.5";

/// The interpreter of a virtual environment that has the client. It is made once beside the build and kept there.
async fn python() -> &'static Path {
    static PYTHON: OnceCell<PathBuf> = OnceCell::const_new();
    PYTHON
        .get_or_init(|| async {
            let clients = match std::env::var_os("FN_TEST_CLIENTS") {
                Some(dir) => PathBuf::from(dir),
                None => tests::server::binary().with_file_name("test-clients"),
            };
            let venv = clients.join(CLIENT.replace("==", "-"));
            let (python, whole) = (venv.join("bin/python"), venv.join("installed"));
            if !whole.exists() {
                let venv = venv.to_string_lossy().into_owned();
                program::run("/usr/bin/python3", ["-m", "venv", "--clear", &venv])
                    .await
                    .good();
                let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", CLIENT];
                program::run(&python, pip).await.good();
                std::fs::write(whole, CLIENT).expect("the environment can be written to");
            }
            python
        })
        .await
}

/// Runs a script with what `fn aws-env` prints in its environment, and shows what it said when it fails.
async fn judge(server: &Server, script: &str) {
    let socket = server.place().admin_socket();
    let words = [OsStr::new("aws-env"), OsStr::new("--admin-socket"), socket.as_os_str()];
    let said = program::run(tests::server::binary(), words).await.good();
    let mut words: Vec<String> = said
        .stdout
        .lines()
        .map(|line| {
            let pair = line.strip_prefix("export ").expect("a line that a shell reads");
            pair.replace('\'', "")
        })
        .collect();
    // Nothing of the user's own configuration, and no second try that would hide a failure.
    words.extend(
        [
            "AWS_CONFIG_FILE=/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE=/dev/null",
            "AWS_MAX_ATTEMPTS=1",
        ]
        .map(str::to_owned),
    );
    words.push(python().await.to_string_lossy().into_owned());
    words.extend([
        "-c".to_owned(),
        format!("{}\n{script}", include_str!("lambda_api/client.py")),
    ]);
    program::run("/usr/bin/env", words).await.good();
}

const ECHO: &str = "
import json, os, sys, time

def handler(event, context):
    do = event.get('do') if isinstance(event, dict) else None
    if do == 'raise':
        raise ValueError('no such thing')
    if do == 'exit':
        os._exit(3)
    if do == 'sleep':
        time.sleep(event['seconds'])
    if do == 'print':
        print('x' * 6000)
        print('the last line')
    if do == 'big':
        return 'x' * event['size']
    if do == 'length':
        return len(event['text'])
    if do == 'write':
        print('wrote', event['what'])
    client = context.client_context
    return {
        'event': event,
        'arn': context.invoked_function_arn,
        'id': context.aws_request_id,
        'custom': client.custom if client else None,
    }
";

#[tokio::test]
async fn invoke_takes_an_event_and_gives_a_result() {
    let server = Server::start().await;
    let source = Source::python(ECHO).file("fn.toml", "timeout = \"2s\"\n");
    server.deploy("lambda-echo", &source, &[]).await;
    server.deploy("lambda-cat", &Source::shell("cat"), &[]).await;
    let node =
        "exports.handler = async (event, context) => ({ event, custom: context.clientContext?.custom ?? null });\n";
    server
        .deploy("lambda-node", &Source::empty().file("index.js", node), &[])
        .await;
    let missing = Source::python("import no_such_module\n\n\ndef handler(event, context):\n    return 1\n");
    server.deploy("lambda-broken", &missing, &["--no-check"]).await;
    judge(&server, include_str!("lambda_api/invoke.py")).await;
    poll::until("what the event printed in the background", async || {
        let logs = server.fn_command(["logs", "lambda-echo"]).await.good();
        logs.all().contains("wrote later").then_some(())
    })
    .await;
}

#[tokio::test]
async fn too_many_calls_are_throttled_with_a_reason_and_events_wait() {
    let server = Server::start().await;
    let source = Source::python(ECHO).file("fn.toml", "queue = 0\n[scale]\nmax = 1\n");
    server.deploy("lambda-narrow", &source, &[]).await;
    judge(&server, include_str!("lambda_api/throttle.py")).await;
    poll::until("what the event printed when there was room for it", async || {
        let logs = server.fn_command(["logs", "lambda-narrow"]).await.good();
        logs.all().contains("wrote at last").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_function_is_created_changed_and_deleted() {
    let server = Server::start().await;
    server
        .deploy("deployed-by-hand", &Source::python_body("    return 'hand'"), &[])
        .await;
    judge(&server, include_str!("lambda_api/lifecycle.py")).await;
}

#[tokio::test]
async fn versions_stay_and_aliases_move() {
    let place = Place::new();
    let server = Server::start_in(place, &[]).await;
    judge(&server, include_str!("lambda_api/versions.py")).await;
    server.signal(Signal::SIGTERM);
    let (_, place) = server.end().await;
    let server = Server::start_in(place, &[]).await;
    judge(&server, include_str!("lambda_api/versions_after_restart.py")).await;
}

#[tokio::test]
async fn layers_are_published_and_used() {
    let server = Server::start().await;
    judge(&server, include_str!("lambda_api/layers.py")).await;
}

#[tokio::test]
async fn a_runtime_of_ones_own_is_provided_and_invoked() {
    let server = Server::start().await;
    judge(&server, include_str!("lambda_api/provided.py")).await;
}

#[tokio::test]
async fn code_that_is_refused_leaves_nothing_behind() {
    let server = Server::start().await;
    judge(&server, include_str!("lambda_api/bad_code.py")).await;
}

#[tokio::test]
async fn only_the_servers_own_key_pair_controls() {
    let server = Server::start().await;
    judge(&server, include_str!("lambda_api/keys.py")).await;
}
