//! From what was measured to the table: nothing here measures, and nothing is assumed.
//!
//! Each quantity is a number or the reason why there is none; a row that lacks one is skipped with that reason.

mod calls;
mod many;
mod starts;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::fleet::Fleet;
use super::rounds::BACK_TO_BACK;
use super::stage::Role;
use crate::report::{Bound, NamedRun, PeerReport, Report, Row, StartReport};
use crate::series::Summary;
use crate::start::Start;

/// Fewer starts of one type than this say nothing about it.
const ENOUGH: u64 = 10;

/// What the report does not say.
#[derive(Debug)]
pub(super) struct Facts {
    /// Functions that are not there, and why.
    pub(super) missing: BTreeMap<Role, String>,
    /// Calls of the burst.
    pub(super) burst_calls: u32,
    /// Instances of the Python function under load.
    pub(super) workers: u32,
    /// Row 12.
    pub(super) fleet: Fleet,
}

/// Every row.
pub(super) fn all(report: &Report, facts: &Facts) -> Vec<Row> {
    let view = View { report, facts };
    let mut rows = starts::rows(&view);
    rows.extend(calls::rows(&view));
    rows.extend(many::rows(&view));
    rows.sort_by_key(|row| row.row);
    rows
}

/// A number, or why there is none.
type Quantity = Result<f64, String>;

/// One side of a row: its name, and how much it is.
type Named = (String, Quantity);

/// Looks into a report.
struct View<'a> {
    report: &'a Report,
    facts: &'a Facts,
}

impl View<'_> {
    /// The median of a floor that was measured after the pause, in ms.
    fn floor(&self, name: &str) -> Quantity {
        let floor = self.report.floors.iter().find(|floor| floor.name == name);
        floor.map(|floor| floor.times.p50_ms).ok_or_else(|| {
            let missing = self.report.missing_floors.iter().find(|floor| floor.name == name);
            missing.map_or_else(
                || format!("{name} was not measured"),
                |floor| format!("{name} was not measured: {}", floor.reason),
            )
        })
    }

    /// The median of a floor that was measured back to back.
    fn floor_at_once(&self, name: &str) -> Quantity {
        self.floor(&format!("{name}{BACK_TO_BACK}"))
    }

    /// One function called in one way.
    fn run(&self, role: Role, way: &str) -> Result<&NamedRun, String> {
        if let Some(why) = self.facts.missing.get(&role) {
            return Err(why.clone());
        }
        self.report
            .functions
            .iter()
            .find(|function| function.function == role.name())
            .and_then(|function| function.more.iter().find(|run| run.scenario == way))
            .ok_or_else(|| format!("{} was not called", role.name()))
    }

    /// The replies of one start type.
    fn times(&self, role: Role, way: &str, start: Start) -> Result<&Summary, String> {
        let run = &self.run(role, way)?.run;
        let of_type = |report: &&StartReport| report.start == start && report.latency.count >= ENOUGH;
        run.starts
            .iter()
            .find(of_type)
            .map(|report| &report.latency)
            .ok_or_else(|| {
                let seen: Vec<String> = run
                    .starts
                    .iter()
                    .map(|report| format!("{} {}", report.latency.count, report.start.name()))
                    .collect();
                let seen = if seen.is_empty() {
                    "none".to_owned()
                } else {
                    seen.join(", ")
                };
                format!(
                    "too few starts of {} were `{}` (seen: {seen})",
                    role.name(),
                    start.name()
                )
            })
    }

    /// The first of several ways that has enough replies of `start`; else the reason of the first.
    fn first(&self, ways: &[(Role, &str)], start: Start) -> Result<&Summary, String> {
        let mut reason = None;
        for (role, way) in ways {
            match self.times(*role, way, start) {
                Ok(times) => return Ok(times),
                Err(why) => reason = reason.or(Some(why)),
            }
        }
        Err(reason.unwrap_or_default())
    }

    fn peer(&self, name: &str) -> Result<&PeerReport, String> {
        let peer = self.report.peers.iter().find(|peer| peer.name == name);
        peer.ok_or_else(|| {
            let missing = self.report.missing_peers.iter().find(|peer| peer.name == name);
            missing.map_or_else(
                || format!("the peer {name} was not measured"),
                |peer| format!("{}; to have it: {}", peer.reason, peer.install),
            )
        })
    }
}

fn median(times: Result<&Summary, String>) -> Quantity {
    times.map(|times| times.p50_ms)
}

fn sum(parts: impl IntoIterator<Item = Quantity>) -> Quantity {
    parts.into_iter().sum()
}

/// A row of two quantities.
fn row(number: u32, what: impl Into<String>, value: Quantity, unit: &str, base: Named, bound: Bound) -> Row {
    match (value, base) {
        (Ok(value), (over, Ok(base))) => Row::judged(number, what.into(), (value, unit), (over, base), bound),
        (Err(why), _) | (_, (_, Err(why))) => Row::skipped(number, what.into(), bound, why),
    }
}
