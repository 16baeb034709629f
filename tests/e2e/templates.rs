//! Instances that are forked from a template: what they share with it, and what they must not share with each other.

use std::collections::BTreeSet;

use serde_json::Value;
use tests::{Reply, Server, Source, poll};

/// What `fn show` says of how instances of a function are started.
async fn class(server: &Server, name: &str) -> serde_json::Value {
    server.fn_command(["show", name]).await.good().json()["class"].clone()
}

/// Deploys, calls once, and waits until the function's template stands.
async fn with_template(source: &Source, args: &[&str]) -> (Server, Reply) {
    let server = Server::start().await;
    server.deploy("forked", source, args).await;
    let first = server.call("forked").await.good();
    poll::until("the template", async || {
        (class(&server, "forked").await["name"] == "fork").then_some(())
    })
    .await;
    (server, first)
}

/// Kills every instance that was used, so that the next call gets a process that never ran one.
async fn fresh(server: &Server, name: &str) -> Reply {
    server.fn_command(["evict", name]).await.good();
    let reply = server.call(name).await.good();
    reply.is_cold();
    reply
}

const ON_DEMAND: &[&str] = &["--set", "scale.ahead=0"];

#[tokio::test]
async fn starts_after_the_first_are_forks() {
    let source = Source::python(
        "import os\n\nimported_by = os.getpid()\ncalls = []\n\n\ndef handler(event, context):\n    calls.append(1)\n    return {'pid': os.getpid(), 'imported_by': imported_by, 'calls': len(calls)}\n",
    );
    let (server, first) = with_template(&source, ON_DEMAND).await;
    assert_eq!(first.start(), "pooled");
    let mut instances = BTreeSet::from([first.instance().to_owned()]);
    for _ in 0..5 {
        let forked = fresh(&server, "forked").await;
        assert_eq!(forked.start(), "forked");
        let said = forked.json();
        assert_ne!(
            said["imported_by"], said["pid"],
            "it was imported in another process: {said}"
        );
        assert_eq!(said["calls"], 1, "{said}");
        assert!(
            instances.insert(forked.instance().to_owned()),
            "each has an id of its own"
        );
        let warm = server.call("forked").await.good();
        warm.is_warm();
        assert_eq!(warm.json()["calls"], 2);
    }
    let metrics = server.metrics().await;
    assert_eq!(metrics.sum("fn_templates_standing", &[]), 1.0);
    let forks = [("function", "forked"), ("start", "forked")];
    assert_eq!(metrics.sum("fn_invocations_total", &forks), 5.0);
}

#[tokio::test]
async fn a_signal_to_its_process_group_reaches_no_other_process_of_the_function() {
    let source = Source::python(
        "import os, signal\n\nstamp = os.urandom(8).hex()\n\n\ndef handler(event, context):\n    if event['rawQueryString'] == 'kill':\n        os.kill(0, signal.SIGKILL)\n    return [stamp, os.getpgrp() == os.getpid() == os.getsid(0)]\n",
    );
    let (server, _) = with_template(&source, ON_DEMAND).await;
    let before = fresh(&server, "forked").await;
    assert_eq!((before.start(), &before.json()[1]), ("forked", &true.into()));
    let url = format!("{}?kill", server.function("forked"));
    let killed = server.client().get(&url).await.expect("the server answers");
    assert_eq!(killed.error(502), "function_exited");
    let after = server.call("forked").await.good();
    assert_eq!(after.start(), "forked");
    assert_eq!(after.json(), before.json(), "the template lives on");
}

#[tokio::test]
async fn a_fork_waits_for_the_next_call() {
    let (server, _) = with_template(&Source::python_body("    return os.getpid()"), &[]).await;
    let waiting = async || {
        let metrics = server.metrics().await;
        let ahead = [("function", "forked"), ("state", "ahead")];
        (metrics.sum("fn_instances", &ahead) >= 1.0).then_some(())
    };
    for _ in 0..3 {
        poll::until("a fork that waits", waiting).await;
        let shown = server.fn_command(["show", "forked"]).await.good().json();
        if let Some(counted) = shown["ahead_memory_bytes"].as_u64() {
            let metrics = server.metrics().await;
            assert!(counted > 0, "{shown}");
            assert!(metrics.sum("fn_ahead_memory_bytes", &[("function", "forked")]) > 0.0);
        }
        assert_eq!(fresh(&server, "forked").await.start(), "ahead");
    }
}

#[tokio::test]
async fn no_two_forks_draw_the_same_random_numbers() {
    let source = Source::python(
        "import random, secrets, ssl, tempfile, uuid\n\n\
         ssl.RAND_bytes(16)\nrandom.random()\nuuid.uuid4()\n\n\n\
         def handler(event, context):\n\
         \x20   return [ssl.RAND_bytes(16).hex(), random.random(), secrets.token_hex(), str(uuid.uuid4()), tempfile.mktemp()]\n",
    );
    let (server, first) = with_template(&source, ON_DEMAND).await;
    let mut drawn: Vec<BTreeSet<String>> = vec![BTreeSet::new(); 5];
    let mut draw = |reply: &Reply| {
        let values = reply.json();
        for (seen, value) in drawn.iter_mut().zip(values.as_array().expect("it answers with a list")) {
            assert!(seen.insert(value.to_string()), "{value} was drawn before");
        }
    };
    draw(&first);
    for _ in 0..8 {
        let forked = fresh(&server, "forked").await;
        assert_eq!(forked.start(), "forked");
        draw(&forked);
    }
}

#[tokio::test]
async fn a_function_may_renew_what_only_it_knows_of() {
    let source = Source::python(
        "import os, random\n\nown = random.Random(7)\nrestored = []\n\n\n\
         def after_restore():\n    own.seed(os.urandom(16))\n    restored.append(os.getpid())\n\n\n\
         def handler(event, context):\n    return {'own': own.random(), 'restored': restored == [os.getpid()]}\n",
    );
    let (server, _) = with_template(&source, ON_DEMAND).await;
    let (one, other) = (
        fresh(&server, "forked").await.json(),
        fresh(&server, "forked").await.json(),
    );
    assert_eq!((&one["restored"], &other["restored"]), (&true.into(), &true.into()));
    assert_ne!(one["own"], other["own"]);
}

#[tokio::test]
async fn what_can_not_be_forked_is_executed_and_says_why() {
    let cases = [
        (
            "threads",
            "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()",
            "threads run",
        ),
        ("sockets", "import socket\nkept = socket.socketpair()", "socket:"),
        ("files", "kept = open('/usr/bin/env')", "/usr/bin/env open"),
        ("shared", "import mmap\nkept = mmap.mmap(-1, 4096)", "to write in"),
        ("written", "open('/tmp/cache', 'w').write('x')", "writes cache"),
    ];
    let server = Server::start().await;
    for (name, import, why) in cases {
        let source = Source::python(&format!(
            "{import}\n\n\ndef handler(event, context):\n    return 'fine'\n"
        ));
        server.deploy(name, &source, &[]).await;
        assert_eq!(server.call(name).await.good().start(), "pooled");
        let class = poll::until("the verdict", async || {
            let class = class(&server, name).await;
            class["why"]
                .as_str()
                .is_some_and(|text| text.contains(why))
                .then_some(class)
        })
        .await;
        assert_eq!(class["name"], "exec", "{class}");
        assert_eq!(fresh(&server, name).await.start(), "pooled");
    }
}

#[tokio::test]
async fn a_template_that_dies_is_replaced_and_its_forks_outlive_none_of_their_calls() {
    let source = Source::python_body("    time.sleep(float(query.get('sleep', 0)))\n    return os.getpid()");
    let (server, _) = with_template(&source, ON_DEMAND).await;
    assert_eq!(fresh(&server, "forked").await.start(), "forked");
    let templates = || {
        let family = tests::processes::family(server.pid());
        let is_template = |pid: &i32| {
            std::fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains("template.py"))
                && tests::processes::status(*pid, "NSpid").is_some_and(|pids| pids.ends_with("19999"))
        };
        family
            .into_iter()
            .map(|process| process.pid)
            .filter(is_template)
            .collect::<Vec<_>>()
    };
    let found = templates();
    assert_eq!(found.len(), 1, "{found:?}");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(found[0]), nix::sys::signal::Signal::SIGKILL)
        .expect("the template can be killed");
    // Whatever is there meanwhile, calls are answered.
    let replaced = poll::until("another template", async || {
        fresh(&server, "forked").await;
        let now = templates();
        (now.len() == 1 && now != found).then_some(())
    });
    replaced.await;
    poll::until("a fork of it", async || {
        (fresh(&server, "forked").await.start() == "forked").then_some(())
    })
    .await;
    // Somebody is told.
    let told = server
        .fn_command(["alerts", "--function", "forked"])
        .await
        .good()
        .json();
    let told = told.as_array().expect("a list");
    assert!(told.iter().any(|alert| alert["rule"] == "template-drift"), "{told:?}");
}

#[tokio::test]
async fn a_template_that_talks_nonsense_is_given_up_and_no_call_is_lost() {
    let source = Source::python(
        "import os\n\nos.register_at_fork(before=lambda: os.write(3, b'nonsense'))\n\n\ndef handler(event, context):\n    return 'fine'\n",
    );
    let server = Server::start().await;
    server.deploy("talks", &source, ON_DEMAND).await;
    let class = poll::until("the verdict", async || {
        fresh(&server, "talks").await;
        let class = class(&server, "talks").await;
        class["why"]
            .as_str()
            .is_some_and(|why| why.contains("failed 3 times"))
            .then_some(class)
    })
    .await;
    assert_eq!(class["name"], "exec", "{class}");
    assert_eq!(fresh(&server, "talks").await.start(), "pooled");
}

#[tokio::test]
async fn a_function_that_is_thrown_out_keeps_no_template() {
    let (server, _) = with_template(&Source::python_body("    return 'ok'"), &[]).await;
    server.fn_command(["evict", "forked", "--all"]).await.good();
    let metrics = server.metrics().await;
    assert_eq!(metrics.sum("fn_templates_standing", &[]), 0.0);
    server.scaled_to_zero("forked").await;
    assert_eq!(server.call("forked").await.good().start(), "pooled");
}

#[tokio::test]
async fn a_function_that_keeps_nothing_has_no_template() {
    let server = Server::start().await;
    let source = Source::python_body("    return 'ok'");
    server.deploy("frugal", &source, &["--set", "scale.keep=nothing"]).await;
    server.call("frugal").await.good();
    assert_eq!(fresh(&server, "frugal").await.start(), "pooled");
    let class = class(&server, "frugal").await;
    assert_eq!(class["name"], "exec");
    assert!(class["why"].as_str().is_some_and(|why| why.contains("keep")), "{class}");
}

#[tokio::test]
async fn threads_and_several_lanes_work_in_a_fork() {
    let source = Source::python(
        "import threading, time\n\n\ndef handler(event, context):\n    time.sleep(0.05)\n    return threading.current_thread() is threading.main_thread()\n",
    );
    let args = [
        "--set",
        "scale.ahead=0",
        "--set",
        "concurrency=4",
        "--set",
        "scale.max=1",
    ];
    let (server, _) = with_template(&source, &args).await;
    assert_eq!(fresh(&server, "forked").await.start(), "forked");
    let calls = (0..8).map(|_| server.call("forked"));
    for reply in futures_util::future::join_all(calls).await {
        reply.good();
    }
}

#[tokio::test]
async fn a_fork_prints_to_the_log_of_its_own_calls() {
    let source = Source::python(
        "import sys\nprint('imported')\n\n\ndef handler(event, context):\n    print('called')\n    open('/dev/stderr', 'w').write('and again\\n')\n    return 'ok'\n",
    );
    let (server, _) = with_template(&source, ON_DEMAND).await;
    let forked = fresh(&server, "forked").await;
    assert_eq!(forked.start(), "forked");
    let id = forked.header("x-fn-request-id").to_owned();
    let logs = server.fn_command(["logs", "forked", "--request", &id]).await.good();
    assert!(
        logs.stdout.contains("called") && logs.stdout.contains("and again"),
        "{}",
        logs.all()
    );
    assert!(
        !logs.stdout.contains("imported"),
        "that was the template's: {}",
        logs.all()
    );
    let whole = server.fn_command(["logs", "forked"]).await.good().json();
    let by_template = |record: &Value| record["instance"] == "template" && record["text"] == "imported";
    assert!(
        whole.as_array().is_some_and(|records| records.iter().any(by_template)),
        "{whole}"
    );
}

/// What building the forks takes is counted for the template by the kernel, and may be more than the function's own memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_forks_as_may_be_fit_beside_a_template_of_little_memory() {
    const FORKS: usize = 80;
    let source = Source::python("import time\n\n\ndef handler(event, context):\n    time.sleep(3)\n    return 'ok'\n");
    let most = format!("scale.max={FORKS}");
    let (server, _) = with_template(
        &source,
        &["--set", "memory=48MiB", "--set", &most, "--set", "queue=1000"],
    )
    .await;
    let url = server.function("forked");
    let calls: Vec<_> = (0..FORKS)
        .map(|_| {
            let (client, url) = (server.client().clone(), url.clone());
            tokio::spawn(async move { client.get(&url).await.expect("a reply") })
        })
        .collect();
    for call in calls {
        call.await.expect("the call's task ends").good();
    }
    assert_eq!(class(&server, "forked").await["name"], "fork", "its template stands");
}
