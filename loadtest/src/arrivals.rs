//! When calls are meant to leave: schedules computed before the run, so that nothing a reply does can move a later call.
//!
//! Pure: no clock, no I/O. A schedule is a list of offsets from the start of the run, in ascending order.

use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand_distr::{Distribution as _, Exp};
use serde::{Deserialize, Serialize};

/// The shape of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Arrivals {
    /// Evenly spaced.
    Constant,
    /// Exponential gaps, as independent callers make them.
    Poisson,
}

impl Arrivals {
    /// The offsets of all calls of one run at `rate` calls per second.
    ///
    /// `rate` must be positive and finite. `seed` decides the gaps of a Poisson schedule, so that a run can be repeated;
    /// a constant schedule ignores it. A constant schedule has at least one call; a Poisson one can be empty by chance.
    pub(crate) fn schedule(self, rate: f64, duration: Duration, seed: u64) -> Vec<Duration> {
        match self {
            Self::Constant => constant(rate, duration),
            Self::Poisson => poisson(rate, duration, seed),
        }
    }

    /// The word used in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::Poisson => "poisson",
        }
    }
}

fn constant(rate: f64, duration: Duration) -> Vec<Duration> {
    let calls = ((rate * duration.as_secs_f64()).round() as u64).max(1);
    (0..calls)
        .map(|call| Duration::from_secs_f64(call as f64 / rate))
        .collect()
}

fn poisson(rate: f64, duration: Duration, seed: u64) -> Vec<Duration> {
    let gaps = Exp::new(rate).expect("a positive finite rate is a valid parameter");
    let mut random = StdRng::seed_from_u64(seed);
    let mut offsets = Vec::with_capacity((rate * duration.as_secs_f64() * 1.1) as usize);
    let mut at = 0.0;
    loop {
        at += gaps.sample(&mut random);
        if at >= duration.as_secs_f64() {
            return offsets;
        }
        offsets.push(Duration::from_secs_f64(at));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constant_is_evenly_spaced() {
        let schedule = Arrivals::Constant.schedule(100.0, Duration::from_secs(2), 0);
        assert_eq!(schedule.len(), 200);
        assert_eq!(schedule[0], Duration::ZERO);
        assert_eq!(schedule[150], Duration::from_millis(1500));
    }

    #[test]
    fn constant_never_adds_up_rounding_errors() {
        let schedule = Arrivals::Constant.schedule(3.0, Duration::from_secs(1000), 0);
        assert_eq!(schedule.len(), 3000);
        assert_eq!(schedule[2997], Duration::from_secs(999));
    }

    #[test]
    fn a_short_run_still_has_a_call() {
        assert_eq!(
            Arrivals::Constant.schedule(1.0, Duration::from_millis(1), 0),
            [Duration::ZERO]
        );
    }

    #[test]
    fn poisson_has_the_rate_and_the_spread_of_independent_callers() {
        let seconds = 1000;
        let schedule = Arrivals::Poisson.schedule(50.0, Duration::from_secs(seconds), 7);
        let expected = 50.0 * seconds as f64;
        // Four standard deviations of a Poisson count.
        assert!(
            (schedule.len() as f64 - expected).abs() < 4.0 * expected.sqrt(),
            "{}",
            schedule.len()
        );
        assert!(schedule.is_sorted());
        assert!(*schedule.last().unwrap() < Duration::from_secs(seconds));
        let gaps: Vec<f64> = schedule.windows(2).map(|w| (w[1] - w[0]).as_secs_f64()).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        let variation = variance.sqrt() / mean;
        assert!(
            (0.95..1.05).contains(&variation),
            "exponential gaps vary by their mean, got {variation}"
        );
    }

    #[test]
    fn poisson_repeats_with_its_seed() {
        let of = |seed| Arrivals::Poisson.schedule(10.0, Duration::from_secs(10), seed);
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }
}
