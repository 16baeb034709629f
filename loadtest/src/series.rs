//! One series of durations: the whole distribution, and the median of each interleaved round.
//!
//! The medians of the rounds say how much the machine alone moved the number during the run: their spread is the noise
//! that a comparison has to exceed.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Durations in nanoseconds, kept to three significant digits.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    all: Histogram<u64>,
    round: Histogram<u64>,
    round_medians: Vec<u64>,
}

/// What a report says about a series; all times in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Summary {
    /// Samples.
    pub(crate) count: u64,
    /// The median.
    pub(crate) p50_ms: f64,
    /// 90 of 100 samples are not above this.
    pub(crate) p90_ms: f64,
    /// 99 of 100. Equals the maximum when there are fewer than 100 samples.
    pub(crate) p99_ms: f64,
    /// 999 of 1000. Equals the maximum when there are fewer than 1000 samples.
    pub(crate) p999_ms: f64,
    /// The slowest sample.
    pub(crate) max_ms: f64,
    /// The median of each round that had samples.
    pub(crate) round_medians_ms: Vec<f64>,
    /// Largest minus smallest of the medians; `None` with fewer than two rounds.
    pub(crate) spread_ms: Option<f64>,
    /// Points (milliseconds, fraction not above) of the distribution, ascending.
    pub(crate) cdf: Vec<(f64, f64)>,
}

impl Default for Series {
    fn default() -> Self {
        let empty = Histogram::new(3).expect("three significant digits are allowed");
        Self {
            all: empty.clone(),
            round: empty,
            round_medians: Vec::new(),
        }
    }
}

impl Series {
    /// Adds one sample to the round that is open.
    pub(crate) fn add(&mut self, sample: Duration) {
        let nanos = u64::try_from(sample.as_nanos()).unwrap_or(u64::MAX / 2);
        self.round.record(nanos).expect("the histogram grows by itself");
    }

    /// Closes the round; one without samples leaves no median.
    pub(crate) fn end_round(&mut self) {
        if self.round.is_empty() {
            return;
        }
        self.round_medians.push(self.round.value_at_quantile(0.5));
        self.all.add(&self.round).expect("the histogram grows by itself");
        self.round.reset();
    }

    /// Samples in closed rounds.
    pub(crate) fn count(&self) -> u64 {
        self.all.len()
    }

    /// What the closed rounds add up to; `None` without samples.
    pub(crate) fn summary(&self) -> Option<Summary> {
        if self.all.is_empty() {
            return None;
        }
        let at = |quantile| millis(self.all.value_at_quantile(quantile));
        let spread = match (self.round_medians.iter().max(), self.round_medians.iter().min()) {
            (Some(most), Some(least)) if self.round_medians.len() > 1 => Some(millis(most - least)),
            _ => None,
        };
        Some(Summary {
            count: self.all.len(),
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: millis(self.all.max()),
            round_medians_ms: self.round_medians.iter().copied().map(millis).collect(),
            spread_ms: spread,
            cdf: self
                .all
                .value_at_quantiles(fractions())
                .map(millis)
                .zip(fractions())
                .collect(),
        })
    }

    /// The median in milliseconds; `None` without samples.
    pub(crate) fn median_ms(&self) -> Option<f64> {
        (!self.all.is_empty()).then(|| millis(self.all.value_at_quantile(0.5)))
    }
}

/// The middle value; of two middle ones their mean.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

/// Every percent, then the tail.
fn fractions() -> impl Iterator<Item = f64> {
    (0..100)
        .map(|percent| f64::from(percent) / 100.0)
        .chain([0.995, 0.999, 0.9999, 1.0])
}

fn millis(nanos: u64) -> f64 {
    nanos as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_medians_and_spread() {
        let mut series = Series::default();
        for round in 0..2 {
            for ms in 1..=1000 {
                series.add(Duration::from_millis(ms + 100 * round));
            }
            series.end_round();
        }
        let summary = series.summary().unwrap();
        let near = |got: f64, want: f64| assert!((got - want).abs() <= want * 2e-3, "{got} is not {want}");
        assert_eq!(summary.count, 2000);
        near(summary.p50_ms, 550.0);
        near(summary.max_ms, 1100.0);
        near(summary.round_medians_ms[0], 500.0);
        near(summary.round_medians_ms[1], 600.0);
        near(summary.spread_ms.unwrap(), 100.0);
        assert!(summary.cdf.is_sorted());
        assert_eq!(summary.cdf.last().unwrap().1, 1.0);
    }

    #[test]
    fn empty_series_claim_nothing() {
        let mut series = Series::default();
        series.end_round();
        assert_eq!(series.summary(), None);
        assert_eq!(series.median_ms(), None);
    }

    #[test]
    fn one_round_has_no_spread() {
        let mut series = Series::default();
        series.add(Duration::from_micros(80));
        series.end_round();
        assert_eq!(series.summary().unwrap().spread_ms, None);
    }

    #[test]
    fn medians_of_rounds() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }
}
