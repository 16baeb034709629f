//! What can't be cut into rounds: the burst, the churn, and the instances that are parked.

use std::time::Duration;

use super::stage::{Role, Stage};
use crate::admin::{Admin, Scope};
use crate::args::{Plan, TargetsArgs};
use crate::client::Client;
use crate::report::Report;
use crate::scenarios::burst::Burst;
use crate::scenarios::{ScenarioError, churn, density, problems};

/// Before each look at the memory.
const SETTLE: Duration = Duration::from_secs(2);
/// Calls of a churn that share an eviction.
const CHURN_CONNECTIONS: u32 = 8;
/// More cycles than anybody waits for.
const NO_LIMIT: Duration = Duration::from_secs(86_400 * 365);

pub(super) async fn run(
    args: &TargetsArgs,
    plan: &Plan,
    admin: &Admin,
    stage: &Stage,
    report: &mut Report,
) -> Result<(), ScenarioError> {
    let functions = |role: Role| vec![role.name().to_owned()];
    if args.wants(7) && stage.has(Role::Python) {
        let plan = Plan {
            functions: functions(Role::Python),
            connections: args.burst_calls,
            evict: Scope::All,
            ..plan.clone()
        };
        let client = Client::new(&plan.target, plan.connections, plan.timeout).await?;
        let mut burst = Burst::new(&plan, Role::Python.name(), args.burst_calls);
        burst.once(&plan, &client, admin).await?;
        burst.report(report);
    }
    if args.wants_any(&[7, 9]) && stage.has(Role::Python) {
        let plan = Plan {
            functions: functions(Role::Python),
            connections: CHURN_CONNECTIONS,
            cycles: Some(args.churn_cycles),
            duration: NO_LIMIT,
            pause: Duration::ZERO,
            evict: Scope::Used,
            ..plan.clone()
        };
        let client = Client::new(&plan.target, plan.connections, plan.timeout).await?;
        let (functions, churn) = churn::churn(&plan, &client, admin).await?;
        for function in functions {
            report.problems.extend(problems(&function));
            report.functions.push(function);
        }
        report.churn = Some(churn);
    }
    if args.wants(8) {
        let server = admin.server().await?;
        for role in [Role::ParkedNative, Role::ParkedPython] {
            if !stage.has(role) {
                continue;
            }
            let plan = Plan {
                functions: functions(role),
                connections: args.parked,
                ..plan.clone()
            };
            let client = Client::new(&plan.target, plan.connections, plan.timeout).await?;
            let (function, look) = density::park(&plan, &client, Some(admin), server, role.name(), SETTLE).await?;
            // What is parked is of no use to what comes next.
            admin.evict(role.name(), Scope::All).await?;
            report.problems.extend(problems(&function));
            report.functions.push(function);
            report.density.push(look);
        }
    }
    Ok(())
}
