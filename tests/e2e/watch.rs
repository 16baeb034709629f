//! What instances do is seen from outside, and rules say what becomes of it.

use serde_json::Value;
use tests::{Place, Server, Source, poll, skip};

/// A handler that does what the query says.
fn handler() -> Source {
    Source::python(
        "import ctypes, os, socket, subprocess, time


def handler(event, context):
    query = event.get('queryStringParameters') or {}
    if 'run' in query:
        return subprocess.run(query['run'].split(), capture_output=True, text=True).stdout
    if 'connect' in query:
        host, port = query['connect'].rsplit(':', 1)
        try:
            socket.create_connection((host, int(port)), timeout=1)
        except OSError as error:
            return {'errno': error.errno}
    if 'refused' in query:
        libc = ctypes.CDLL(None, use_errno=True)
        done = {(libc.unshare(0x10000000), ctypes.get_errno()) for _ in range(int(query['refused']))}
        return sorted(done)
    if 'forks' in query:
        for _ in range(int(query['forks'])):
            if os.fork() == 0:
                os.execv('/bin/true', ['true'])
            os.wait()
    if 'orphan' in query:
        if os.fork() == 0:
            child = os.getpid()
            if os.fork() == 0:
                while os.getppid() == child:
                    os.sched_yield()
                try:
                    os.execv('/tmp/none', ['none'])
                finally:
                    os._exit(0)
            os._exit(0)
        os.wait()
    if 'exit' in query:
        os._exit(3)
    if 'sleep' in query:
        time.sleep(100)
    return 'ok'
",
    )
}

async fn ask(server: &Server, function: &str, query: &str) -> tests::Reply {
    let url = format!("{}?{query}", server.function(function));
    server.client().get(&url).await.expect("the platform answers")
}

/// The alerts of one function, as `fn alerts` prints them.
async fn alerts(server: &Server, function: &str) -> Vec<Value> {
    let said = server.fn_command(["alerts", "--function", function]).await.good();
    said.json().as_array().expect("a list").clone()
}

/// Waits for an alert of a rule.
async fn alert(server: &Server, function: &str, rule: &str) -> Value {
    poll::until(&format!("an alert of {rule}"), async || {
        let found = alerts(server, function).await;
        found.into_iter().find(|alert| alert["rule"] == rule)
    })
    .await
}

/// A server with these rules beside the shipped ones.
async fn with_rules(text: &str) -> Server {
    let place = Place::new();
    let file = place.ours("rules.toml");
    std::fs::write(&file, text).expect("a file can be written");
    let path = file.to_str().expect("a path of ours is text").to_owned();
    Server::start_in(place, &["--rules", &path]).await
}

/// Whether the kernel tells of calls; else only what the host knows itself is seen.
fn tells() -> bool {
    let actions = std::fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default();
    actions.contains("user_notif")
}

#[tokio::test]
async fn a_shell_in_a_function_is_told_with_its_instance_and_counted() {
    if !tells() {
        skip!("the kernel tells of no calls");
    }
    let server = Server::start().await;
    server.deploy("handy", &handler(), &[]).await;
    let quiet = ask(&server, "handy", "").await.good();
    assert!(
        alerts(&server, "handy").await.is_empty(),
        "nothing is executed by a plain call"
    );
    assert_eq!(ask(&server, "handy", "run=/bin/sh%20-c%20:").await.good().status, 200);
    let told = alert(&server, "handy", "shell-in-function").await;
    assert_eq!(
        (told["severity"].as_str(), told["done"].as_str()),
        (Some("warning"), Some("told"))
    );
    assert_eq!(told["detail"], "executed /bin/sh");
    assert_eq!(told["instance"].as_str(), Some(quiet.instance()));
    let metrics = server.metrics().await;
    let labels = [
        ("rule", "shell-in-function"),
        ("severity", "warning"),
        ("function", "handy"),
    ];
    assert_eq!(metrics.sum("fn_alerts_total", &labels), 1.0);
    assert!(metrics.sum("fn_watch_events_total", &[("event", "exec")]) >= 1.0);
    assert!(metrics.has("fn_watch_dropped_total", &[]));
    // A function that was removed has no series.
    server.fn_command(["rm", "handy"]).await.good();
    assert!(!server.metrics().await.has("fn_alerts_total", &[("function", "handy")]));
}

#[tokio::test]
async fn forks_of_a_template_are_seen_as_the_executed_are() {
    if !tells() {
        skip!("the kernel tells of no calls");
    }
    let server = Server::start().await;
    server.deploy("forked", &handler(), &[]).await;
    server.call("forked").await.good();
    poll::until("the template", async || {
        let shown = server.fn_command(["show", "forked"]).await.good().json();
        (shown["class"]["name"] == "fork").then_some(())
    })
    .await;
    server.fn_command(["evict", "forked"]).await.good();
    let fork = ask(&server, "forked", "run=/bin/sh%20-c%20:").await.good();
    assert!(matches!(fork.start(), "forked" | "ahead"), "{}", fork.start());
    let told = alert(&server, "forked", "shell-in-function").await;
    assert_eq!(told["instance"].as_str(), Some(fork.instance()));
    // Also a child whose parent is gone.
    ask(&server, "forked", "orphan=1").await.good();
    let told = alert(&server, "forked", "exec-from-writable").await;
    assert_eq!(told["instance"].as_str(), Some(fork.instance()));
    assert_eq!(told["detail"], "executed /tmp/none");
}

#[tokio::test]
async fn connections_refused_calls_crashes_and_timeouts_are_told() {
    let server = with_rules("[[rule]]\nname = \"repeated-timeouts\"\nrate = { count = 1, within = \"1s\" }\n").await;
    server.deploy("busy", &handler(), &["--timeout", "1s"]).await;
    if tells() {
        assert_eq!(
            ask(&server, "busy", "connect=192.0.2.7:80").await.good().json()["errno"],
            101
        );
        let told = alert(&server, "busy", "connect-outside").await;
        assert_eq!(told["detail"], "connected to 192.0.2.7:80");
        // The errno is that of the filter, whoever answers.
        let refused = ask(&server, "busy", "refused=30").await.good();
        assert_eq!(refused.json(), serde_json::json!([[-1, 1]]));
        let told = alert(&server, "busy", "refused-calls").await;
        assert_eq!(told["detail"], "called unshare, which was refused");
    }
    for _ in 0..3 {
        assert_eq!(ask(&server, "busy", "exit=1").await.error(502), "function_exited");
    }
    let told = alert(&server, "busy", "repeated-crashes").await;
    assert_eq!(told["detail"], "ended by itself: it exited with code 3");
    assert_eq!(ask(&server, "busy", "sleep=1").await.error(504), "timeout");
    alert(&server, "busy", "repeated-timeouts").await;
}

#[tokio::test]
async fn limits_that_were_reached_are_told() {
    let server = Server::start().await;
    if let Some(reason) = server.does_not_enforce("memory").await {
        skip!("{reason}");
    }
    let source = Source::python_body(
        "    if 'eat' in query:\n        return len(b'x' * (200 << 20))\n    \
         if 'fork' in query:\n        \
         children = []\n        \
         try:\n            while True:\n                children.append(subprocess.Popen(['/bin/sleep', '1000']))\n        \
         except OSError as error:\n            return error.errno\n    return 'ok'",
    );
    server
        .deploy("limited", &source, &["--memory", "64MiB", "--set", "pids=16"])
        .await;
    if server.does_not_enforce("pids").await.is_none() {
        ask(&server, "limited", "fork=1").await.good();
        server.evict("limited").await;
        let told = alert(&server, "limited", "pids-limit").await;
        let detail = told["detail"].as_str().expect("a text");
        assert!(detail.starts_with("was refused "), "{detail}");
    }
    assert_eq!(ask(&server, "limited", "eat=1").await.error(502), "out_of_memory");
    alert(&server, "limited", "out-of-memory").await;
}

#[tokio::test]
async fn a_rule_kills_and_the_caller_is_told_so() {
    if !tells() {
        skip!("the kernel tells of no calls");
    }
    let server = with_rules("[[rule]]\nname = \"exec-from-writable\"\naction = \"kill\"\n").await;
    let source = Source::python_body(
        "    if 'bad' in query:\n        \
         try:\n            subprocess.run(['/tmp/miner'])\n        \
         except OSError:\n            time.sleep(100)\n    return 'ok'",
    );
    server.deploy("victim", &source, &[]).await;
    let first = server.call("victim").await.good();
    assert_eq!(ask(&server, "victim", "bad=1").await.error(502), "stopped_by_rule");
    let told = alert(&server, "victim", "exec-from-writable").await;
    assert_eq!(
        (told["action"].as_str(), told["done"].as_str()),
        (Some("kill"), Some("killed"))
    );
    assert_eq!(told["instance"].as_str(), Some(first.instance()));
    let next = server.call("victim").await.good();
    assert_ne!(next.instance(), first.instance());
}

#[tokio::test]
async fn a_rule_puts_an_instance_aside_where_it_stands() {
    if !tells() {
        skip!("the kernel tells of no calls");
    }
    let server = with_rules("[[rule]]\nname = \"shell-in-function\"\naction = \"quarantine\"\n").await;
    if !crate::frozen::freezes(&server).await {
        skip!("nothing can be frozen here");
    }
    let marker = tests::processes::marker("aside");
    let source = Source::python_body(&format!(
        "    if 'bad' in query:\n        \
         subprocess.Popen(['{marker}', '1000'], executable='/bin/sleep')\n        \
         subprocess.run(['/bin/sh', '-c', ':'])\n    return 'ok'"
    ));
    server
        .deploy("aside", &source, &["--timeout", "3s", "--set", "scale.max=1"])
        .await;
    let first = server.call("aside").await.good();
    let _whichever = ask(&server, "aside", "bad=1").await;
    let told = alert(&server, "aside", "shell-in-function").await;
    assert_eq!(told["done"], "quarantined");
    // It has no place on its shelf, and its processes are still there to be looked at.
    let next = server.call("aside").await.good();
    assert_ne!(next.instance(), first.instance());
    // The kernel may have stopped it on its way into the program: it has the name only a moment later.
    poll::until("the process that was put aside", async || {
        (tests::processes::marked(&marker).len() == 1).then_some(())
    })
    .await;
    server.signal(nix::sys::signal::Signal::SIGTERM);
    let (code, _place) = server.end().await;
    assert_eq!(code, Some(0));
    poll::until("the end of what was kept", async || {
        tests::processes::marked(&marker).is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_flood_is_answered_and_counted_and_neither_hides_nor_stops_others() {
    if !tells() {
        skip!("the kernel tells of no calls");
    }
    let server = Server::start().await;
    server.deploy("flood", &handler(), &["--memory", "256MiB"]).await;
    server.deploy("calm", &handler(), &[]).await;
    ask(&server, "flood", "refused=50000").await.good();
    ask(&server, "flood", "forks=300").await.good();
    ask(&server, "calm", "run=/bin/sh%20-c%20:").await.good();
    alert(&server, "calm", "shell-in-function").await;
    alert(&server, "flood", "refused-calls").await;
    alert(&server, "flood", "events-missed").await;
    assert!(server.metrics().await.sum("fn_watch_dropped_total", &[]) > 1000.0);
    let alerts = alerts(&server, "flood").await;
    assert!(alerts.len() < 100, "{}", alerts.len());
}

#[tokio::test]
async fn what_a_function_writes_into_a_path_forges_no_alert() {
    if !tells() {
        skip!("the kernel tells of no calls");
    }
    let server = Server::start().await;
    let source = Source::python_body(
        "    try:\n        os.execv('/tmp/x\\n{\"rule\":\"forged\"}\\x1b[31m', ['x'])\n    except OSError:\n        return 'ok'",
    );
    server.deploy("forger", &source, &[]).await;
    server.call("forger").await.good();
    let told = alert(&server, "forger", "exec-from-writable").await;
    assert_eq!(told["detail"], "executed /tmp/x\\x0a{\"rule\":\"forged\"}\\x1b[31m");
    assert_eq!(alerts(&server, "forger").await.len(), 1);
}

#[tokio::test]
async fn the_programs_of_the_platform_are_no_events() {
    if !tells() {
        skip!("the kernel tells of no calls");
    }
    let server = with_rules("[[rule]]\nname = \"any\"\nevent = \"exec\"\n").await;
    server.deploy("script", &Source::shell("cat; /bin/true"), &[]).await;
    server.post("script", "hello").await.good();
    let told = poll::until("the end of the script", async || {
        let told = alerts(&server, "script").await;
        told.iter()
            .any(|alert| alert["detail"] == "executed /bin/true")
            .then_some(told)
    })
    .await;
    let details: Vec<&str> = told.iter().filter_map(|alert| alert["detail"].as_str()).collect();
    assert!(
        !details.iter().any(|detail| detail.contains("handler.sh")),
        "{details:?}"
    );
    assert!(details.iter().any(|detail| detail.ends_with("/cat")), "{details:?}");
}

#[tokio::test]
async fn alerts_are_followed_and_rules_are_shown() {
    let server = with_rules("[[rule]]\nname = \"one-crash\"\nevent = \"crash\"\nseverity = \"critical\"\n").await;
    server.deploy("falls", &handler(), &[]).await;
    let log = server.place().ours("followed");
    let _follower = server.fn_background(["alerts", "--follow"], &log);
    poll::until("an alert that was followed", async || {
        ask(&server, "falls", "exit=1").await;
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        text.contains("one-crash").then_some(())
    })
    .await;
    let rules = server.fn_command(["alerts", "--rules"]).await.good().json();
    let names: Vec<&str> = rules["rules"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|rule| rule["name"].as_str())
        .collect();
    assert_eq!(
        (names.first(), names.last()),
        (Some(&"shell-in-function"), Some(&"one-crash"))
    );
}

#[tokio::test]
async fn a_bad_file_of_rules_is_refused_with_its_line() {
    let place = Place::new();
    let file = place.ours("rules.toml");
    std::fs::write(&file, "\n[[rule]]\nname = \"x\"\nevent = \"exec\"\nport = [1]\n").expect("a file can be written");
    let path = file.to_str().expect("a path of ours is text");
    let mut process = Server::launch(&place, &["--rules", path]);
    let code = process.end().await;
    assert_eq!(code, Some(3), "{}", process.log());
    assert!(
        process.log().contains("line 2: the rule `x` has `port`"),
        "{}",
        process.log()
    );
    let mut process = Server::launch(&place, &["--rules", "/nowhere/rules.toml"]);
    assert_eq!(process.end().await, Some(3), "{}", process.log());
}
