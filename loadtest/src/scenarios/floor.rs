//! `loadtest floor`: every floor, interleaved, in rounds.

use super::{ScenarioError, empty_report, progress};
use crate::args::FloorArgs;
use crate::floor::{Bench, Floor};
use crate::report::Report;

pub(super) async fn run(args: &FloorArgs) -> Result<Report, ScenarioError> {
    let mut report = empty_report("floor");
    let mut bench = Bench::start(args.floor_bin.as_deref(), &Floor::ALL, args.pause).await?;
    let bar = progress(u64::from(args.rounds));
    bar.set_message("floors");
    for _ in 0..args.rounds {
        bench.round(None).await;
        bar.inc(1);
    }
    bar.finish_and_clear();
    (report.floors, report.missing_floors) = bench.report();
    report.problems = bench.broken().to_vec();
    Ok(report)
}
