//! Row 12: two servers of the load test's own, one with few functions and one with many, in turns.

use std::time::Duration;

use crate::admin::Scope;
use crate::args::{Plan, TargetsArgs};
use crate::child::{self, Env};
use crate::client::Client;
use crate::report::{NamedRun, Report};
use crate::scenarios::{ScenarioError, Subject, cold, problems, progress};
use crate::series::{Series, Summary};
use crate::serve::OwnServer;
use crate::workload::Kind;

use super::UNTIL_THE_CYCLES_END;

/// Functions of the smaller server.
pub(super) const FEW: u32 = 10;
/// Lists in each round.
const LISTS: u32 = 5;
/// The function that is called, on both.
const CALLED: u32 = 7;

/// What was found.
#[derive(Debug)]
pub(super) enum Fleet {
    /// The row was not asked for.
    NotAsked,
    /// It can't be measured.
    Unseen(String),
    /// Few against many.
    Measured(Box<Measured>),
}

/// The two servers.
#[derive(Debug)]
pub(super) struct Measured {
    /// How many functions the larger one has.
    pub(super) functions: u32,
    /// From the exec of the larger one until it was ready.
    pub(super) start: Duration,
    /// `fn list`: few, many.
    pub(super) list: [Option<Summary>; 2],
    /// The names under which the report has their cold calls: few, many.
    pub(super) called: [String; 2],
}

struct Side {
    server: OwnServer,
    plan: Plan,
    client: Client,
    subject: Subject,
    list: Series,
    name: String,
}

impl Fleet {
    /// Starts both, deploys, measures, stops both.
    pub(super) async fn measure(args: &TargetsArgs, report: &mut Report) -> Result<Self, ScenarioError> {
        let Some(program) = &args.program else {
            let why = "it needs servers of the load test's own: name the fn binary with --fn";
            return Ok(Self::Unseen(why.to_owned()));
        };
        let mut servers = Vec::new();
        let mut start = Duration::ZERO;
        for functions in [FEW, args.functions] {
            let server = OwnServer::start(program).await?;
            let bar = progress(u64::from(functions));
            bar.set_message("deploying");
            let names = (0..functions).map(|at| {
                bar.inc(1);
                name(at)
            });
            let deployed = Kind::Native.deploy_many(&server.admin(), names).await;
            bar.finish_and_clear();
            if let Err(error) = deployed {
                server.stop().await;
                return Ok(Self::Unseen(error.to_string()));
            }
            let (server, took) = server.restart().await?;
            start = took;
            servers.push((functions, server));
        }
        let mut sides = Vec::new();
        for (functions, server) in servers {
            sides.push(Side::new(args, functions, server).await?);
        }
        let measured = rounds(args, &mut sides).await;
        let mut list = Vec::new();
        for side in sides {
            let mut function = side.subject.report(None, None);
            function.function.clone_from(&side.name);
            function.more.push(NamedRun {
                scenario: "cold".to_owned(),
                how: "closed loop: evict what ran a call, wait, call once; only the call is timed".to_owned(),
                per_s: None,
                stolen: None,
                run: side.subject.cold_report(),
            });
            report.problems.extend(problems(&function));
            report.functions.push(function);
            list.push((side.list.summary(), side.name));
            side.server.stop().await;
        }
        measured?;
        let many = list.pop().expect("there are two sides");
        let few = list.pop().expect("there are two sides");
        Ok(Self::Measured(Box::new(Measured {
            functions: args.functions,
            start,
            list: [few.0, many.0],
            called: [few.1, many.1],
        })))
    }
}

impl Side {
    async fn new(args: &TargetsArgs, functions: u32, server: OwnServer) -> Result<Self, ScenarioError> {
        let plan = Plan {
            target: server.target().clone(),
            admin_socket: Some(server.admin_socket()),
            ..super::plan(args)
        };
        Ok(Self {
            client: Client::new(&plan.target, plan.connections, plan.timeout).await?,
            subject: Subject::new(&plan, &name(CALLED)),
            plan,
            server,
            list: Series::default(),
            name: format!("one of {functions} functions"),
        })
    }

    async fn round(&mut self) -> Result<(), ScenarioError> {
        let admin = self.server.admin();
        let (subject, cycles) = (&mut self.subject, self.plan.cycles);
        cold::slice(&self.plan, &self.client, &admin, subject, UNTIL_THE_CYCLES_END, cycles).await?;
        let socket = self.server.admin_socket();
        for _ in 0..LISTS {
            let args = ["list".as_ref(), "--admin-socket".as_ref(), socket.as_os_str()];
            let took = child::time_to_exit(&self.server.program(), &args, Env::Bare);
            self.list.add(took.map_err(crate::serve::ServeError::from)?);
        }
        self.list.end_round();
        Ok(())
    }
}

async fn rounds(args: &TargetsArgs, sides: &mut [Side]) -> Result<(), ScenarioError> {
    for side in &*sides {
        // The first start of a function is not like the others: it may make a template.
        side.server.admin().evict(&name(CALLED), Scope::All).await?;
    }
    let bar = progress(u64::from(args.rounds));
    bar.set_message("few functions against many");
    for _ in 0..args.rounds {
        for side in sides.iter_mut() {
            side.round().await?;
        }
        sides.rotate_left(1);
        bar.inc(1);
    }
    if args.rounds % 2 == 1 {
        sides.rotate_left(1);
    }
    bar.finish_and_clear();
    Ok(())
}

fn name(at: u32) -> String {
    format!("fleet-{at:06}")
}
