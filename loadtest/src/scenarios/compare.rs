//! `loadtest compare`: floors, cold calls and warm calls in turns, so that whatever the machine does, it does to all.
//!
//! One round: every floor; then for each function a slice of cold cycles and a slice of the open loop. The function that
//! goes first changes from round to round.

use std::time::Duration;

use super::{ScenarioError, Subject, admin, client, cold, empty_report, problems, progress, settings, warm};
use crate::args::{CompareArgs, Plan};
use crate::compare::{self, Outcome};
use crate::floor::{Bench, Floor, OpenSchedule};
use crate::ratios;
use crate::report::{Report, json};
use crate::start::Family;

/// F_http_open runs this share of a warm slice: enough for its median, without doubling the run.
const OPEN_FLOOR_SHARE: u32 = 2;

pub(super) async fn run(args: &CompareArgs) -> Result<Report, ScenarioError> {
    let mut plan = args.load.plan()?;
    // Here --rate is of the open loop alone: the cycles get their slice of time, and as many as fit are measured.
    plan.cycle_rate = None;
    let mut report = empty_report("compare");
    report.settings = Some(settings(&plan, args.rounds));
    let baseline = args.baseline.as_deref().map(json::read).transpose()?;
    if let Some(baseline) = &baseline {
        if args.rounds < 2 {
            return Err(ScenarioError::OneRound);
        }
        compare::check(baseline, &report)?;
    }
    let mut bench = Bench::start(args.floor_bin.as_deref(), &Floor::USUAL, plan.pause).await?;
    let mut subjects: Vec<Subject> = plan.functions.iter().map(|name| Subject::new(&plan, name)).collect();
    rounds(&plan, args.rounds, &mut bench, &mut subjects).await?;

    (report.floors, report.missing_floors) = bench.report();
    report.problems = bench.broken().to_vec();
    for subject in &subjects {
        let mut function = subject.report(Some(subject.cold_report()), Some(subject.warm_report()));
        function.ratios = ratios::of(&function, &report.floors);
        report.problems.extend(problems(&function));
        if subject.cold.count(Family::Cold) == 0 {
            report
                .problems
                .push(format!("{}: no reply was a cold start", subject.name));
        }
        if subject.warm.count(Family::Warm) == 0 {
            report.problems.push(format!("{}: no reply was warm", subject.name));
        }
        report.functions.push(function);
    }
    if let Some(baseline) = &baseline {
        report.verdicts = compare::verdicts(baseline, &report);
        judge(&mut report);
    }
    Ok(report)
}

async fn rounds(plan: &Plan, rounds: u32, bench: &mut Bench, subjects: &mut [Subject]) -> Result<(), ScenarioError> {
    let (client, admin) = (client(plan).await?, admin(plan)?);
    let slice: Duration = plan.duration / rounds / 2;
    let cycles = plan.cycles.map(|cycles| cycles.div_ceil(u64::from(rounds)));
    for name in &plan.functions {
        // If not even this works, there is nothing to count. Later failures are counted.
        admin.evict(name, plan.evict).await?;
    }
    let bar = progress(u64::from(rounds) * (subjects.len() as u64 + 1));
    for round in 0..rounds {
        bar.set_message(format!("round {}: floors", round + 1));
        let schedule = plan
            .arrivals
            .schedule(plan.rate, slice / OPEN_FLOOR_SHARE, u64::from(round));
        bench.round(Some(OpenSchedule(schedule))).await;
        bar.inc(1);
        subjects.rotate_left(usize::from(round > 0));
        for subject in subjects.iter_mut() {
            bar.set_message(format!("round {}: {}", round + 1, subject.name));
            cold::slice(plan, &client, &admin, subject, slice, cycles).await?;
            warm::slice(plan, &client, subject, slice, u64::from(round)).await?;
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    let place = |subject: &Subject| plan.functions.iter().position(|name| *name == subject.name);
    subjects.sort_by_key(place);
    Ok(())
}

fn judge(report: &mut Report) {
    let regressions = report
        .verdicts
        .iter()
        .filter(|verdict| verdict.outcome == Outcome::Regression);
    let problems: Vec<String> = regressions
        .map(|verdict| format!("{}: slower than the baseline beyond the noise", verdict.what))
        .collect();
    report.problems.extend(problems);
}
