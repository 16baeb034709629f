//! Calls one after the other over each of several connections: how many a server answers when nobody waits in between.
//!
//! A closed loop, so a stall of the server also stops the clients: its rate is honest, its latencies are those of a
//! server that is asked as fast as it answers.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::client::{Attempt, Call, Client};
use crate::pacer::Pacer;
use crate::recorder::Recorder;

/// Sends `calls`, with `connections` of them in flight, and hands over every attempt.
pub(crate) async fn each(
    client: &Client,
    connections: u32,
    calls: impl IntoIterator<Item = Call>,
    mut landed: impl FnMut(Attempt),
) {
    let mut calls = calls.into_iter();
    let mut flying = JoinSet::new();
    loop {
        while flying.len() < connections as usize
            && let Some(call) = calls.next()
        {
            let client = client.clone();
            flying.spawn(async move { client.call(&call, Instant::now()).await });
        }
        match flying.join_next().await {
            Some(attempt) => landed(attempt.expect("a call neither panics nor is aborted")),
            None => return,
        }
    }
}

/// Sends `call` over `connections` for `duration`; returns the replies per second. Stops early when nothing is answered.
pub(crate) async fn rate(
    client: &Client,
    call: &Call,
    connections: u32,
    duration: Duration,
    recorder: &mut Recorder,
) -> f64 {
    let began = Instant::now();
    let hopeless = std::cell::Cell::new(0);
    let calls = std::iter::from_fn(|| {
        (began.elapsed() < duration && hopeless.get() < super::HOPELESS * connections).then(|| call.clone())
    });
    let mut answered = 0u64;
    each(client, connections, calls, |attempt| {
        let good = attempt.outcome.is_ok();
        answered += u64::from(good);
        hopeless.set(if good { 0 } else { hopeless.get() + 1 });
        recorder.record(attempt);
    })
    .await;
    recorder.end_round();
    answered as f64 / began.elapsed().as_secs_f64()
}

/// `count` calls over one connection, one after the other, each after `pause`.
pub(crate) async fn one_by_one(
    client: &Client,
    call: &Call,
    count: u32,
    pause: Duration,
    recorder: &mut Recorder,
) -> std::io::Result<()> {
    let mut pacer = Pacer::new()?;
    for _ in 0..count {
        if !pause.is_zero() {
            pacer.until(Instant::now() + pause).await?;
        }
        recorder.record(client.call(call, Instant::now()).await);
    }
    recorder.end_round();
    Ok(())
}
