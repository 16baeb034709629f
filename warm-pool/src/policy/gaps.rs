//! How long a function is left alone between two calls: a histogram of a fixed size that forgets.
//!
//! Gaps below [`SHORTEST`] are not counted: whatever a rung costs, no instance goes down one within that time. A burst of
//! thousands of calls would wash out the one gap after it that matters, and a function that was only called in a row would seem known.

use std::time::Duration;

use super::ladder::SOONEST;

/// Shorter ones are no gaps.
pub(crate) const SHORTEST: Duration = SOONEST;
/// Upper ends of the buckets: each is a quarter longer than the one before, up to a day.
const BUCKETS: usize = 52;
const GROWTH: f64 = 1.25;
/// What is left of the weight of a gap when the next one comes: the last 64 count most.
const MEMORY: f32 = 1.0 - 1.0 / 64.0;
/// Gaps that must have been seen before anything follows from them.
const ENOUGH: u8 = 4;

/// See the module's head.
#[derive(Clone, Debug)]
pub(crate) struct Gaps {
    weights: [f32; BUCKETS],
    seen: u8,
}

impl Default for Gaps {
    fn default() -> Gaps {
        Gaps {
            weights: [0.0; BUCKETS],
            seen: 0,
        }
    }
}

impl Gaps {
    /// A call came `gap` after the one before it. Returns whether that told anything.
    pub(crate) fn add(&mut self, gap: Duration) -> bool {
        if gap < SHORTEST {
            return false;
        }
        for weight in &mut self.weights {
            *weight *= MEMORY;
        }
        let at = (gap.as_secs_f64().ln() / GROWTH.ln()) as usize;
        self.weights[at.min(BUCKETS - 1)] += 1.0;
        self.seen = self.seen.saturating_add(1);
        true
    }

    /// Whether enough is known to decide by it.
    pub(crate) fn known(&self) -> bool {
        self.seen >= ENOUGH
    }

    /// The buckets that hold anything: from, to and weight of each.
    pub(crate) fn buckets(&self) -> impl Iterator<Item = (Duration, Duration, f64)> {
        let filled = self.weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0);
        filled.map(|(at, weight)| (edge(at), edge(at + 1), f64::from(*weight)))
    }
}

/// The lower end of a bucket.
fn edge(at: usize) -> Duration {
    Duration::from_secs_f64(GROWTH.powi(i32::try_from(at).unwrap_or(i32::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_gap_is_counted_where_it_belongs_and_short_ones_nowhere() {
        let mut gaps = Gaps::default();
        assert!(!gaps.add(SECOND * 9));
        assert_eq!(gaps.buckets().count(), 0);
        for gap in [10, 70, 600, 86_400, 1_000_000] {
            let mut gaps = Gaps::default();
            assert!(gaps.add(SECOND * gap));
            let (from, to, weight) = gaps.buckets().next().unwrap();
            assert_eq!(weight, 1.0);
            assert!(from <= SECOND * gap, "{gap}: {from:?}");
            assert!(SECOND * gap < to || gap == 1_000_000, "{gap}: {to:?}");
        }
    }

    #[test]
    fn what_changed_is_learned_anew() {
        let mut gaps = Gaps::default();
        for _ in 0..1000 {
            gaps.add(SECOND * 20);
        }
        for _ in 0..200 {
            gaps.add(SECOND * 1000);
        }
        let total: f64 = gaps.buckets().map(|(.., weight)| weight).sum();
        let old: f64 = gaps
            .buckets()
            .filter(|(from, ..)| *from < SECOND * 100)
            .map(|(.., weight)| weight)
            .sum();
        assert!(old / total < 0.05, "{old} of {total}");
        assert!(total < 65.0, "its weight is bounded: {total}");
    }
}
