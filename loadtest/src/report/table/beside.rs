//! What stands beside the cold and the warm calls: further ways a function was called, and the peers.

use comfy_table::Cell;

use super::{counts, line, ms, new_table, right};
use crate::report::{FunctionReport, Report};

/// One line for each further way and each start type it met.
pub(super) fn more(text: &mut String, function: &FunctionReport) {
    if function.more.is_empty() {
        return;
    }
    let mut table = new_table();
    table.set_header(["calls", "start", "count", "p50", "p90", "p99", "p99.9", "max"]);
    for named in &function.more {
        for start in &named.run.starts {
            let times = &start.latency;
            table.add_row([
                Cell::new(&named.scenario),
                Cell::new(start.start.name()),
                right(times.count.to_string()),
                right(ms(times.p50_ms)),
                right(ms(times.p90_ms)),
                right(ms(times.p99_ms)),
                right(ms(times.p999_ms)),
                right(ms(times.max_ms)),
            ]);
        }
    }
    line(text, format_args!("{table}"));
    for named in &function.more {
        let rate = named
            .per_s
            .map_or(String::new(), |rate| format!("; {rate:.0} replies per second"));
        line(text, format_args!("  {}: {}{rate}", named.scenario, named.how));
        counts(text, &named.run);
    }
}

pub(super) fn peers(text: &mut String, report: &Report) {
    if !report.peers.is_empty() {
        line(text, format_args!("\npeers of the same run"));
        let mut table = new_table();
        table.set_header([
            "peer",
            "samples",
            "p50",
            "p90",
            "p99",
            "max",
            "replies/s",
            "failed",
            "what",
        ]);
        for peer in &report.peers {
            let times = &peer.times;
            let served = peer.served.as_ref();
            table.add_row([
                Cell::new(&peer.name),
                right(times.count.to_string()),
                right(ms(times.p50_ms)),
                right(ms(times.p90_ms)),
                right(ms(times.p99_ms)),
                right(ms(times.max_ms)),
                right(served.map_or("-".into(), |served| {
                    format!("{:.0} (over {})", served.per_s, served.connections)
                })),
                right(served.map_or("-".into(), |served| served.failed.to_string())),
                Cell::new(&peer.what),
            ]);
        }
        line(text, format_args!("{table}"));
    }
    for peer in &report.missing_peers {
        line(
            text,
            format_args!(
                "not measured: {}: {}; to have it: {}",
                peer.name, peer.reason, peer.install
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{MissingPeer, NamedRun, PeerReport, Served, sample};

    #[test]
    fn every_further_way_and_every_peer_is_named() {
        let mut report = sample::report();
        let run = report.functions[0].warm.clone().unwrap();
        report.functions[0].more.push(NamedRun {
            scenario: "at half load".into(),
            how: "open loop".into(),
            per_s: None,
            stolen: None,
            run,
        });
        report.peers.push(PeerReport {
            name: "gunicorn".into(),
            what: "Flask".into(),
            times: sample::series(250),
            served: Some(Served {
                connections: 16,
                per_s: 3300.0,
                rounds_per_s: vec![3300.0],
                failed: 0,
            }),
        });
        report.missing_peers.push(MissingPeer {
            name: "podman".into(),
            reason: "not found".into(),
            install: "apt install podman".into(),
        });
        let mut text = String::new();
        more(&mut text, &report.functions[0]);
        peers(&mut text, &report);
        for needed in [
            "at half load: open loop",
            "3300 (over 16)",
            "not measured: podman",
            "apt install podman",
        ] {
            assert!(text.contains(needed), "{needed:?} is missing in\n{text}");
        }
    }
}
