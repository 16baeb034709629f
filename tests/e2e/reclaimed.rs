//! The memory of instances that nobody calls goes to swap, and comes back with the next call.

use std::fs;

use tests::{Place, Server, Source, poll, skip};

/// Holds 32 MiB and knows whether they are what they were.
const HEAVY: &str = "\
import hashlib, os

data = os.urandom(1 << 20) * 32
digest = hashlib.sha256(data).digest()

def handler(event, context):
    return hashlib.sha256(data).digest() == digest
";
const MIB: f64 = 1_048_576.0;

/// Mebibytes of swap that are free on this host.
fn swap_free() -> u64 {
    let meminfo = fs::read_to_string("/proc/meminfo").expect("a Linux");
    let line = meminfo.lines().find_map(|line| line.strip_prefix("SwapFree:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok())
        .map_or(0, |kib| kib >> 10)
}

#[tokio::test]
async fn who_is_kept_without_calls_holds_little_and_answers_with_all_it_knew() {
    if swap_free() < 160 {
        skip!("this host has no swap to spare");
    }
    let server = Server::start_in(Place::new(), &["--reclaim-after", "20s"]).await;
    if let Some(why) = server.does_not_enforce("memory").await {
        skip!("{why}");
    }
    if !crate::frozen::freezes(&server).await {
        skip!("nothing can be frozen here");
    }
    server
        .deploy(
            "heavy",
            &Source::python(HEAVY),
            &["--set", "idle=1h", "--set", "memory=128MiB"],
        )
        .await;
    let first = server.call("heavy").await.good();
    let heavy = ("function", "heavy");
    let held = async || server.metrics().await.sum("fn_memory_bytes", &[heavy]) / MIB;
    let before = held().await;
    poll::until("an instance whose memory was given back", async || {
        let reclaimed = [heavy, ("state", "reclaimed")];
        let metrics = server.metrics().await;
        let done =
            metrics.sum("fn_instances", &reclaimed) == 1.0 && metrics.sum("fn_reclaimed_bytes_total", &[heavy]) > 0.0;
        done.then_some(())
    })
    .await;
    let after = held().await;
    let given = server.metrics().await.sum("fn_reclaimed_bytes_total", &[heavy]) / MIB;
    assert!(
        given > 1.0 && after < before,
        "{before} MiB, then {after}, {given} given back"
    );
    let next = server.call("heavy").await.good();
    assert_eq!((next.start(), next.instance()), ("thawed", first.instance()));
    assert_eq!(next.text(), "true");
    server.call("heavy").await.is_warm();
}
