//! `loadtest targets`: every row of the table of targets, each a ratio to a floor or a peer of the same run.
//!
//! ```text
//! stage (deploys) --> rounds (floors, peers, calls, in turns) --> whole (burst, churn, density) --> fleet (row 12) --> rows
//! ```
//!
//! Everything that is measured goes into the report first; the rows are computed from nothing else. A row whose subject the
//! server does not have is skipped with the reason: it is neither passed nor failed.

mod fleet;
mod rounds;
mod rows;
mod stage;
mod whole;

use std::time::Duration;

use super::{ScenarioError, empty_report, settings};
use crate::admin::{Admin, Scope};
use crate::args::{Plan, TargetsArgs};
use crate::arrivals::Arrivals;
use crate::report::{Report, RowOutcome};
use crate::stolen::{Moment, Stolen};

use fleet::Fleet;
use rows::Facts;
use stage::Stage;

pub(super) async fn run(args: &TargetsArgs) -> Result<Report, ScenarioError> {
    let socket = args.admin_socket.as_deref().ok_or(ScenarioError::NoAdminSocket)?;
    let admin = Admin::new(socket);
    // Says at once when there is no server, instead of in every row.
    admin.url().await?;
    let stage = Stage::set(&admin, args).await;
    let measured = measure(args, &admin, &stage).await;
    let left_over = stage.clear(&admin).await;
    let mut report = measured?;
    report.problems.extend(left_over);
    Ok(report)
}

async fn measure(args: &TargetsArgs, admin: &Admin, stage: &Stage) -> Result<Report, ScenarioError> {
    let plan = plan(args);
    let before = Moment::now();
    let mut report = empty_report("targets");
    report.settings = Some(settings(&plan, args.rounds));
    rounds::run(args, &plan, admin, stage, &mut report).await?;
    whole::run(args, &plan, admin, stage, &mut report).await?;
    let fleet = if args.wants(12) {
        match Fleet::measure(args, &mut report).await {
            Ok(fleet) => fleet,
            // The other rows stand all the same.
            Err(error) => {
                report.problems.push(format!("row 12: {error}"));
                Fleet::Unseen(error.to_string())
            }
        }
    } else {
        Fleet::NotAsked
    };
    let mut stolen = Stolen::default();
    stolen.add_since(before);
    report.machine.stolen = stolen.share();
    let facts = Facts {
        missing: stage.missing(),
        burst_calls: args.burst_calls,
        workers: args.workers,
        fleet,
    };
    report.targets = rows::all(&report, &facts);
    report.targets.retain(|row| args.wants(row.row));
    let failed = report
        .targets
        .iter()
        .filter(|row| row.outcome == RowOutcome::Fail)
        .map(|row| format!("row {}: {}: the target is missed", row.row, row.what));
    let failed: Vec<String> = failed.collect();
    report.problems.extend(failed);
    if report.targets.iter().all(|row| row.outcome == RowOutcome::Skip) {
        report.problems.push("no row could be measured".to_owned());
    }
    Ok(report)
}

/// What the calls have in common; each way of calling changes what it needs.
fn plan(args: &TargetsArgs) -> Plan {
    Plan {
        target: args.url.clone(),
        functions: Vec::new(),
        admin_socket: args.admin_socket.clone(),
        rate: 0.0,
        cycle_rate: None,
        arrivals: Arrivals::Poisson,
        duration: args.duration,
        pause: args.pause,
        cycles: Some(args.cycles),
        body: None,
        connections: args.connections,
        timeout: args.timeout,
        evict: Scope::Used,
    }
}

/// Long enough that the cycles end a slice, never the time.
const UNTIL_THE_CYCLES_END: Duration = Duration::from_secs(86_400);
