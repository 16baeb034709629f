//! What can't be cut into rounds: the burst, the churn, and the instances that are parked.

use std::time::Duration;

use super::stage::{Role, Stage};
use crate::admin::{Admin, Scope};
use crate::args::{Plan, TargetsArgs};
use crate::client::Client;
use crate::report::Report;
use crate::scenarios::burst::Burst;
use crate::scenarios::{ScenarioError, churn, density, problems};
use crate::workload::Kind;

/// Before each look at the memory.
const SETTLE: Duration = Duration::from_secs(2);
/// Functions whose evictions and calls go on side by side in the churn for the rate.
const COPIES: usize = 8;
/// The churn whose rate is row 7.
pub(super) const SUSTAINED: &str = "Python functions side by side";
/// The churn of row 9.
pub(super) const CYCLES: &str = "native and Python functions side by side";
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
    if args.wants(7) {
        let copies = Copies {
            what: SUSTAINED,
            kinds: &[Kind::Python; COPIES],
        };
        copies.churn(plan, admin, (None, args.duration), report).await?;
    }
    if args.wants(9) {
        let copies = Copies {
            what: CYCLES,
            kinds: &[Kind::Native, Kind::Python, Kind::Native, Kind::Python],
        };
        copies
            .churn(plan, admin, (Some(args.churn_cycles), NO_LIMIT), report)
            .await?;
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

/// Functions that are deployed for one churn: each of them has one connection, so that each call follows an eviction.
struct Copies {
    what: &'static str,
    kinds: &'static [Kind],
}

impl Copies {
    async fn churn(
        &self,
        plan: &Plan,
        admin: &Admin,
        (cycles, duration): (Option<u64>, Duration),
        report: &mut Report,
    ) -> Result<(), ScenarioError> {
        let mut functions = Vec::new();
        let mut deployed = Ok(());
        for (at, kind) in self.kinds.iter().enumerate() {
            let name = format!("loadtest-churn-{at}");
            deployed = kind.deploy_many(admin, std::iter::once(name.clone())).await;
            if deployed.is_err() {
                break;
            }
            functions.push(name);
        }
        let plan = Plan {
            connections: u32::try_from(functions.len()).unwrap_or(u32::MAX),
            functions,
            cycles,
            duration,
            pause: Duration::ZERO,
            evict: Scope::Used,
            ..plan.clone()
        };
        let churned = match deployed {
            Ok(()) => {
                let client = Client::new(&plan.target, plan.connections, plan.timeout).await?;
                Some(churn::churn(&plan, &client, admin, self.what).await)
            }
            Err(error) => {
                report.problems.push(format!("{}: {error}", self.what));
                None
            }
        };
        for name in &plan.functions {
            if let Err(error) = admin.remove(name).await {
                report.problems.push(format!("{name} was not removed: {error}"));
            }
        }
        if let Some(churned) = churned {
            let (functions, churn) = churned?;
            for mut function in functions {
                function.function = format!("{} ({})", function.function, self.what);
                report.problems.extend(problems(&function));
                report.functions.push(function);
            }
            report.churns.push(churn);
        }
        Ok(())
    }
}
