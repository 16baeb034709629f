//! Measures one function at a fixed rate: calls leave when they are due, whether or not the earlier ones are answered, and each time counts
//! from when its call was due. So a stall is felt by all the calls that fall into it.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tests::client::Client;

/// Calls in a second.
const RATE: u32 = 50;

/// What was measured in one phase.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) p99: Duration,
    /// Calls that were not answered with 200.
    pub(super) lost: usize,
}

/// Calls `url` at the rate for this long.
pub(super) async fn measure(client: &Client, url: &str, duration: Duration) -> Measured {
    let gap = Duration::from_secs(1) / RATE;
    let began = Instant::now();
    let mut calls = Vec::new();
    let mut due = began;
    while due < began + duration {
        tokio::time::sleep_until(due.into()).await;
        let (client, url) = (client.clone(), url.to_owned());
        calls.push(tokio::spawn(async move {
            let good = client.get(&url).await.is_ok_and(|reply| reply.status == 200);
            (good, due.elapsed())
        }));
        due += gap;
    }
    let answers = join_all(calls).await;
    let answers: Vec<_> = answers
        .into_iter()
        .map(|call| call.expect("a call does not panic"))
        .collect();
    Measured {
        p99: p99(answers.iter().map(|(_, time)| *time).collect()),
        lost: answers.iter().filter(|(good, _)| !good).count(),
    }
}

fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort();
    let at = (times.len() * 99).div_ceil(100);
    times.get(at.saturating_sub(1)).copied().unwrap_or_default()
}

#[test]
fn the_p99_is_a_time_that_was_seen() {
    assert_eq!(
        p99((1..=200).rev().map(Duration::from_millis).collect()),
        Duration::from_millis(198)
    );
    assert_eq!(p99(vec![Duration::from_millis(7)]), Duration::from_millis(7));
    assert_eq!(p99(Vec::new()), Duration::ZERO);
}
