//! Nothing is lost under load: many warm calls, many cold starts, and a burst on a function that has no instance.

use std::collections::BTreeSet;
use std::sync::Arc;

use tests::{Reply, Server, Source};

/// Calls `function` `count` times over `callers` at a time, and returns every reply.
async fn calls(server: &Arc<Server>, function: &'static str, count: usize, callers: usize) -> Vec<Reply> {
    let shares = (0..callers).map(|caller| count / callers + usize::from(caller < count % callers));
    let tasks: Vec<_> = shares
        .map(|share| {
            let server = Arc::clone(server);
            tokio::spawn(async move {
                let mut replies = Vec::with_capacity(share);
                for _ in 0..share {
                    replies.push(server.call(function).await);
                }
                replies
            })
        })
        .collect();
    let mut replies = Vec::with_capacity(count);
    for task in tasks {
        replies.extend(task.await.expect("a caller does not panic"));
    }
    replies
}

#[track_caller]
fn none_is_lost(replies: &[Reply], count: usize) {
    let bad: Vec<_> = replies
        .iter()
        .filter(|reply| reply.status != 200)
        .map(|reply| (reply.status, reply.text()))
        .collect();
    assert!(
        bad.is_empty(),
        "{} of {count} calls were lost, the first: {:?}",
        bad.len(),
        bad.first()
    );
    assert_eq!(replies.len(), count);
}

fn instances(replies: &[Reply]) -> BTreeSet<&str> {
    replies.iter().map(Reply::instance).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_warm_calls_lose_none() {
    let server = Arc::new(Server::start().await);
    server
        .deploy("warm", &Source::python_body("    return 'ok'"), &[])
        .await;
    let replies = calls(&server, "warm", 10_000, 32).await;
    none_is_lost(&replies, 10_000);
    assert!(
        instances(&replies).len() <= 16,
        "at most scale.max instances: {}",
        instances(&replies).len()
    );
    let metrics = server.metrics().await;
    assert_eq!(
        metrics.sum("fn_invocations_total", &[("function", "warm")]),
        10_000.0,
        "every call is counted once"
    );
    assert_eq!(
        metrics.sum("fn_queue_depth", &[("function", "warm")]),
        0.0,
        "nobody waits any more"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_evict_and_call_cycles_lose_none() {
    let server = Arc::new(Server::start().await);
    server
        .deploy("cycled", &Source::python_body("    return 'ok'"), &[])
        .await;
    let mut replies = Vec::new();
    for _ in 0..500 {
        server.evict("cycled").await;
        let reply = server.call("cycled").await;
        reply.is_cold();
        replies.push(reply);
    }
    none_is_lost(&replies, 500);
    assert_eq!(instances(&replies).len(), 500, "every cycle has a process of its own");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_on_a_cold_function_loses_none() {
    let server = Arc::new(Server::start().await);
    server
        .deploy(
            "burst",
            &Source::python_body("    return 'ok'"),
            &["--set", "queue=200"],
        )
        .await;
    server.evict("burst").await;
    let replies = calls(&server, "burst", 200, 200).await;
    none_is_lost(&replies, 200);
    assert!(
        instances(&replies).len() <= 16,
        "at most scale.max starts: {}",
        instances(&replies).len()
    );
    let starts = server
        .metrics()
        .await
        .sum("fn_cold_starts_total", &[("function", "burst")]);
    assert!(
        starts <= 16.0,
        "a burst does not start one instance for each call: {starts}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_over_the_queue_are_refused_and_told_when_to_come_back() {
    let server = Arc::new(Server::start().await);
    let source = Source::python_body("    time.sleep(0.5)\n    return 'ok'");
    server
        .deploy("narrow", &source, &["--set", "scale.max=1", "--set", "queue=2"])
        .await;
    let replies = calls(&server, "narrow", 20, 20).await;
    let (good, refused): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.status == 200);
    assert!(
        !good.is_empty() && !refused.is_empty(),
        "{} answered, {} refused",
        good.len(),
        refused.len()
    );
    for reply in refused {
        assert_eq!(reply.error(429), "queue_full");
        assert!(!reply.header("retry-after").is_empty());
    }
}
