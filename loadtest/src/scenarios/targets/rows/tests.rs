//! Rows of reports that were made by hand.

use std::time::Duration;

use super::*;
use crate::report::{
    BurstReport, ChurnReport, DensityReport, Drift, FloorReport, FunctionReport, Growth, OneBurst, PerInstance,
    RowOutcome, RunReport, Served, sample,
};
use crate::scenarios::targets::fleet::Measured;
use crate::scenarios::targets::rounds::way;
use crate::scenarios::targets::whole::{CYCLES, SUSTAINED};

/// A distribution of one value, in ms.
fn times(ms: f64) -> Summary {
    Summary {
        count: 100,
        p50_ms: ms,
        p90_ms: ms,
        p99_ms: ms,
        p999_ms: ms,
        max_ms: ms,
        round_medians_ms: vec![ms],
        spread_ms: None,
        cdf: Vec::new(),
    }
}

fn empty() -> Report {
    Report {
        floors: Vec::new(),
        missing_floors: Vec::new(),
        functions: Vec::new(),
        problems: Vec::new(),
        ..sample::report()
    }
}

fn facts() -> Facts {
    Facts {
        missing: BTreeMap::new(),
        burst_calls: 200,
        workers: 1,
        fleet: Fleet::NotAsked,
    }
}

fn with_floors(report: &mut Report, floors: &[(&str, f64)]) {
    report.floors.extend(floors.iter().map(|(name, ms)| FloorReport {
        name: (*name).to_owned(),
        what: String::new(),
        note: None,
        times: times(*ms),
    }));
}

/// Adds replies of some start types, in ms, and the rate.
fn with_run(report: &mut Report, role: Role, way: &str, starts: &[(Start, f64)], per_s: Option<f64>) {
    let starts: Vec<StartReport> = starts
        .iter()
        .map(|(start, ms)| StartReport {
            start: *start,
            latency: times(*ms),
            phases: Default::default(),
        })
        .collect();
    let ok = starts.iter().map(|start| start.latency.count).sum();
    let run = NamedRun {
        scenario: way.to_owned(),
        how: String::new(),
        per_s,
        stolen: None,
        run: RunReport {
            sent: ok,
            ok,
            failed: 0,
            failures: Vec::new(),
            late_sends: 0,
            latest_send_ms: 0.0,
            warm_up: None,
            starts,
        },
    };
    match report.functions.iter_mut().find(|f| f.function == role.name()) {
        Some(function) => function.more.push(run),
        None => report.functions.push(FunctionReport {
            function: role.name().to_owned(),
            cold: None,
            warm: None,
            more: vec![run],
            ratios: Vec::new(),
        }),
    }
}

fn find<'a>(rows: &'a [Row], number: u32, what: &str) -> &'a Row {
    rows.iter()
        .find(|row| row.row == number && row.what.contains(what))
        .unwrap_or_else(|| panic!("no row {number} {what} in {rows:#?}"))
}

fn near(got: Option<f64>, want: f64) {
    assert!(
        got.is_some_and(|got| (got - want).abs() < want * 1e-6),
        "{got:?} is not {want}"
    );
}

#[test]
fn what_was_not_measured_is_skipped_with_a_reason() {
    let facts = Facts {
        fleet: Fleet::Unseen("no binary".into()),
        ..facts()
    };
    let rows = all(&empty(), &facts);
    let numbers: Vec<u32> = (1..=12).filter(|n| rows.iter().any(|row| row.row == *n)).collect();
    assert_eq!(numbers, (1..=12).collect::<Vec<_>>());
    for row in &rows {
        assert_eq!(row.outcome, RowOutcome::Skip, "{row:?}");
        assert!(row.note.as_ref().is_some_and(|note| !note.is_empty()), "{row:?}");
    }
}

#[test]
fn a_native_start_is_held_against_its_own_kind_of_floor() {
    let mut report = empty();
    with_floors(&mut report, &[("F_exec", 0.4), ("F_box", 1.4), ("F_http", 0.1)]);
    with_run(&mut report, Role::Native, way::USED, &[(Start::Pooled, 0.7)], None);
    with_run(&mut report, Role::Native, way::ALL, &[(Start::Cold, 3.0)], None);
    let rows = all(&report, &facts());
    let pooled = find(&rows, 1, "(pooled)");
    near(pooled.ratio, 1.4);
    assert_eq!(pooled.outcome, RowOutcome::Pass);
    let cold = find(&rows, 1, "(cold)");
    near(cold.ratio, 2.0);
    assert_eq!(cold.outcome, RowOutcome::Fail);
    let ahead = find(&rows, 1, "(ahead)");
    assert_eq!(ahead.outcome, RowOutcome::Skip);
}

#[test]
fn the_start_types_of_python_are_never_mixed() {
    let mut report = empty();
    let floors = [
        ("F_fork_import", 0.5),
        ("F_fork_call", 1.0),
        ("F_py", 15.0),
        ("F_import", 80.0),
        ("F_http", 0.1),
    ];
    with_floors(&mut report, &floors);
    let starts = [(Start::Ahead, 0.4), (Start::Forked, 9.0)];
    with_run(&mut report, Role::Python, way::USED, &starts, None);
    with_run(
        &mut report,
        Role::PythonOnDemand,
        way::USED,
        &[(Start::Forked, 1.4)],
        None,
    );
    let rows = all(&report, &facts());
    let of = |what: &str, over: &str| {
        rows.iter()
            .find(|row| row.row == 2 && row.what.contains(what) && row.over.contains(over))
            .unwrap()
    };
    near(of("(ahead)", "F_fork_import").ratio, 0.8);
    near(of("(ahead)", "F_py").ratio, 0.4 / 15.0);
    near(of("(forked)", "F_fork_call").ratio, 1.0);
    near(of("(forked)", "F_py").ratio, 1.4 / 15.0);
    near(of("imports", "ahead").ratio, 200.0);
    near(of("imports", "on demand").ratio, 80.0 / 1.4);
    assert!(
        rows.iter()
            .filter(|row| row.row == 2)
            .all(|row| row.outcome == RowOutcome::Pass)
    );
}

#[test]
fn a_refused_deploy_is_the_reason_of_its_rows() {
    let refused = BTreeMap::from([(Role::Request, "unknown key `reuse`".to_owned())]);
    let facts = Facts {
        missing: refused,
        ..facts()
    };
    let rows = all(&empty(), &facts);
    let row = find(&rows, 11, "reuse");
    assert_eq!(row.note.as_deref(), Some("unknown key `reuse`"));
}

#[test]
fn warm_calls_are_held_against_the_floors_back_to_back() {
    let mut report = empty();
    let floors = [
        ("F_http", 9.0),
        ("F_http, back to back", 0.1),
        ("F_rtt, back to back", 0.05),
    ];
    with_floors(&mut report, &floors);
    with_run(&mut report, Role::WarmPython, way::ALONE, &[(Start::Warm, 0.15)], None);
    let mut half = times(1.0);
    half.p99_ms = 4.0;
    with_run(&mut report, Role::WarmPython, way::HALF, &[(Start::Warm, 1.0)], None);
    report.functions[0].more[1].run.starts[0].latency = half;
    with_run(&mut report, Role::WarmPython, way::PACED, &[(Start::Warm, 0.2)], None);
    with_run(&mut report, Role::Request, way::PACED, &[(Start::Ahead, 0.35)], None);
    let rows = all(&report, &facts());
    near(find(&rows, 5, "Python, warm").ratio, 0.75);
    let tail = find(&rows, 5, "at 50 %");
    near(tail.ratio, 4.0);
    assert_eq!(tail.outcome, RowOutcome::Fail);
    near(find(&rows, 11, "reuse").ratio, 3.0);
}

#[test]
fn throughput_is_held_against_the_better_gunicorn() {
    let mut report = empty();
    let mut peer = |name: &str, ms: f64, per_s: f64| {
        report.peers.push(PeerReport {
            name: name.to_owned(),
            what: String::new(),
            times: times(ms),
            served: Some(Served {
                connections: 16,
                per_s,
                rounds_per_s: vec![per_s],
                failed: 0,
            }),
        });
    };
    peer("gunicorn", 0.5, 2000.0);
    peer("gunicorn-gthread", 0.4, 1500.0);
    peer("node:http", 0.1, 20_000.0);
    with_run(
        &mut report,
        Role::WarmPython,
        way::FULL,
        &[(Start::Warm, 1.0)],
        Some(4000.0),
    );
    with_run(&mut report, Role::WarmPython, way::ALONE, &[(Start::Warm, 0.3)], None);
    with_run(
        &mut report,
        Role::WarmNode,
        way::FULL,
        &[(Start::Warm, 1.0)],
        Some(9000.0),
    );
    let rows = all(&report, &facts());
    near(find(&rows, 6, "Python, replies").ratio, 2.0);
    near(find(&rows, 6, "Python, warm").ratio, 0.75);
    let node = find(&rows, 6, "Node");
    near(node.ratio, 0.45);
    assert_eq!(node.outcome, RowOutcome::Fail);
}

fn churn(what: &str, per_s: f64) -> ChurnReport {
    ChurnReport {
        what: what.to_owned(),
        elapsed_s: 1.0,
        connections: 8,
        cold_starts: 2000,
        per_s,
        slowest_tenth_per_s: None,
        drift: Vec::new(),
        growth: Vec::new(),
        unseen: Vec::new(),
    }
}

#[test]
fn the_rate_counts_only_new_processes_and_the_better_way() {
    let mut report = empty();
    with_floors(
        &mut report,
        &[("F_ns7, back to back", 0.4), ("F_fork_import, back to back", 0.6)],
    );
    // 1,200 replies per second, half of them from processes that had answered before.
    let half = [(Start::Ahead, 1.0), (Start::Warm, 1.0)];
    with_run(&mut report, Role::Request, way::FULL, &half, Some(1200.0));
    report.churns.push(churn(SUSTAINED, 500.0));
    let one = OneBurst {
        answered: 199,
        span_ms: 250.0,
        first_ms: Some(50.0),
        new: 10,
        instances: 10,
        started: Some(17),
    };
    report.bursts.push(BurstReport {
        function: Role::Python.name().to_owned(),
        calls: 200,
        bursts: vec![one],
    });
    let rows = all(&report, &facts());
    let rate = find(&rows, 7, "per second");
    near(rate.ratio, 0.6);
    assert_eq!(rate.outcome, RowOutcome::Fail);
    assert!(rate.what.contains("reuse"), "{rate:?}");
    assert_eq!(find(&rows, 7, "cold function: answered").outcome, RowOutcome::Fail);
    assert_eq!(find(&rows, 7, "starts").outcome, RowOutcome::Fail);
    // 200 calls at 650 a second take 308 ms.
    assert_eq!(find(&rows, 7, "all answered").outcome, RowOutcome::Pass);
}

fn look(available: i64, idle: i64) -> DensityReport {
    DensityReport {
        what: Role::ParkedNative.name().to_owned(),
        functions: 1,
        parked: 100,
        counted_by: String::new(),
        available_kib: available,
        kernel_kib: 0,
        idle_kib: idle,
        processes: Some(200),
        readable: Some(200),
        per_instance: Some(PerInstance {
            available_kib: available as f64 / 100.0,
            kernel_kib: 0.0,
            private_kib: Some(400.0),
            beyond_dirty_kib: Some(50.0),
            cgroup_kib: None,
        }),
        unseen: Vec::new(),
    }
}

#[test]
fn memory_of_a_machine_that_is_not_quiet_says_nothing() {
    let mut report = empty();
    report.density = vec![look(60_000, 500)];
    let rows = all(&report, &facts());
    assert_eq!(find(&rows, 8, "native: all told").outcome, RowOutcome::Pass);
    assert_eq!(find(&rows, 8, "beyond").outcome, RowOutcome::Pass);
    report.density = vec![look(60_000, -30_000)];
    let rows = all(&report, &facts());
    assert_eq!(find(&rows, 8, "native: all told").outcome, RowOutcome::Skip);
}

#[test]
fn anything_that_grew_fails() {
    let mut report = empty();
    let growth = |what: &str, before, after| Growth {
        what: what.to_owned(),
        before,
        after,
    };
    let drift = |start, calls, last| Drift {
        start,
        calls,
        first_p99_ms: 10.0,
        last_p99_ms: last,
    };
    report.churns.push(ChurnReport {
        growth: vec![growth("open files of the server", 20, 21), growth("slab", 1000, 1040)],
        drift: vec![drift(Start::Cold, 10, 12.5), drift(Start::Forked, 9, 99.0)],
        unseen: vec!["mounts".into()],
        ..churn(CYCLES, 1.0)
    });
    let rows = all(&report, &facts());
    assert_eq!(find(&rows, 9, "open files").outcome, RowOutcome::Fail);
    assert_eq!(find(&rows, 9, "slab").outcome, RowOutcome::Pass);
    assert_eq!(find(&rows, 9, "(cold)").outcome, RowOutcome::Fail);
    assert!(!rows.iter().any(|row| row.what.contains("(forked)") && row.row == 9));
    assert_eq!(find(&rows, 9, "what must not grow").note.as_deref(), Some("mounts"));
}

#[test]
fn many_functions_are_compared_by_one_start_type() {
    let mut report = empty();
    with_run(
        &mut report,
        Role::Native,
        "cold",
        &[(Start::Pooled, 1.0), (Start::Cold, 4.0)],
        None,
    );
    with_run(&mut report, Role::Node, "cold", &[(Start::Cold, 5.0)], None);
    let facts = Facts {
        fleet: Fleet::Measured(Box::new(Measured {
            functions: 10_000,
            start: Duration::from_millis(400),
            list: [Some(times(3.0)), Some(times(30.0))],
            called: [Role::Native.name().to_owned(), Role::Node.name().to_owned()],
        })),
        ..facts()
    };
    let rows = all(&report, &facts);
    let cold = find(&rows, 12, "cold start (cold)");
    near(cold.ratio, 1.25);
    assert_eq!(cold.outcome, RowOutcome::Fail);
    near(find(&rows, 12, "fn list").ratio, 10.0);
    near(find(&rows, 12, "exec to ready").ratio, 0.4);
}

#[test]
fn a_peer_is_held_against_the_best_start_on_demand() {
    let mut report = empty();
    for (name, ms) in [("bwrap", 4.0), ("runc", 40.0)] {
        report.peers.push(PeerReport {
            name: name.to_owned(),
            what: String::new(),
            times: times(ms),
            served: None,
        });
    }
    with_run(&mut report, Role::Native, way::USED, &[(Start::Pooled, 0.8)], None);
    with_run(&mut report, Role::Native, way::ALL, &[(Start::Cold, 5.0)], None);
    with_run(&mut report, Role::NativeAhead, way::USED, &[(Start::Ahead, 0.2)], None);
    let rows = all(&report, &facts());
    near(find(&rows, 10, "bwrap, over native on demand (pooled)").ratio, 5.0);
    near(find(&rows, 10, "bwrap, over native ahead").ratio, 20.0);
    near(find(&rows, 10, "runc").ratio, 50.0);
    assert_eq!(find(&rows, 10, "podman").outcome, RowOutcome::Skip);
}
