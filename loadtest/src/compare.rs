//! Now against an earlier report: is a median slower than both runs' own noise explains?
//!
//! The noise of a median is how far apart the medians of its interleaved rounds lay. A change counts only beyond the
//! noise of the earlier run plus the noise of this one. Two runs are two days of one machine all the same: the floors
//! are compared in the same way and shown, so that a slower machine is not taken for slower code. Floors never fail a run.

use serde::{Deserialize, Serialize};

use crate::report::{Report, Settings};
use crate::series::Summary;

/// One median, then and now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Verdict {
    /// Such as `hello, cold calls: forked` or `F_exec`.
    pub(crate) what: String,
    /// The earlier median.
    pub(crate) before_ms: Option<f64>,
    /// This run's.
    pub(crate) now_ms: Option<f64>,
    /// What a change must exceed; none when a run had fewer than two rounds.
    pub(crate) noise_ms: Option<f64>,
    /// Now over then.
    #[serde(default)]
    pub(crate) ratio: Option<f64>,
    /// What follows.
    pub(crate) outcome: Outcome,
}

/// What a comparison says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// Slower beyond the noise: the run fails.
    Regression,
    /// Within the noise.
    Same,
    /// Faster beyond the noise.
    Faster,
    /// One of the two runs has no such number, or no noise to judge by.
    NotComparable,
    /// A floor moved beyond its noise: the machine is not what it was.
    MachineSlower,
    /// Likewise, to the other side.
    MachineFaster,
}

impl Outcome {
    /// The words of the table.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Regression => "REGRESSION",
            Self::Same => "within the noise",
            Self::Faster => "faster",
            Self::NotComparable => "not comparable",
            Self::MachineSlower => "the machine is slower",
            Self::MachineFaster => "the machine is faster",
        }
    }
}

/// Why two reports say nothing about each other.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CompareError {
    /// It holds something else.
    #[error("one is a report of `loadtest {before}`, the other of `loadtest {now}`")]
    Command {
        /// Of which command.
        before: String,
        /// Of which.
        now: String,
    },
    /// Another processor.
    #[error("the baseline is from another machine: {before}; this one: {now}")]
    Machine {
        /// Then.
        before: String,
        /// Now.
        now: String,
    },
    /// Another load.
    #[error("the baseline was made with another load ({what}: {before}, now {now})")]
    Load {
        /// Which setting.
        what: &'static str,
        /// Then.
        before: String,
        /// Now.
        now: String,
    },
}

/// Refuses a baseline that was not made like this run. Called before the run, which takes time.
pub(crate) fn check(before: &Report, now: &Report) -> Result<(), CompareError> {
    if before.command != now.command {
        return Err(CompareError::Command {
            before: before.command.clone(),
            now: now.command.clone(),
        });
    }
    if !before.machine.is_like(&now.machine) {
        return Err(CompareError::Machine {
            before: before.machine.line(),
            now: now.machine.line(),
        });
    }
    let (Some(then), Some(today)) = (&before.settings, &now.settings) else {
        return Ok(());
    };
    type Of = fn(&Settings) -> String;
    let settings: [(&'static str, Of); 5] = [
        ("rate", |s| s.rate_per_s.to_string()),
        ("arrivals", |s| s.arrivals.name().to_owned()),
        ("pause in ms", |s| s.pause_ms.to_string()),
        ("eviction", |s| s.evict.words().to_owned()),
        ("bytes of body", |s| {
            s.body_bytes.map_or("none".into(), |bytes| bytes.to_string())
        }),
    ];
    for (what, of) in settings {
        if of(then) != of(today) {
            return Err(CompareError::Load {
                what,
                before: of(then),
                now: of(today),
            });
        }
    }
    Ok(())
}

/// One verdict per median of either report that this run was asked for: functions first, then floors.
pub(crate) fn verdicts(before: &Report, now: &Report) -> Vec<Verdict> {
    let asked = |what: &str| {
        now.functions
            .iter()
            .any(|f| what.starts_with(&format!("{}, ", f.function)))
    };
    let (then, today) = (calls(before), calls(now));
    let mut verdicts: Vec<Verdict> = today
        .iter()
        .map(|(what, times)| {
            judge(
                what,
                find(&then, what),
                Some(times),
                [Outcome::Regression, Outcome::Faster],
            )
        })
        .collect();
    let gone = then
        .iter()
        .filter(|(what, _)| asked(what) && find(&today, what).is_none());
    verdicts.extend(gone.map(|(what, times)| judge(what, Some(times), None, [Outcome::NotComparable; 2])));
    verdicts.extend(now.floors.iter().map(|floor| {
        let earlier = before
            .floors
            .iter()
            .find(|earlier| earlier.name == floor.name)
            .map(|earlier| &earlier.times);
        judge(
            &floor.name,
            earlier,
            Some(&floor.times),
            [Outcome::MachineSlower, Outcome::MachineFaster],
        )
    }));
    verdicts
}

fn judge(what: &str, before: Option<&Summary>, now: Option<&Summary>, [slower, faster]: [Outcome; 2]) -> Verdict {
    let noise = before
        .zip(now)
        .and_then(|(before, now)| Some(before.spread_ms? + now.spread_ms?));
    let (before, now) = (before.map(|times| times.p50_ms), now.map(|times| times.p50_ms));
    let outcome = match (before, now, noise) {
        (Some(before), Some(now), Some(noise)) if now > before + noise => slower,
        (Some(before), Some(now), Some(noise)) if now < before - noise => faster,
        (Some(_), Some(_), Some(_)) => Outcome::Same,
        _ => Outcome::NotComparable,
    };
    Verdict {
        what: what.to_owned(),
        before_ms: before,
        now_ms: now,
        noise_ms: noise,
        ratio: before
            .zip(now)
            .map(|(before, now)| now / before)
            .filter(|ratio| ratio.is_finite()),
        outcome,
    }
}

fn calls(report: &Report) -> Vec<(String, &Summary)> {
    let mut calls = Vec::new();
    for function in &report.functions {
        for (scenario, run) in function.runs() {
            for start in &run.starts {
                let what = format!("{}, {scenario} calls: {}", function.function, start.start.name());
                calls.push((what, &start.latency));
            }
        }
    }
    calls
}

fn find<'a>(calls: &[(String, &'a Summary)], what: &str) -> Option<&'a Summary> {
    calls.iter().find(|(name, _)| name == what).map(|(_, times)| *times)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    /// The sample report with its warm latency, in microseconds, replaced.
    fn with_warm(micros: u64) -> Report {
        let mut report = sample::report();
        report.functions[0].warm.as_mut().unwrap().starts[0].latency = sample::series(micros);
        report
    }

    fn warm_outcome(before: u64, now: u64) -> Outcome {
        let verdicts = verdicts(&with_warm(before), &with_warm(now));
        verdicts
            .iter()
            .find(|verdict| verdict.what == "hello, warm calls: warm")
            .unwrap()
            .outcome
    }

    #[test]
    fn only_a_change_beyond_the_noise_counts() {
        // The rounds of the sample lie a tenth of the value apart, so the noise of two runs is about a fifth.
        assert_eq!(warm_outcome(1000, 1000), Outcome::Same);
        assert_eq!(warm_outcome(1000, 1150), Outcome::Same);
        assert_eq!(warm_outcome(1000, 1500), Outcome::Regression);
        assert_eq!(warm_outcome(1500, 1000), Outcome::Faster);
    }

    #[test]
    fn a_slower_floor_is_shown_and_is_no_regression() {
        let before = sample::report();
        let mut now = sample::report();
        now.floors[0].times = sample::series(500);
        let floor = verdicts(&before, &now)
            .into_iter()
            .find(|verdict| verdict.what == "F_http")
            .unwrap();
        assert_eq!(floor.outcome, Outcome::MachineSlower);
    }

    #[test]
    fn what_only_one_run_has_is_said() {
        let before = sample::report();
        let mut now = sample::report();
        now.functions[0].cold = None;
        let gone = verdicts(&before, &now)
            .into_iter()
            .find(|verdict| verdict.what == "hello, cold calls: cold")
            .unwrap();
        assert_eq!((gone.now_ms, gone.outcome), (None, Outcome::NotComparable));
        now.functions[0].function = "other".into();
        let new = verdicts(&before, &now)
            .into_iter()
            .find(|verdict| verdict.what.starts_with("other"))
            .unwrap();
        assert_eq!((new.before_ms, new.outcome), (None, Outcome::NotComparable));
    }

    #[test]
    fn reports_made_differently_are_refused() {
        let before = sample::report();
        assert!(check(&before, &sample::report()).is_ok());
        let mut now = sample::report();
        now.machine.cores = 64;
        assert!(matches!(check(&before, &now), Err(CompareError::Machine { .. })));
        let mut now = sample::report();
        now.settings.as_mut().unwrap().rate_per_s = 1.0;
        assert!(matches!(
            check(&before, &now),
            Err(CompareError::Load { what: "rate", .. })
        ));
        let mut warm = sample::report();
        warm.command = "warm".into();
        assert!(matches!(check(&warm, &before), Err(CompareError::Command { .. })));
    }
}
