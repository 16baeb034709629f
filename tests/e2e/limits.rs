//! The limits of memory, processes, CPU and files hold, each alone, and say so.

use tests::{Server, Source, poll, processes, skip};

/// Writes every page of 200 MB, beside a second process that must not outlive it.
fn eats_memory(marker: &str) -> Source {
    Source::python_body(&format!(
        "    if 'eat' not in query:\n        return 'ok'\n    \
         subprocess.Popen(['{marker}', '1000'], executable='/bin/sleep')\n    \
         eaten = bytearray(200 * 1024 * 1024)\n    \
         for at in range(0, len(eaten), 4096):\n        eaten[at] = 1\n    \
         return 'full'"
    ))
}

#[tokio::test]
async fn memory_kills_the_whole_instance_and_nobody_else() {
    let server = Server::start().await;
    if let Some(reason) = server.does_not_enforce("memory").await {
        skip!("{reason}");
    }
    let marker = processes::marker("oom");
    server
        .deploy("glutton", &eats_memory(&marker), &["--memory", "64MiB"])
        .await;
    server
        .deploy("neighbour", &Source::python_body("    return 'ok'"), &[])
        .await;
    let neighbour = server.call("neighbour").await.good();
    let first = server.call("glutton").await.good();

    let url = format!("{}?eat=1", server.function("glutton"));
    let reply = server.client().get(&url).await.expect("the platform answers");
    assert_eq!(reply.error(502), "out_of_memory");
    poll::until("the end of every process of the instance", async || {
        processes::marked(&marker).is_empty().then_some(())
    })
    .await;
    poll::until("the kill in the metrics", async || {
        (server
            .metrics()
            .await
            .sum("fn_oom_kills_total", &[("function", "glutton")])
            >= 1.0)
            .then_some(())
    })
    .await;

    let again = server.call("glutton").await;
    again.is_cold();
    assert_ne!(again.instance(), first.instance());
    let still = server.call("neighbour").await;
    still.is_warm();
    assert_eq!(
        still.instance(),
        neighbour.instance(),
        "the neighbour's process lives on"
    );
    assert_eq!(
        server
            .metrics()
            .await
            .sum("fn_oom_kills_total", &[("function", "neighbour")]),
        0.0
    );
}

#[tokio::test]
async fn pids_stop_a_fork_bomb() {
    let server = Server::start().await;
    if let Some(reason) = server.does_not_enforce("pids").await {
        skip!("{reason}");
    }
    let source = Source::python_body(
        "    children, error = [], None\n    \
         try:\n        for _ in range(500):\n            \
         children.append(subprocess.Popen(['/bin/sleep', '1000']))\n    \
         except OSError as seen:\n        error = seen.errno\n    \
         for child in children:\n        child.kill()\n        child.wait()\n    \
         return {'children': len(children), 'errno': error}",
    );
    server.deploy("bomb", &source, &["--set", "pids=32"]).await;
    let seen = server.call("bomb").await.good().json();
    let children = seen["children"].as_u64().expect("a number");
    assert!((1..32).contains(&children), "at most 32 processes in all: {seen}");
    assert_eq!(seen["errno"], 11, "the kernel says EAGAIN: {seen}");
    server.call("bomb").await.good();
}

#[tokio::test]
async fn cpu_is_rationed() {
    let server = Server::start().await;
    if let Some(reason) = server.does_not_enforce("cpu").await {
        skip!("{reason}");
    }
    // A busy machine can only make the share smaller, so this bound needs no quiet one.
    let source = Source::python_body(
        "    begun = time.monotonic()\n    used = time.process_time()\n    \
         while time.monotonic() - begun < 3:\n        pass\n    \
         return (time.process_time() - used) / (time.monotonic() - begun)",
    );
    server.deploy("busy", &source, &["--set", "cpu=0.25"]).await;
    let share = server.call("busy").await.good().json().as_f64().expect("a number");
    assert!(share < 0.40, "a quarter of a CPU was allowed, {share} was used");
}

#[tokio::test]
async fn tmp_is_bounded_and_the_rest_is_read_only() {
    let server = Server::start().await;
    let source = Source::python_body(
        "    written, seen = 0, {}\n    \
         try:\n        with open('/tmp/big', 'wb', buffering=0) as file:\n            \
         while written < 200 * 1024 * 1024:\n                written += file.write(bytes(1024 * 1024))\n    \
         except OSError as error:\n        seen['errno'] = error.errno\n    \
         os.remove('/tmp/big')\n    seen['written'] = written\n    \
         try:\n        open('/function/x', 'w').close()\n        seen['root'] = 0\n    \
         except OSError as error:\n        seen['root'] = error.errno\n    \
         return seen",
    );
    server.deploy("fills", &source, &["--set", "tmp=16MiB"]).await;
    let seen = server.call("fills").await.good().json();
    assert_eq!(seen["errno"], 28, "the kernel says ENOSPC: {seen}");
    assert!(
        seen["written"]
            .as_u64()
            .is_some_and(|written| written <= 16 * 1024 * 1024),
        "{seen}"
    );
    assert_eq!(seen["root"], 30, "the kernel says EROFS: {seen}");
}

#[tokio::test]
async fn a_writable_root_is_bounded_and_forgotten() {
    let server = Server::start().await;
    let source = Source::python_body(
        "    path, written, errno = '/function/grown', 0, 0\n    was_there = os.path.exists(path)\n    \
         try:\n        with open(path, 'wb', buffering=0) as file:\n            \
         while written < 200 * 1024 * 1024:\n                written += file.write(bytes(1024 * 1024))\n    \
         except OSError as error:\n        errno = error.errno\n    \
         return {'was_there': was_there, 'written': written, 'errno': errno}",
    );
    server
        .deploy("grows", &source, &["--set", "rootfs=writable", "--set", "tmp=16MiB"])
        .await;
    for _ in 0..2 {
        let seen = server.call("grows").await.good().json();
        assert_eq!(
            seen["was_there"], false,
            "what an instance wrote is gone with it: {seen}"
        );
        assert_eq!(seen["errno"], 28, "the kernel says ENOSPC: {seen}");
        assert!(
            seen["written"]
                .as_u64()
                .is_some_and(|written| 0 < written && written <= 16 * 1024 * 1024),
            "{seen}"
        );
        server.evict("grows").await;
    }
}

#[tokio::test]
async fn what_is_used_is_in_the_metrics() {
    let server = Server::start().await;
    if let Some(reason) = server.does_not_enforce("memory").await {
        skip!("{reason}");
    }
    server
        .deploy(
            "uses",
            &Source::python_body("    sum(range(10**6))\n    return 'ok'"),
            &[],
        )
        .await;
    server.call("uses").await.good();
    poll::until("memory, cpu and pids of the function", async || {
        let metrics = server.metrics().await;
        let all = ["fn_memory_bytes", "fn_cpu_seconds_total", "fn_pids"];
        all.iter()
            .all(|name| metrics.sum(name, &[("function", "uses")]) > 0.0)
            .then_some(())
    })
    .await;
}
