//! What is known of the calls of a function: when the last one came, how long it is left alone between them, and at which rate
//! they found no used instance.

use std::time::{Duration, Instant};

use super::gaps::Gaps;

/// How fast the rate forgets: what is that old counts a third.
const RATE_MEMORY: Duration = Duration::from_secs(10);
/// The same for the number of calls, by which functions are compared with each other.
const FREQUENCY_MEMORY: Duration = Duration::from_secs(600);

/// A count that forgets: with `memory` as the time after which a third is left.
#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    weight: f64,
    at: Option<Instant>,
}

impl Rate {
    fn add(&mut self, now: Instant, memory: Duration) {
        self.weight = self.left(now, memory) + 1.0;
        self.at = Some(now);
    }

    fn left(&self, now: Instant, memory: Duration) -> f64 {
        self.at.map_or(0.0, |at| {
            let age = now.saturating_duration_since(at).as_secs_f64();
            self.weight * (-age / memory.as_secs_f64()).exp()
        })
    }
}

/// The calls of one function. Of a fixed size.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arrivals {
    last: Option<Instant>,
    cold: Rate,
    all: Rate,
    gaps: Gaps,
}

impl Arrivals {
    /// A call came. Returns whether it told anything new of how long the function is left alone.
    pub(crate) fn called(&mut self, now: Instant) -> bool {
        self.all.add(now, FREQUENCY_MEMORY);
        let last = self.last.replace(now);
        last.is_some_and(|last| self.gaps.add(now.saturating_duration_since(last)))
    }

    /// Calls lately: of those ten minutes ago a third counts.
    pub(crate) fn frequency(&self, now: Instant) -> f64 {
        self.all.left(now, FREQUENCY_MEMORY)
    }

    /// How long the function is left alone between calls.
    pub(crate) fn gaps(&self) -> &Gaps {
        &self.gaps
    }

    /// A call found no instance that had run one.
    pub(crate) fn found_none(&mut self, now: Instant) {
        self.cold.add(now, RATE_MEMORY);
    }

    /// When the last call came.
    pub(crate) fn last(&self) -> Option<Instant> {
        self.last
    }

    /// Calls in a second that find no instance that ran one, lately.
    pub(crate) fn cold_rate(&self, now: Instant) -> f64 {
        self.cold.left(now, RATE_MEMORY) / RATE_MEMORY.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_learned_and_forgotten() {
        let mut arrivals = Arrivals::default();
        let mut now = Instant::now();
        assert_eq!((arrivals.last(), arrivals.cold_rate(now)), (None, 0.0));
        for _ in 0..2000 {
            now += Duration::from_millis(50);
            arrivals.found_none(now);
        }
        let rate = arrivals.cold_rate(now);
        assert!((19.0..21.0).contains(&rate), "{rate}");
        assert!(arrivals.cold_rate(now + RATE_MEMORY * 10) < 0.01);
    }
}
