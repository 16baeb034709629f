//! Lambda's Invoke and control API, judged by boto3, the AWS command line and the SDK for Node as they come from PyPI and npm: each test is what a user of
//! Lambda could have written.

use std::ffi::OsStr;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nix::sys::signal::Signal;
use tests::program::Said;
use tests::{Place, Server, Source, packages, poll, program};
use tokio::sync::OnceCell;

/// The clients that judge, and their versions.
const BOTO: &str = "boto3==1.44.5";
const CLI: &str = "awscli==1.46.3";
const NODE: &str = "@aws-sdk/client-lambda@3.1164.0";

/// The interpreter of a virtual environment that has boto3.
async fn python() -> PathBuf {
    static PYTHON: OnceCell<PathBuf> = OnceCell::const_new();
    PYTHON.get_or_init(|| environment(BOTO)).await.join("bin/python")
}

/// The AWS command.
async fn cli() -> PathBuf {
    static AWS: OnceCell<PathBuf> = OnceCell::const_new();
    AWS.get_or_init(|| environment(CLI)).await.join("bin/aws")
}

/// A virtual environment that has a client. It is made once beside the build and kept there.
async fn environment(client: &str) -> PathBuf {
    let clients = match std::env::var_os("FN_TEST_CLIENTS") {
        Some(dir) => PathBuf::from(dir),
        None => tests::server::binary().with_file_name("test-clients"),
    };
    let venv = clients.join(client.replace("==", "-"));
    let whole = venv.join("installed");
    if !whole.exists() {
        let place = venv.to_string_lossy().into_owned();
        program::run("/usr/bin/python3", ["-m", "venv", "--clear", &place])
            .await
            .good();
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", client];
        program::run(venv.join("bin/python"), pip).await.good();
        std::fs::write(whole, client).expect("the environment can be written to");
    }
    venv
}

/// Runs a program with what `fn aws-env` prints in its environment.
async fn with_keys(server: &Server, words: impl IntoIterator<Item = String>) -> Said {
    let socket = server.place().admin_socket();
    let asked = [OsStr::new("aws-env"), OsStr::new("--admin-socket"), socket.as_os_str()];
    let said = program::run(tests::server::binary(), asked).await.good();
    let mut all: Vec<String> = said
        .stdout
        .lines()
        .map(|line| {
            let pair = line.strip_prefix("export ").expect("a line that a shell reads");
            pair.replace('\'', "")
        })
        .collect();
    // Nothing of the user's own configuration, and no second try that would hide a failure.
    all.extend(
        [
            "AWS_CONFIG_FILE=/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE=/dev/null",
            "AWS_MAX_ATTEMPTS=1",
        ]
        .map(str::to_owned),
    );
    all.extend(words);
    program::run("/usr/bin/env", all).await
}

/// Runs a script in Python, and shows what it said when it fails.
async fn judge(server: &Server, script: &str) {
    let python = python().await.to_string_lossy().into_owned();
    let script = format!("{}\n{script}", include_str!("lambda_api/client.py"));
    with_keys(server, [python, "-c".to_owned(), script]).await.good();
}

/// Runs one command of `aws lambda`.
async fn aws(server: &Server, words: &[&str]) -> Said {
    let command = [cli().await.to_string_lossy().into_owned(), "lambda".to_owned()];
    let words = words.iter().map(|word| (*word).to_owned());
    with_keys(server, command.into_iter().chain(words)).await
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

/// Streams pieces, with a head if the event has one, and then ends as the event says.
const STREAMER: &str = "
exports.handler = awslambda.streamifyResponse(async (event, stream) => {
  if (event.head) stream = awslambda.HttpResponseStream.from(stream, event.head);
  for (const piece of event.pieces ?? []) {
    await new Promise((written) => stream.write(piece, written));
  }
  if (event.hang) await new Promise((resolve) => setTimeout(resolve, 60000));
  if (event.fail) throw new Error(event.fail);
  stream.end();
});
";

#[tokio::test]
async fn a_result_comes_while_it_is_made() {
    let server = Server::start().await;
    let source = Source::python(ECHO).file("fn.toml", "timeout = \"2s\"\n");
    server.deploy("stream-echo", &source, &[]).await;
    server
        .deploy("stream-node", &Source::empty().file("index.js", STREAMER), &[])
        .await;
    server.deploy("stream-cat", &Source::shell("cat"), &[]).await;
    let missing = Source::python("import no_such_module\n\n\ndef handler(event, context):\n    return 1\n");
    server.deploy("stream-broken", &missing, &["--no-check"]).await;
    judge(&server, include_str!("lambda_api/streamed.py")).await;
}

#[tokio::test]
async fn a_function_url_has_a_config_that_stays() {
    let place = Place::new();
    let server = Server::start_in(place, &[]).await;
    judge(&server, include_str!("lambda_api/urls.py")).await;
    server.signal(Signal::SIGTERM);
    let (_, place) = server.end().await;
    let server = Server::start_in(place, &[]).await;
    judge(&server, include_str!("lambda_api/urls_after_restart.py")).await;
}

/// The records that a function has printed, once there are so many.
async fn records(server: &Server, function: &str, wanted: usize) -> Vec<serde_json::Value> {
    poll::until("records of destinations", async || {
        let logs = server.fn_command(["logs", function]).await.good().json();
        let lines = logs.as_array().into_iter().flatten();
        let records: Vec<serde_json::Value> = lines
            .filter_map(|line| serde_json::from_str(line["text"].as_str()?.strip_prefix("RECORD ")?).ok())
            .collect();
        (records.len() >= wanted).then_some(records)
    })
    .await
}

#[tokio::test]
async fn an_event_runs_again_until_its_tries_are_over() {
    let server = Server::start_in(Place::new(), &["--retry-wait", "10ms"]).await;
    judge(&server, include_str!("lambda_api/event_ends.py")).await;
    let context = &records(&server, "told", 1).await[0]["requestContext"];
    assert_eq!(context["condition"], "RetriesExhausted");
    assert_eq!(context["approximateInvokeCount"], 3);
    // Two functions that are each other's destinations come to an end.
    poll::until("the end of the chain", async || {
        let log = std::fs::read_to_string(server.place().log()).ok()?;
        log.contains("more destinations follow each other than may be")
            .then_some(())
    })
    .await;
    let metrics = server.metrics().await;
    let runs = |name| metrics.sum("fn_invocations_total", &[("function", name)]);
    assert_eq!((runs("ping"), runs("pong")), (9.0, 8.0));
    assert_eq!(runs("worker"), 3.0);
}

#[tokio::test]
async fn an_event_that_would_be_too_old_does_not_run_again() {
    let server = Server::start_in(Place::new(), &["--retry-wait", "2m"]).await;
    judge(&server, include_str!("lambda_api/event_ends.py")).await;
    let record = &records(&server, "told", 1).await[0];
    let context = &record["requestContext"];
    assert_eq!(context["condition"], "EventAgeExceeded", "{record}");
    assert_eq!(context["approximateInvokeCount"], 1, "{record}");
    assert_eq!(
        server
            .metrics()
            .await
            .sum("fn_background_calls_total", &[("end", "lost")]),
        1.0
    );
}

#[tokio::test]
async fn a_destination_is_told_how_an_event_ended() {
    let server = Server::start().await;
    judge(&server, include_str!("lambda_api/event_config.py")).await;
    let records = records(&server, "told", 3).await;
    assert_eq!(records.len(), 3);
    for (n, of, condition, count) in [
        (1, "worker", "Success", 1),
        (2, "worker", "RetriesExhausted", 1),
        (3, "off", "RetriesExhausted", 0),
    ] {
        let record = records.iter().find(|record| record["requestPayload"]["n"] == n);
        let record = record.expect("there is a record of each event");
        let context = &record["requestContext"];
        assert_eq!(context["condition"], condition, "{record}");
        assert_eq!(context["approximateInvokeCount"], count, "{record}");
        assert!(
            context["functionArn"]
                .as_str()
                .is_some_and(|arn| arn.ends_with(&format!(":{of}:$LATEST"))),
            "{record}"
        );
        match condition {
            _ if count == 0 => assert!(record.get("responsePayload").is_none(), "{record}"),
            "Success" => assert_eq!(record["responsePayload"], serde_json::json!({ "got": 1 }), "{record}"),
            _ => {
                assert_eq!(record["responseContext"]["functionError"], "Unhandled", "{record}");
                assert_eq!(record["responsePayload"]["errorType"], "ValueError", "{record}");
            }
        }
    }
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
async fn a_dry_run_leaves_no_files() {
    let server = Server::start().await;
    let script = "
common = dict(Runtime='python3.11', Role='arn:aws:iam::000000000000:role/any', Handler='app.handler')
aws.create_function(FunctionName='dry', Code={'ZipFile': zipped(app_py='def handler(event, context): pass')}, **common)
dry = aws.update_function_code(FunctionName='dry', ZipFile=zipped(app_py='pass'), DryRun=True)
assert dry['CodeSha256'] != aws.get_function_configuration(FunctionName='dry')['CodeSha256'], dry
";
    judge(&server, script).await;
    poll::until("the bundle of the function alone", async || {
        let blobs = std::fs::read_dir(server.place().state().join("blobs/sha256")).expect("the store is there");
        (blobs.count() == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn provisioned_instances_stand_until_they_are_not_asked_for() {
    let place = Place::new();
    let server = Server::start_in(place, &[]).await;
    judge(&server, include_str!("lambda_api/provisioned.py")).await;
    server.signal(Signal::SIGTERM);
    let (_, place) = server.end().await;
    let server = Server::start_in(place, &[]).await;
    let kept = async || server.fn_command(["show", "kept"]).await.good().json();
    assert_eq!(kept().await["kept"][0]["wanted"], 2);
    judge(&server, include_str!("lambda_api/provisioned_after_restart.py")).await;
    poll::until("no instance is left", async || {
        let shown = kept().await;
        assert_eq!(shown["kept"], serde_json::json!([]));
        shown["instances"].as_array().is_some_and(Vec::is_empty).then_some(())
    })
    .await;
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

#[tokio::test]
async fn the_aws_command_makes_calls_and_deletes_a_function() {
    let server = Server::start().await;
    let source = Source::empty();
    let (zip, out) = (source.join("code.zip"), source.join("out.json"));
    let (zip, out) = (zip.to_string_lossy(), out.to_string_lossy());
    let pack = async |text: &str| {
        let file = source.join("app.py");
        std::fs::write(&file, text).expect("the file can be written");
        let file = file.to_string_lossy();
        program::run("/usr/bin/python3", ["-m", "zipfile", "-c", &*zip, &*file])
            .await
            .good();
        format!("fileb://{zip}")
    };
    let code =
        pack("def handler(event, context):\n    print('seen', event['n'])\n    return {'one': event['n']}\n").await;
    let create = [
        "create-function",
        "--function-name=by-command",
        "--runtime=python3.12",
        "--handler=app.handler",
        "--role=arn:aws:iam::000000000000:role/any",
        "--zip-file",
        &code,
    ];
    assert_eq!(aws(&server, &create).await.good().json()["State"], "Active");
    let invoke = [
        "invoke",
        "--function-name=by-command",
        "--payload",
        r#"{"n": 7}"#,
        "--log-type=Tail",
        "--query=LogResult",
        &*out,
    ];
    let log = aws(&server, &invoke).await.good().json();
    let log = log.as_str().expect("the log is told in base64");
    let log = STANDARD.decode(log).expect("the log is base64");
    assert!(String::from_utf8_lossy(&log).contains("\nseen 7\n"), "{log:?}");
    let result = || std::fs::read_to_string(&*out).expect("the command wrote the result");
    assert_eq!(result(), r#"{"one": 7}"#);
    let listed = aws(&server, &["list-functions", "--query=Functions[].FunctionName"])
        .await
        .good();
    assert_eq!(listed.json(), serde_json::json!(["by-command"]));
    let code = pack("def handler(event, context):\n    return {'two': event['n']}\n").await;
    aws(
        &server,
        &[
            "update-function-code",
            "--function-name=by-command",
            "--zip-file",
            &code,
        ],
    )
    .await
    .good();
    aws(&server, &invoke).await.good();
    assert_eq!(result(), r#"{"two": 7}"#);
    let create = [
        "create-function-url-config",
        "--function-name=by-command",
        "--auth-type=NONE",
        "--query=FunctionUrl",
    ];
    let url = aws(&server, &create).await.good().json();
    assert!(
        url.as_str()
            .is_some_and(|url| url.starts_with("http://by-command.localhost:")),
        "{url}"
    );
    aws(&server, &["delete-function", "--function-name=by-command"])
        .await
        .good();
    aws(&server, &invoke).await.refused("ResourceNotFoundException");
}

#[tokio::test]
async fn the_sdk_for_node_reads_a_stream() {
    let server = Server::start().await;
    server
        .deploy("stream-node", &Source::empty().file("index.js", STREAMER), &[])
        .await;
    let packages = packages::npm(&[NODE]).await;
    let words = [
        &format!("NODE_PATH={}", packages.join("node_modules").display()),
        "/usr/bin/node",
        "-e",
        include_str!("lambda_api/streamed.cjs"),
    ];
    with_keys(&server, words.map(str::to_owned)).await.good();
}
