//! `loadtest peers`: every peer that is installed, in turns, with the floors beside them.

use super::{ScenarioError, empty_report, progress};
use crate::args::PeersArgs;
use crate::floor::{Bench, Floor};
use crate::peers::{Manner, PeerBench};
use crate::report::Report;

/// Starts of each program in a round.
const STARTS: u32 = 5;
/// What the peers are read against.
const FLOORS: [Floor; 5] = [Floor::Exec, Floor::Sandbox, Floor::Python, Floor::Node, Floor::Http];

pub(super) async fn run(args: &PeersArgs) -> Result<Report, ScenarioError> {
    let manner = Manner {
        pause: args.pause,
        connections: args.connections,
        workers: args.workers,
        dir: args.peers_dir.clone(),
    };
    let mut report = empty_report("peers");
    let mut bench = Bench::start(args.floor_bin.as_deref(), &FLOORS, args.pause).await?;
    let mut peers = PeerBench::start(&manner).await?;
    let slice = args.duration / args.rounds;
    let bar = progress(u64::from(args.rounds));
    bar.set_message("floors and peers");
    for _ in 0..args.rounds {
        bench.round(None).await;
        peers.starts_round(STARTS).await?;
        peers.servers_round(slice).await;
        bar.inc(1);
    }
    bar.finish_and_clear();
    (report.floors, report.missing_floors) = bench.report();
    (report.peers, report.missing_peers) = peers.report();
    report.problems = bench.broken().to_vec();
    report.problems.extend(peers.broken().iter().cloned());
    if peers.is_empty() {
        report.problems.push("no peer is installed".to_owned());
    }
    Ok(report)
}
