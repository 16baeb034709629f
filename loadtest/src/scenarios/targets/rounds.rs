//! The interleaved part: in each round every floor, every peer and every way of calling, so that whatever the machine does,
//! it does to all.
//!
//! Floors are measured twice: after the pause that also precedes a cold call, and back to back as calls under load are.

use std::time::{Duration, Instant};

use super::stage::{Role, Stage};
use super::{UNTIL_THE_CYCLES_END, rounds};
use crate::admin::{Admin, Scope};
use crate::args::{Plan, TargetsArgs};
use crate::arrivals::Arrivals;
use crate::client::Client;
use crate::floor::{Bench, Floor};
use crate::peers::{Manner, PeerBench};
use crate::report::{NamedRun, Report};
use crate::scenarios::{ScenarioError, Subject, closed, cold, open_loop, problems, progress};
use crate::series::median;
use crate::stolen::{Moment, Stolen};

/// What is added to the name of a floor that was measured without a pause.
pub(super) const BACK_TO_BACK: &str = ", back to back";

/// The ways of calling, by the names that the report has for them.
pub(super) mod way {
    pub(crate) const USED: &str = "cold, what waits ahead stays";
    pub(crate) const ALL: &str = "cold, everything evicted";
    pub(crate) const ALONE: &str = "one by one";
    pub(crate) const PACED: &str = "one by one, with gaps";
    pub(crate) const FULL: &str = "as fast as answered";
    pub(crate) const HALF: &str = "at 50 % load";
    pub(crate) const SEVENTY: &str = "at 70 % load";
}

/// Floors of a cold start.
const PAUSED: [Floor; 9] = [
    Floor::Exec,
    Floor::Ns7,
    Floor::Sandbox,
    Floor::ForkImport,
    Floor::ForkCall,
    Floor::Python,
    Floor::Import,
    Floor::Node,
    Floor::Http,
];
/// Floors of calls and starts under load.
const AT_ONCE: [Floor; 4] = [Floor::Ns7, Floor::RoundTrip, Floor::ForkImport, Floor::Http];
/// Between two calls of the row about fresh processes: well above twice a fork, so that one is always forked ahead.
const GAP: Duration = Duration::from_millis(5);
/// After this long another Node is parked: it takes about as long as a few starts of Node.
const PARKING: Duration = Duration::from_millis(250);
const ALONE_CALLS: u32 = 300;
const PACED_CALLS: u32 = 60;
const PEER_STARTS: u32 = 3;

/// One function called in one way.
struct Way {
    role: Role,
    name: &'static str,
    how: &'static str,
    subject: Subject,
    rates: Vec<f64>,
    stolen: Stolen,
}

/// Everything that is measured in turns.
struct Bank<'a> {
    plan: &'a Plan,
    client: Client,
    admin: &'a Admin,
    ways: Vec<Way>,
}

pub(super) async fn run(
    args: &TargetsArgs,
    plan: &Plan,
    admin: &Admin,
    stage: &Stage,
    report: &mut Report,
) -> Result<(), ScenarioError> {
    let mut paused = Bench::start(args.floor_bin.as_deref(), &PAUSED, args.pause).await?;
    let mut at_once = Bench::start(args.floor_bin.as_deref(), &AT_ONCE, Duration::ZERO).await?;
    let mut peers = peers(args).await?;
    let mut bank = Bank {
        plan,
        client: Client::new(&plan.target, plan.connections, plan.timeout).await?,
        admin,
        ways: ways(args, plan, stage),
    };
    let slice = args.duration / args.rounds;
    let bar = progress(u64::from(args.rounds));
    for round in 0..args.rounds {
        bar.set_message("floors");
        paused.round(None).await;
        at_once.round(None).await;
        if let Some(peers) = &mut peers {
            bar.set_message("peers");
            if args.wants(10) {
                peers.starts_round(PEER_STARTS).await?;
            }
            if args.wants(6) {
                peers.servers_round(slice).await;
            }
        }
        bar.set_message("cold calls");
        bank.cold().await?;
        bar.set_message("warm calls");
        bank.one_by_one().await?;
        bank.full(slice).await?;
        bank.part_load(slice, u64::from(round)).await?;
        bar.inc(1);
    }
    bar.finish_and_clear();

    (report.floors, report.missing_floors) = paused.report();
    let (mut floors, missing) = at_once.report();
    for floor in &mut floors {
        floor.name.push_str(rounds::BACK_TO_BACK);
    }
    report.floors.extend(floors);
    report.missing_floors.extend(missing);
    report
        .problems
        .extend(paused.broken().iter().chain(at_once.broken()).cloned());
    if let Some(peers) = peers {
        (report.peers, report.missing_peers) = peers.report();
        report.problems.extend(peers.broken().iter().cloned());
    }
    bank.report(report);
    Ok(())
}

async fn peers(args: &TargetsArgs) -> Result<Option<PeerBench>, ScenarioError> {
    if args.no_peers || !args.wants_any(&[6, 10]) {
        return Ok(None);
    }
    let manner = Manner {
        pause: args.pause,
        connections: args.connections,
        workers: args.workers,
        dir: args.peers_dir.clone(),
    };
    Ok(Some(PeerBench::start(&manner).await?))
}

fn ways(args: &TargetsArgs, plan: &Plan, stage: &Stage) -> Vec<Way> {
    let used = "closed loop: evict what ran a call, wait, call once; only the call is timed";
    let all = "closed loop: evict everything, wait, call once; only the call is timed";
    let parked = "closed loop: evict what ran a call, wait 250 ms, in which another process is parked, call once; only the call is timed";
    let alone = "closed loop: one connection, each call at once after the last reply";
    let gaps = "one connection, 5 ms between a reply and the next call";
    let full = "closed loop: every connection calls as soon as it has its reply";
    let part = "open loop, poisson arrivals, at this part of the rate of the same round";
    let all_ways: [(&[u32], Role, &'static str, &'static str); 17] = [
        (&[1, 10], Role::Native, way::USED, used),
        (&[1, 10], Role::Native, way::ALL, all),
        (&[1, 10], Role::NativeAhead, way::USED, used),
        (&[1], Role::NativeServer, way::USED, used),
        (&[2], Role::Python, way::USED, used),
        (&[2], Role::Python, way::ALL, all),
        (&[2], Role::PythonOnDemand, way::USED, used),
        (&[3], Role::Node, way::USED, parked),
        (&[5], Role::NativeServer, way::ALONE, alone),
        (&[5, 6], Role::WarmPython, way::ALONE, alone),
        (&[11], Role::WarmPython, way::PACED, gaps),
        (&[11], Role::Request, way::PACED, gaps),
        (&[5, 6], Role::WarmPython, way::FULL, full),
        (&[6], Role::WarmNode, way::FULL, full),
        (&[7], Role::Request, way::FULL, full),
        (&[5], Role::WarmPython, way::HALF, part),
        (&[5], Role::WarmPython, way::SEVENTY, part),
    ];
    all_ways
        .into_iter()
        .filter(|(rows, role, _, _)| args.wants_any(rows) && stage.has(*role))
        .map(|(_, role, name, how)| Way {
            role,
            name,
            how,
            subject: Subject::new(plan, role.name()),
            rates: Vec::new(),
            stolen: Stolen::default(),
        })
        .collect()
}

impl Bank<'_> {
    async fn cold(&mut self) -> Result<(), ScenarioError> {
        for way in &mut self.ways {
            let evict = match way.name {
                way::USED => Scope::Used,
                way::ALL => Scope::All,
                _ => continue,
            };
            let pause = match (way.role, way.name) {
                (Role::Node, way::USED) => self.plan.pause.max(PARKING),
                _ => self.plan.pause,
            };
            let plan = Plan {
                evict,
                pause,
                ..self.plan.clone()
            };
            let (subject, cycles, before) = (&mut way.subject, plan.cycles, Moment::now());
            cold::slice(&plan, &self.client, self.admin, subject, UNTIL_THE_CYCLES_END, cycles).await?;
            way.stolen.add_since(before);
        }
        Ok(())
    }

    async fn one_by_one(&mut self) -> Result<(), ScenarioError> {
        for way in &mut self.ways {
            let (calls, pause) = match way.name {
                way::ALONE => (ALONE_CALLS, Duration::ZERO),
                way::PACED => (PACED_CALLS, GAP),
                _ => continue,
            };
            // One call that is not counted: it may be the one that starts the instance.
            drop(self.client.call(&way.subject.call, Instant::now()).await);
            let (recorder, before) = (&mut way.subject.cold, Moment::now());
            closed::one_by_one(&self.client, &way.subject.call, calls, pause, recorder).await?;
            way.stolen.add_since(before);
        }
        Ok(())
    }

    async fn full(&mut self, slice: Duration) -> Result<(), ScenarioError> {
        for way in self.ways.iter_mut().filter(|way| way.name == way::FULL) {
            let (call, recorder, before) = (&way.subject.call, &mut way.subject.cold, Moment::now());
            let rate = closed::rate(&self.client, call, self.plan.connections, slice, recorder).await;
            way.rates.push(rate);
            way.stolen.add_since(before);
        }
        Ok(())
    }

    /// The open loops, at parts of the rate that this same round just showed.
    async fn part_load(&mut self, slice: Duration, round: u64) -> Result<(), ScenarioError> {
        let rate = |way: &&Way| way.name == way::FULL && way.role == Role::WarmPython;
        let Some(full) = self.ways.iter().find(rate).and_then(|way| way.rates.last().copied()) else {
            return Ok(());
        };
        for way in &mut self.ways {
            let part = match way.name {
                way::HALF => 0.5,
                way::SEVENTY => 0.7,
                _ => continue,
            };
            if full * part < 1.0 {
                continue;
            }
            let seed = round * 2 + u64::from(way.name == way::SEVENTY);
            let offsets = Arrivals::Poisson.schedule(full * part, slice, seed);
            let (recorder, before) = (&mut way.subject.cold, Moment::now());
            open_loop(&self.client, &way.subject.call, &offsets, |attempt| {
                recorder.record(attempt)
            })
            .await?;
            recorder.end_round();
            way.stolen.add_since(before);
        }
        Ok(())
    }

    fn report(self, report: &mut Report) {
        for way in self.ways {
            let name = way.role.name();
            let run = NamedRun {
                scenario: way.name.to_owned(),
                how: way.how.to_owned(),
                per_s: median(&way.rates),
                stolen: way.stolen.share(),
                run: way.subject.cold_report(),
            };
            match report.functions.iter_mut().find(|function| function.function == name) {
                Some(function) => function.more.push(run),
                None => {
                    let mut function = way.subject.report(None, None);
                    function.more.push(run);
                    report.functions.push(function);
                }
            }
        }
        let failed: Vec<String> = report.functions.iter().flat_map(problems).collect();
        report.problems.extend(failed);
    }
}
