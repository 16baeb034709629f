//! How long it took until every function had answered a call that began after the kill, beside the same without a kill: all functions
//! evicted, nobody else calling.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use super::victim::Kind;

#[derive(Debug, Default)]
pub(super) struct Recoveries {
    undisturbed: Vec<Duration>,
    after: BTreeMap<Kind, Vec<Duration>>,
    /// Kills that found nobody of their kind.
    nobody: BTreeMap<Kind, usize>,
}

impl Recoveries {
    pub(super) fn undisturbed(&mut self, time: Duration) {
        self.undisturbed.push(time);
    }

    pub(super) fn after(&mut self, kind: Kind, time: Duration) {
        self.after.entry(kind).or_default().push(time);
    }

    pub(super) fn nobody(&mut self, kind: Kind) {
        *self.nobody.entry(kind).or_default() += 1;
    }

    /// One row for each kind of kill.
    pub(super) fn table(&self) -> String {
        let mut text = String::from(
            "\n| killed | kills | nobody there | p50 ms | p99 ms | max ms | p50 to an undisturbed start |\n|---|---:|---:|---:|---:|---:|---:|\n",
        );
        let still = sorted(&self.undisturbed);
        let base = quantile(&still, 0.5).as_secs_f64();
        let mut row = |name: &str, nobody: usize, times: &[Duration]| {
            let ms = |q| quantile(times, q).as_secs_f64() * 1e3;
            let ratio = quantile(times, 0.5).as_secs_f64() / base.max(f64::MIN_POSITIVE);
            let _ = writeln!(
                text,
                "| {name} | {} | {nobody} | {:.0} | {:.0} | {:.0} | {ratio:.2} |",
                times.len(),
                ms(0.5),
                ms(0.99),
                ms(1.0)
            );
        };
        row("nobody (all five functions evicted, then called)", 0, &still);
        for kind in Kind::ALL {
            let times = sorted(self.after.get(kind).map_or(&[], Vec::as_slice));
            row(kind.words(), self.nobody.get(kind).copied().unwrap_or(0), &times);
        }
        text
    }
}

fn sorted(times: &[Duration]) -> Vec<Duration> {
    let mut times = times.to_vec();
    times.sort();
    times
}

/// The smallest time that this share of all does not exceed; 0 of none.
fn quantile(sorted: &[Duration], share: f64) -> Duration {
    let at = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(at.saturating_sub(1)).copied().unwrap_or_default()
}

#[test]
fn quantiles_are_times_that_were_seen() {
    let times: Vec<_> = (1..=100).map(Duration::from_millis).collect();
    assert_eq!(quantile(&times, 0.5), Duration::from_millis(50));
    assert_eq!(quantile(&times, 0.99), Duration::from_millis(99));
    assert_eq!(quantile(&times, 1.0), Duration::from_millis(100));
    assert_eq!(quantile(&[], 0.5), Duration::ZERO);
}
