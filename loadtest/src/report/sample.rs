//! A small whole report for the tests of what is made of it.

use std::time::Duration;

use super::*;
use crate::series::Series;

/// A series of two rounds around `micros`.
pub(crate) fn series(micros: u64) -> Summary {
    let mut series = Series::default();
    for round in 0..2 {
        for step in 0..10 {
            series.add(Duration::from_micros(micros + round * micros / 10 + step));
        }
        series.end_round();
    }
    series.summary().unwrap()
}

fn run(start: Start, micros: u64) -> RunReport {
    RunReport {
        sent: 21,
        ok: 20,
        failed: 1,
        failures: vec![FailureReport {
            kind: "status 500".into(),
            count: 1,
            first: "500 Oops".into(),
        }],
        late_sends: 3,
        latest_send_ms: 1.75,
        warm_up: (start == Start::Warm).then_some(WarmUp {
            calls: 4,
            failed: 0,
            first_start: Some(Start::Cold),
            first_ms: Some(21.5),
            warm: true,
        }),
        starts: vec![StartReport {
            start,
            latency: series(micros),
            phases: PhaseMedians {
                queue: Some(0.012),
                handler: Some(1.0),
                ..PhaseMedians::default()
            },
        }],
    }
}

/// `hello`, cold 20 ms and warm 0.1 ms, over F_http 0.05 ms and F_py 10 ms, F_exec missing.
pub(crate) fn report() -> Report {
    let floor = |name: &str, micros| FloorReport {
        name: name.into(),
        what: "something".into(),
        note: None,
        times: series(micros),
    };
    let mut report = Report {
        schema: SCHEMA,
        command: "compare".into(),
        started: "2026-01-01T00:00:00Z".into(),
        machine: Machine {
            cpu: "Example".into(),
            cores: 2,
            kernel: "6.18".into(),
            memory_mib: 2000,
            cgroups: "v2".into(),
            load_before: 0.0,
            stolen: None,
        },
        settings: Some(Settings {
            url: "http://127.0.0.1:8080".into(),
            arrivals: Arrivals::Constant,
            rate_per_s: 50.0,
            duration_s: 10.0,
            pause_ms: 0.0,
            evict: Scope::All,
            cycles_per_s: None,
            rounds: 2,
            connections: 64,
            timeout_s: 60.0,
            body_bytes: None,
        }),
        floors: vec![floor("F_http", 50), floor("F_http_open", 60), floor("F_py", 10_000)],
        missing_floors: vec![MissingFloor {
            name: "F_exec".into(),
            reason: "no floor binary".into(),
        }],
        functions: vec![FunctionReport {
            function: "hello".into(),
            cold: Some(run(Start::Cold, 20_000)),
            warm: Some(run(Start::Warm, 100)),
            more: Vec::new(),
            ratios: Vec::new(),
        }],
        verdicts: Vec::new(),
        bursts: Vec::new(),
        churns: Vec::new(),
        density: Vec::new(),
        peers: Vec::new(),
        missing_peers: Vec::new(),
        targets: Vec::new(),
        problems: vec!["hello: 2 calls failed".into()],
    };
    report.functions[0].ratios = crate::ratios::of(&report.functions[0], &report.floors);
    report
}
