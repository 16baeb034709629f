//! `loadtest ab`: two result files, or two binaries in turns, and a verdict for each median.
//!
//! Of binaries each gets a server of its own, which runs all the time; a turn loads one while the other is idle, and who goes
//! first changes from round to round. The noise is how far the medians of the rounds lie apart, so that a machine that wanders
//! during the run widens what counts as the same.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::{ScenarioError, Subject, cold, empty_report, problems, progress, settings, warm};
use crate::admin::Admin;
use crate::args::{AbArgs, Plan};
use crate::arrivals::Arrivals;
use crate::client::Client;
use crate::compare::{self, Outcome};
use crate::floor::{Bench, Floor};
use crate::report::{FunctionReport, Report, json};
use crate::serve::OwnServer;
use crate::workload::Kind;

/// What is deployed on both.
const FUNCTIONS: [(Kind, &str); 3] = [(Kind::Native, "native"), (Kind::Python, "python"), (Kind::Node, "node")];
const CONNECTIONS: u32 = 64;

/// Why two things can't be compared.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AbError {
    /// One can't be read.
    #[error("{} can't be read: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// One is a result, the other is not.
    #[error("{} is a result file and {} is none", result.display(), other.display())]
    Mixed {
        /// The result.
        result: PathBuf,
        /// The other.
        other: PathBuf,
    },
    /// No function could be deployed on both.
    #[error("no function can be deployed on both servers: {0}")]
    NoFunction(String),
}

pub(super) async fn run(args: &AbArgs) -> Result<Report, ScenarioError> {
    match (is_result(&args.old)?, is_result(&args.new)?) {
        (true, true) => files(args),
        (false, false) => binaries(args).await,
        (old, _) => {
            let (result, other) = if old {
                (&args.old, &args.new)
            } else {
                (&args.new, &args.old)
            };
            Err(AbError::Mixed {
                result: result.clone(),
                other: other.clone(),
            }
            .into())
        }
    }
}

/// A result starts as every JSON object does, a program never.
fn is_result(path: &Path) -> Result<bool, AbError> {
    let failed = |source| AbError::Read {
        path: path.to_owned(),
        source,
    };
    let mut first = [0; 64];
    let read = std::fs::File::open(path)
        .and_then(|mut file| file.read(&mut first))
        .map_err(failed)?;
    let text = first[..read].iter().find(|byte| !byte.is_ascii_whitespace());
    Ok(text == Some(&b'{'))
}

fn files(args: &AbArgs) -> Result<Report, ScenarioError> {
    let (old, new) = (json::read(&args.old)?, json::read(&args.new)?);
    compare::check(&old, &new)?;
    let mut report = Report {
        command: "ab".to_owned(),
        problems: Vec::new(),
        targets: Vec::new(),
        ..new.clone()
    };
    report.verdicts = compare::verdicts(&old, &new);
    judge(&mut report);
    Ok(report)
}

/// One binary under load.
struct Side {
    label: &'static str,
    server: OwnServer,
    admin: Admin,
    plan: Plan,
    client: Client,
    subjects: Vec<Subject>,
}

async fn binaries(args: &AbArgs) -> Result<Report, ScenarioError> {
    let mut sides = Vec::new();
    for (label, program) in [("old", &args.old), ("new", &args.new)] {
        sides.push(Side::start(args, label, program).await?);
    }
    let measured = measure(args, &mut sides).await;
    let mut functions = Vec::new();
    let settings = settings(&sides[0].plan, args.rounds);
    for side in sides {
        functions.push((side.label, side.report()));
        side.server.stop().await;
    }
    let bench = measured?;
    let mut report = empty_report("ab");
    report.settings = Some(settings);
    let with = |functions: &[FunctionReport]| Report {
        functions: functions.to_vec(),
        ..report.clone()
    };
    let sided: Vec<Report> = functions.iter().map(|(_, functions)| with(functions)).collect();
    report.verdicts = compare::verdicts(&sided[0], &sided[1]);
    (report.floors, report.missing_floors) = bench.report();
    report.problems = bench.broken().to_vec();
    for (label, functions) in functions {
        for mut function in functions {
            function.function = format!("{} ({label})", function.function);
            report.problems.extend(problems(&function));
            report.functions.push(function);
        }
    }
    judge(&mut report);
    Ok(report)
}

impl Side {
    async fn start(args: &AbArgs, label: &'static str, program: &Path) -> Result<Self, ScenarioError> {
        let server = OwnServer::start(program).await?;
        let (admin, target) = (server.admin(), server.target().clone());
        let mut functions = Vec::new();
        let mut refused = Vec::new();
        for (kind, name) in FUNCTIONS {
            // A host without Node, say, still has the others to compare.
            match kind.deploy(&admin, name, serde_json::json!({})).await {
                Ok(()) => functions.push(name.to_owned()),
                Err(error) => refused.push(format!("{name}: {error}")),
            }
        }
        if functions.is_empty() {
            server.stop().await;
            return Err(AbError::NoFunction(refused.join("; ")).into());
        }
        let plan = Plan {
            target,
            functions,
            admin_socket: Some(server.admin_socket()),
            rate: args.rate,
            cycle_rate: None,
            arrivals: Arrivals::Constant,
            duration: args.duration,
            pause: args.pause,
            cycles: None,
            body: None,
            connections: CONNECTIONS,
            timeout: args.timeout,
            evict: args.evict,
        };
        let subjects = plan.functions.iter().map(|name| Subject::new(&plan, name)).collect();
        Ok(Self {
            label,
            client: Client::new(&plan.target, plan.connections, plan.timeout).await?,
            server,
            admin,
            plan,
            subjects,
        })
    }

    async fn turn(&mut self, rounds: u32, round: u32) -> Result<(), ScenarioError> {
        let slice = self.plan.duration / rounds / 2;
        for subject in &mut self.subjects {
            cold::slice(&self.plan, &self.client, &self.admin, subject, slice, None).await?;
            warm::slice(&self.plan, &self.client, subject, slice, u64::from(round)).await?;
        }
        Ok(())
    }

    fn report(&self) -> Vec<FunctionReport> {
        let report = |subject: &Subject| subject.report(Some(subject.cold_report()), Some(subject.warm_report()));
        self.subjects.iter().map(report).collect()
    }
}

async fn measure(args: &AbArgs, sides: &mut [Side]) -> Result<Bench, ScenarioError> {
    let mut bench = Bench::start(args.floor_bin.as_deref(), &Floor::USUAL, args.pause).await?;
    let bar = progress(u64::from(args.rounds) * 2);
    for round in 0..args.rounds {
        bar.set_message("floors");
        bench.round(None).await;
        for side in sides.iter_mut() {
            bar.set_message(side.label);
            side.turn(args.rounds, round).await?;
            bar.inc(1);
        }
        sides.rotate_left(1);
    }
    if args.rounds % 2 == 1 {
        sides.rotate_left(1);
    }
    bar.finish_and_clear();
    Ok(bench)
}

fn judge(report: &mut Report) {
    let slower = report
        .verdicts
        .iter()
        .filter(|verdict| verdict.outcome == Outcome::Regression)
        .map(|verdict| format!("{}: the new one is slower beyond the noise", verdict.what));
    let slower: Vec<String> = slower.collect();
    report.problems.extend(slower);
    // Floors have verdicts too, and say nothing about the platform.
    let judged = report.verdicts.iter().any(|verdict| {
        let floor = report.floors.iter().any(|floor| floor.name == verdict.what);
        !floor && verdict.outcome != Outcome::NotComparable
    });
    if !judged {
        report
            .problems
            .push("no median of a call is in both, so nothing was compared".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    fn args(old: &Path, new: &Path) -> AbArgs {
        use clap::Parser as _;
        let words = ["loadtest", "ab", old.to_str().unwrap(), new.to_str().unwrap()];
        match crate::args::Args::try_parse_from(words).unwrap().command {
            crate::args::Command::Ab(args) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_slower_result_is_a_problem_and_the_same_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("old"), dir.path().join("new"));
        let mut slow = sample::report();
        slow.functions[0].cold.as_mut().unwrap().starts[0].latency = sample::series(90_000);
        json::write(&sample::report(), &old).unwrap();
        json::write(&slow, &new).unwrap();
        assert_eq!(files(&args(&old, &old)).unwrap().problems, Vec::<String>::new());
        let problems = files(&args(&old, &new)).unwrap().problems;
        assert_eq!(
            problems,
            ["hello, cold calls: cold: the new one is slower beyond the noise"]
        );
        assert_eq!(files(&args(&new, &old)).unwrap().problems, Vec::<String>::new());
    }

    #[test]
    fn results_with_nothing_in_common_do_not_pass() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("old"), dir.path().join("new"));
        let mut other = sample::report();
        other.functions[0].function = "other".into();
        json::write(&sample::report(), &old).unwrap();
        json::write(&other, &new).unwrap();
        let problems = files(&args(&old, &new)).unwrap().problems;
        assert_eq!(problems, ["no median of a call is in both, so nothing was compared"]);
    }

    #[tokio::test]
    async fn a_result_is_not_held_against_a_program() {
        let dir = tempfile::tempdir().unwrap();
        let (result, program) = (dir.path().join("result"), dir.path().join("program"));
        json::write(&sample::report(), &result).unwrap();
        std::fs::write(&program, b"\x7fELF").unwrap();
        let error = run(&args(&program, &result)).await.unwrap_err().to_string();
        assert!(error.contains("result is a result file and"), "{error}");
        let error = run(&args(&dir.path().join("none"), &result)).await.unwrap_err();
        assert!(error.to_string().contains("none can't be read"), "{error}");
    }
}
