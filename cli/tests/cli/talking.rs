//! Commands that ask the server something.

use serde_json::json;

use crate::world::World;

const EVERY_CLIENT_COMMAND: [&str; 7] = [
    "list",
    "show hello",
    "rm hello",
    "evict hello",
    "logs hello",
    "invoke hello",
    "invoke hello -d @-",
];

#[test]
fn without_a_server_every_command_says_how_to_start_one() {
    let world = World::silent();
    for line in EVERY_CLIENT_COMMAND {
        let socket = world.socket().display().to_string();
        world
            .run(line)
            .says(5, &["no server is running at", &socket, "fn serve", "--admin-socket"]);
        let error = world.run(&format!("{line} --json")).says(5, &[]).json();
        assert_eq!(error["error"]["code"], "not_running", "{line}");
        assert_eq!(error["error"]["exit"], 5);
    }
}

#[test]
fn a_socket_file_that_nobody_listens_on_is_no_server() {
    let world = World::silent();
    drop(std::os::unix::net::UnixListener::bind(world.socket()).unwrap());
    world.run("list").says(5, &["no server is running at"]);
}

#[test]
fn the_socket_is_found_beside_the_state_directory() {
    let mut world = World::new();
    world.on("GET /v1/functions", 200, &json!({ "functions": [] }));
    std::fs::create_dir_all(world.path("state/run")).unwrap();
    std::os::unix::fs::symlink(world.socket(), world.path("state/run/admin.sock")).unwrap();
    world.env("FN_ADMIN_SOCKET", "");
    world.run("list").says(5, &[]);
    world
        .run("list --state-dir {}/state")
        .says(0, &["There is no function yet"]);
    world.env("FN_STATE_DIR", world.path("state").display().to_string());
    world.run("list").says(0, &["There is no function yet"]);
}

#[test]
fn an_unknown_function_is_not_found_everywhere() {
    let world = World::new();
    for line in EVERY_CLIENT_COMMAND.iter().filter(|line| line.contains("hello")) {
        world.run(line).says(
            4,
            &["error: no function has this name", "hint: See which there are: fn list"],
        );
        let error = world.run(&format!("--json {line}")).says(4, &[]).json();
        assert_eq!(error["error"]["code"], "function_not_found", "{line}");
    }
}

#[test]
fn a_bad_name_never_reaches_the_server() {
    let world = World::new();
    for name in ["Hello", "a/b", "..", "-a", &"a".repeat(64)] {
        for line in ["show", "rm", "evict", "logs", "invoke"] {
            world
                .run(&format!("{line} -- {name}"))
                .says(3, &["is not the name of a function", "hint: "]);
        }
    }
    assert!(world.seen("").is_empty());
}

#[test]
fn a_mistake_of_usage_is_2_and_json_when_json_was_asked_for() {
    let world = World::silent();
    world.run("").says(2, &["Usage: fn"]);
    world.run("deplyo .").says(2, &["'deploy'"]);
    let error = world.run("deploy --json").says(2, &[]).json();
    assert_eq!(error["error"]["code"], "usage");
    world
        .run("--help")
        .says(0, &["Exit codes:", "  5  the server could not be reached"]);
    world.run("--version").says(0, &["fn 0.1.0"]);
}

#[test]
fn functions_are_listed_and_shown() {
    let world = World::new();
    let hello = json!({ "name": "hello", "revision": 3, "runtime": "python", "instances": 1, "created": "2026-01-02T03:04:05Z",
                        "url": "http://127.0.0.1:8080/function/hello" });
    world.on("GET /v1/functions", 200, &json!({ "functions": [hello] }));
    world.on(
        "GET /v1/functions/hello",
        200,
        &json!({ "name": "hello", "live": 3, "settings": { "memory": "64MiB" } }),
    );
    world
        .run("list")
        .says(0, &["NAME", "hello  3", "http://127.0.0.1:8080/function/hello"]);
    assert_eq!(world.run("list --json").says(0, &[]).json()["functions"][0], hello);
    world
        .run("show hello")
        .says(0, &["name             hello\n", "settings.memory  64MiB\n"]);
    assert_eq!(world.run("show hello --json").says(0, &[]).json()["live"], 3);
}

#[test]
fn evict_and_rm_say_what_they_did() {
    let world = World::new();
    world.on(
        "POST /v1/functions/hello/evict?all=false",
        200,
        &json!({ "evicted": 1 }),
    );
    world.on("POST /v1/functions/hello/evict?all=true", 200, &json!({ "evicted": 4 }));
    world.reply("DELETE /v1/functions/hello", (204, vec![], String::new()));
    world.run("evict hello").says(0, &["1 instance of hello is gone"]);
    world
        .run("evict hello --all")
        .says(0, &["4 instances of hello are gone"]);
    assert_eq!(world.run("evict hello --all --json").says(0, &[]).json()["evicted"], 4);
    world.run("rm hello").says(0, &["hello is removed"]);
    assert_eq!(world.run("rm hello --json").says(0, &[]).json()["removed"], true);
}

#[test]
fn logs_are_lines_or_one_array() {
    let world = World::new();
    let lines = "{\"time\":\"t1\",\"request_id\":\"r1\",\"text\":\"one\"}\n{\"time\":\"t2\",\"text\":\"two\"}\n";
    let reply = || (200, vec![("content-type", "application/x-ndjson")], lines.to_owned());
    world.reply("GET /v1/functions/hello/logs?follow=false", reply());
    world.reply("GET /v1/functions/hello/logs?follow=true&request=r%2F1&tail=5", reply());
    assert_eq!(world.run("logs hello").says(0, &[]).out, "t1 r1 one\nt2 - two\n");
    assert_eq!(
        world
            .run("logs hello --json")
            .says(0, &[])
            .json()
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let followed = world.run("logs hello -f --request r/1 --tail 5 --json");
    assert_eq!(followed.says(0, &[]).out.lines().count(), 2);
}

#[test]
fn a_reply_is_printed_as_it_is() {
    let world = World::new();
    let headers = vec![
        ("x-fn-instance", "b1"),
        ("x-fn-start", "cold"),
        ("content-type", "application/json"),
    ];
    world.reply(
        "POST /v1/functions/hello/invoke/a%20b?x=1",
        (200, headers.clone(), "{\"ok\":true}".into()),
    );
    world.reply(
        "GET /v1/functions/hello/invoke/",
        (418, headers, "short and stout".into()),
    );

    let ended = world.run("invoke hello -d {\"n\":1} --path /a%20b?x=1 -H X-Two:~2 -H x-two:~3 -v");
    ended.says(0, &[]);
    assert_eq!(ended.out, "{\"ok\":true}");
    assert!(
        ended.err.contains("200 OK\n") && ended.err.contains("x-fn-start: cold\n"),
        "{ended:?}"
    );
    let seen = &world.seen("POST /v1/functions/hello/invoke")[0];
    assert_eq!(seen.body, "{\"n\":1}");
    assert_eq!(seen.headers["content-type"], "application/json");
    assert_eq!(seen.headers.get_all("x-two").iter().count(), 2);

    let ended = world.run("invoke hello");
    assert_eq!(
        (ended.code, ended.out.as_str(), ended.err.as_str()),
        (1, "short and stout", "")
    );
    let document = world.run("invoke hello --json").says(1, &[]).json();
    assert_eq!(
        (&document["status"], &document["body"]),
        (&json!(418), &json!("short and stout"))
    );
}

#[test]
fn bodies_come_from_files_and_standard_input_whatever_their_size() {
    let world = World::new();
    let reply = (200, vec![("x-fn-instance", "b1")], "done".to_owned());
    world.reply("PUT /v1/functions/hello/invoke/", reply);
    let large = vec![0xff; 1 << 20];
    std::fs::write(world.path("large"), &large).unwrap();
    world.run("invoke hello --method PUT -d @{}/large").says(0, &["done"]);
    world
        .run_with("invoke hello --method PUT -d @-", &large)
        .says(0, &["done"]);
    world
        .run_with("invoke hello --method PUT -d @- -H Content-Type:image/png", b"[1]")
        .says(0, &["done"]);
    let seen = world.seen("PUT ");
    assert_eq!(seen[0].body, large);
    assert_eq!(seen[1].body, large);
    let types: Vec<_> = seen
        .iter()
        .map(|seen| seen.headers["content-type"].to_str().unwrap())
        .collect();
    assert_eq!(
        types,
        ["application/octet-stream", "application/octet-stream", "image/png"]
    );
    world
        .run("invoke hello -d @{}/nowhere")
        .says(4, &["the body can't be read from", "nowhere"]);
}

#[test]
fn an_error_of_the_platform_is_no_reply_of_the_function() {
    let world = World::new();
    let error =
        |code: &str, message: &str| json!({ "error": { "code": code, "message": message, "request_id": "r1" } });
    world.on(
        "GET /v1/functions/hello/invoke/",
        429,
        &error("queue_full", "100 calls are waiting already"),
    );
    let ended = world.run("invoke hello");
    ended.says(7, &["error: 100 calls are waiting already"]);
    assert_eq!(ended.out, "");
    // An instance was found and did not answer: the document names the request, so it is no reply of the function.
    let headers = vec![
        ("content-type", "application/json"),
        ("x-fn-instance", "b1"),
        ("x-fn-request-id", "r1"),
    ];
    let timeout = error("timeout", "no answer within 30s").to_string();
    world.reply(
        "GET /v1/functions/hello/invoke/",
        (504, headers.clone(), timeout.clone()),
    );
    world
        .run("invoke hello")
        .says(1, &["error: no answer within 30s", "fn logs hello --request r1"]);
    assert_eq!(
        world.run("invoke hello --json").says(1, &[]).json()["error"]["code"],
        "timeout"
    );
    // A function that answers with such a document of its own is left alone.
    let forged = timeout.replace("r1", "r2");
    world.reply("GET /v1/functions/hello/invoke/", (504, headers, forged.clone()));
    assert_eq!(world.run("invoke hello").says(1, &[]).out, forged);
}

#[test]
fn a_call_that_can_not_be_made_is_not_made() {
    let world = World::new();
    world
        .run("invoke hello --path /../../other")
        .says(3, &["leaves the function"]);
    world.run("invoke hello --path a").says(3, &["must begin with '/'"]);
    world.run("invoke hello --method A~B").says(2, &["not an HTTP method"]);
    world
        .run("invoke hello -H A~B:~c")
        .says(2, &["can't be sent as a header"]);
    assert!(world.seen("").is_empty());
}

#[test]
fn doctor_looks_for_itself_when_no_server_runs() {
    let world = World::silent();
    let run = world.run("doctor --json");
    let document = run.json();
    let lacking = !document["missing"].as_array().unwrap().is_empty();
    run.says(i32::from(lacking), &[]);
    let findings = document["findings"].as_array().unwrap();
    for name in [
        "kernel",
        "memory limit",
        "cpu limit",
        "pids limit",
        "seccomp",
        "listen calls",
        "landlock",
    ] {
        let finding = findings.iter().find(|finding| finding["name"] == name).unwrap();
        assert_eq!(finding["fix"].is_null(), finding["state"] == "ok", "{finding}");
    }
    assert!(document["server"].is_null());
}

#[test]
fn doctor_shows_the_fix_and_fails_only_for_what_is_missing() {
    let world = World::new();
    let report = |state: &str| {
        let finding = json!({ "name": "memory limit", "state": state, "found": "nothing", "fix": "systemctl enable x",
                              "meaning": "a function can't take the host's memory" });
        json!({ "report": { "findings": [finding] } })
    };
    world.on("GET /v1/info", 200, &report("weaker"));
    world.run("doctor").says(
        0,
        &["CAPABILITY", "weaker", "    systemctl enable x\n", "by weaker means"],
    );
    world.on("GET /v1/info", 200, &report("missing"));
    world.run("doctor").says(1, &["Not enforced here: memory limit"]);
    let document = world.run("doctor --json").says(1, &[]).json();
    assert_eq!(document["missing"], json!(["memory limit"]));
}

#[test]
fn an_answer_that_is_no_json_is_told_apart() {
    let world = World::new();
    world.reply("GET /v1/functions", (200, vec![], "<html>".into()));
    world.run("list").says(1, &["the server's answer is not JSON"]);
    world.reply("GET /v1/functions", (500, vec![], "fell over".into()));
    world
        .run("list")
        .says(1, &["500 Internal Server Error", "    fell over"]);
}

#[test]
fn completions_name_every_command() {
    let world = World::silent();
    for shell in ["bash", "zsh", "fish"] {
        world
            .run(&format!("completions {shell}"))
            .says(0, &["deploy", "evict", "doctor"]);
    }
    assert_eq!(
        world.run("completions bash --json").says(0, &[]).json()["shell"],
        "bash"
    );
}
