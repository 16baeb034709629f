//! Counts every call of one function in one scenario: its latency under its start type, or its failure under its kind.
//!
//! Nothing is dropped: calls sent = replies of all start types + failures of all kinds.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::client::{Attempt, Failure, FailureKind, Reply};
use crate::phases::NAMES;
use crate::report::{FailureReport, PhaseMedians, RunReport, StartReport};
use crate::series::Series;
use crate::start::{Family, Start};

/// A request that leaves this long after its intended time counts as late.
pub(crate) const LATE: Duration = Duration::from_millis(1);

/// The measurements of one run, in one or more rounds.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    starts: BTreeMap<Start, StartRecord>,
    failures: BTreeMap<FailureKind, FailureRecord>,
    sent: u64,
    late: u64,
    latest: Duration,
}

#[derive(Debug, Default)]
struct StartRecord {
    latency: Series,
    phases: [Series; NAMES.len()],
}

#[derive(Debug)]
struct FailureRecord {
    count: u64,
    first: String,
}

impl Recorder {
    /// Counts one call.
    pub(crate) fn record(&mut self, attempt: Attempt) {
        if let Some(late) = attempt.late {
            self.late += u64::from(late > LATE);
            self.latest = self.latest.max(late);
        }
        match attempt.outcome {
            Ok(reply) => self.reply(&reply),
            Err(failure) => self.fail(failure),
        }
    }

    /// Counts one failure, of a call or of what had to precede it.
    pub(crate) fn fail(&mut self, failure: Failure) {
        self.sent += 1;
        let record = self.failures.entry(failure.kind).or_insert(FailureRecord {
            count: 0,
            first: failure.detail,
        });
        record.count += 1;
    }

    fn reply(&mut self, reply: &Reply) {
        self.sent += 1;
        let record = self.starts.entry(reply.start).or_default();
        record.latency.add(reply.latency);
        for (series, phase) in record.phases.iter_mut().zip(reply.phases.0) {
            if let Some(phase) = phase {
                series.add(phase);
            }
        }
    }

    /// Closes a round; calls of an open round are in no report.
    pub(crate) fn end_round(&mut self) {
        for record in self.starts.values_mut() {
            record.latency.end_round();
            record.phases.iter_mut().for_each(Series::end_round);
        }
    }

    /// All failures so far.
    pub(crate) fn failed(&self) -> u64 {
        self.failures.values().map(|record| record.count).sum()
    }

    /// Replies of one family in the closed rounds.
    pub(crate) fn count(&self, family: Family) -> u64 {
        let of = |(start, record): (&Start, &StartRecord)| (start.family() == family).then(|| record.latency.count());
        self.starts.iter().filter_map(of).sum()
    }

    /// What the closed rounds add up to.
    pub(crate) fn report(&self) -> RunReport {
        let starts = self.starts.iter().filter_map(|(start, record)| {
            let median = |phase: usize| record.phases[phase].median_ms();
            Some(StartReport {
                start: *start,
                latency: record.latency.summary()?,
                phases: PhaseMedians {
                    queue: median(0),
                    sandbox: median(1),
                    init: median(2),
                    handler: median(3),
                },
            })
        });
        let failures = self.failures.iter().map(|(kind, record)| FailureReport {
            kind: kind.name(),
            count: record.count,
            first: record.first.clone(),
        });
        RunReport {
            sent: self.sent,
            ok: self.sent - self.failed(),
            failed: self.failed(),
            failures: failures.collect(),
            late_sends: self.late,
            latest_send_ms: self.latest.as_secs_f64() * 1e3,
            warm_up: None,
            starts: starts.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phases::Phases;

    fn reply(start: Start, millis: u64) -> Attempt {
        Attempt {
            late: Some(Duration::from_micros(millis * 100)),
            outcome: Ok(Reply {
                start,
                instance: None,
                phases: Phases::parse("queue;dur=1, handler;dur=2"),
                latency: Duration::from_millis(millis),
            }),
        }
    }

    fn failure(kind: FailureKind) -> Attempt {
        Attempt {
            late: None,
            outcome: Err(Failure {
                kind,
                detail: format!("first {kind:?}"),
            }),
        }
    }

    #[test]
    fn every_call_is_in_exactly_one_place() {
        let mut recorder = Recorder::default();
        for millis in [1, 2, 30] {
            recorder.record(reply(Start::Warm, millis));
        }
        recorder.record(reply(Start::Cold, 40));
        for kind in [FailureKind::Status(500), FailureKind::Reset, FailureKind::Status(500)] {
            recorder.record(failure(kind));
        }
        recorder.end_round();
        let report = recorder.report();
        assert_eq!((report.sent, report.ok, report.failed), (7, 4, 3));
        let replies: u64 = report.starts.iter().map(|start| start.latency.count).sum();
        let failures: u64 = report.failures.iter().map(|failure| failure.count).sum();
        assert_eq!(replies + failures, report.sent);
        assert_eq!(report.failures[1].kind, "status 500");
        assert_eq!(report.failures[1].count, 2);
        assert_eq!(report.failures[0].first, "first Reset");
        assert_eq!(report.late_sends, 2, "30 and 40 left 3 and 4 ms late");
        assert_eq!(report.latest_send_ms, 4.0);
    }

    #[test]
    fn start_types_are_never_mixed() {
        let mut recorder = Recorder::default();
        recorder.record(reply(Start::Warm, 1));
        recorder.record(reply(Start::Forked, 5));
        recorder.record(reply(Start::Cold, 50));
        recorder.end_round();
        let report = recorder.report();
        let starts: Vec<Start> = report.starts.iter().map(|start| start.start).collect();
        assert_eq!(starts, [Start::Warm, Start::Forked, Start::Cold]);
        assert_eq!(recorder.count(Family::Cold), 2);
        assert_eq!(recorder.count(Family::Warm), 1);
        let phases = &report.starts[0].phases;
        assert!((phases.queue.unwrap() - 1.0).abs() < 1e-2);
        assert_eq!(phases.sandbox, None);
    }
}
