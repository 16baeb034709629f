//! The real binary against a small real server that sets the product's headers. It tests the client, not the product.
#![expect(clippy::unwrap_used, reason = "a test that can't go on panics")]

mod imitation;
mod program;

use imitation::{Imitation, rude_server, unused_address};
use program::{Run, floor_program, loadtest};
use serde_json::Value;

const WARM: &[&str] = &["--rate", "200", "--duration", "500ms"];

fn run(report: &Value, scenario: &str) -> Value {
    report["functions"][0][scenario].clone()
}

fn start<'a>(run: &'a Value, name: &str) -> &'a Value {
    let starts = run["starts"].as_array().unwrap();
    starts
        .iter()
        .find(|start| start["start"] == name)
        .unwrap_or_else(|| panic!("no {name} in {run}"))
}

fn problems(report: &Value) -> String {
    report["problems"].to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn warm_counts_every_call_and_keeps_the_warm_up_apart() {
    let server = Imitation::start().await;
    let Run {
        code, stdout, report, ..
    } = loadtest(&server.warm("hello", WARM)).await;
    assert_eq!(code, 0, "{stdout}");
    let warm = run(&report, "warm");
    assert_eq!(warm["sent"], 100);
    assert_eq!(warm["ok"], 100);
    assert_eq!(start(&warm, "warm")["count"], 100);
    assert_eq!(
        warm["starts"].as_array().unwrap().len(),
        1,
        "the cold call of the warm-up is in no distribution"
    );
    assert_eq!(warm["warm_up"]["first_start"], "cold");
    assert_eq!(server.calls("hello"), 100 + warm["warm_up"]["calls"].as_u64().unwrap());
    assert!(stdout.contains("open loop, constant arrivals at 200/s"), "{stdout}");
    assert!(stdout.contains("warm-up before it of"), "{stdout}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_report_has_its_documented_shape() {
    let server = Imitation::start().await;
    let Run { report, .. } = loadtest(&server.warm("hello", WARM)).await;
    assert_eq!(report["schema"], 1);
    assert_eq!(report["command"], "warm");
    assert_eq!(report["settings"]["rate_per_s"], 200.0);
    assert_eq!(report["settings"]["arrivals"], "constant");
    assert!(report["machine"]["cores"].as_u64().unwrap() > 0);
    let warm = run(&report, "warm");
    let times = start(&warm, "warm");
    let order = ["p50_ms", "p90_ms", "p99_ms", "p999_ms", "max_ms"].map(|key| times[key].as_f64().unwrap());
    assert!(order.is_sorted() && order[0] > 0.0, "{order:?}");
    let fractions: Vec<f64> = times["cdf"]
        .as_array()
        .unwrap()
        .iter()
        .map(|point| point[1].as_f64().unwrap())
        .collect();
    assert!(fractions.is_sorted() && fractions.last() == Some(&1.0));
    let handler = times["phase_medians_ms"]["handler"].as_f64().unwrap();
    assert!((1.99..2.01).contains(&handler), "the server says 2 ms, got {handler}");
    assert_eq!(times["phase_medians_ms"]["sandbox"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn arrivals_do_not_wait_for_replies() {
    let server = Imitation::start().await;
    // The server answers nothing of `gate` until twenty of its calls are there at once: a closed loop would never end.
    let extra = ["--rate", "200", "--duration", "500ms", "--timeout", "30s"];
    let Run { code, report, .. } = loadtest(&server.warm("gate", &extra)).await;
    assert_eq!(code, 0, "{}", problems(&report));
    assert_eq!(run(&report, "warm")["ok"], 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_posted() {
    let server = Imitation::start().await;
    let extra = [
        "--rate",
        "200",
        "--duration",
        "200ms",
        "--body",
        "{\"a\":1}",
        "--poisson",
    ];
    let Run { code, report, .. } = loadtest(&server.warm("wants-body", &extra)).await;
    assert_eq!(code, 0, "{}", problems(&report));
    assert_eq!(report["settings"]["body_bytes"], 7);
    let Run { code, .. } = loadtest(&server.warm("wants-body", &extra[..4])).await;
    assert_eq!(code, 1, "without a body the server answers 400");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_the_server_closes_politely_cost_no_call() {
    let server = Imitation::start().await;
    let Run { code, report, .. } = loadtest(&server.warm("hangs-up", WARM)).await;
    assert_eq!(code, 0, "{}", problems(&report));
    assert_eq!(run(&report, "warm")["ok"], 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn cold_evicts_before_every_call() {
    let server = Imitation::start().await;
    let extra = ["--cycles", "20", "--duration", "60s", "--pause", "1ms"];
    let Run {
        code,
        stdout,
        report,
        plot,
    } = loadtest(&server.cold("hello", &extra)).await;
    assert_eq!(code, 0, "{stdout}");
    let cold = run(&report, "cold");
    assert_eq!(start(&cold, "cold")["count"], 20);
    assert_eq!(cold["starts"].as_array().unwrap().len(), 1);
    assert_eq!(server.calls("hello"), 20);
    assert_eq!(
        server.evictions(),
        21,
        "one for each call, and one to see that it works at all"
    );
    assert!(
        stdout.contains("closed loop: evict everything, wait 1.000 ms, call once"),
        "{stdout}"
    );
    assert!(plot.unwrap().contains("hello, cold calls: cold (20)"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_start_from_the_same_process_is_a_failure() {
    let server = Imitation::start().await;
    let Run { code, report, .. } = loadtest(&server.cold("liar", &["--cycles", "5"])).await;
    assert_eq!(code, 1);
    assert_eq!(run(&report, "cold")["failures"][0]["kind"], "same instance");
    assert_eq!(run(&report, "cold")["failed"], 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_of_the_admin_api_are_said() {
    let server = Imitation::start().await;
    let Run { code, stdout, .. } = loadtest(&server.cold("unknown", &["--cycles", "1"])).await;
    assert_eq!(code, 1);
    assert!(stdout.contains("refused to evict: 404"), "{stdout}");
    let without = ["cold", "--url", &server.url(), "--function", "hello"].map(str::to_owned);
    let Run { code, stdout, .. } = loadtest(&without).await;
    assert_eq!(code, 1);
    assert!(stdout.contains("--admin-socket"), "{stdout}");
}

#[tokio::test(flavor = "multi_thread")]
async fn error_replies_are_counted_by_status() {
    let server = Imitation::start().await;
    let Run {
        code, stdout, report, ..
    } = loadtest(&server.warm("half-broken", WARM)).await;
    assert_eq!(code, 1);
    let warm = run(&report, "warm");
    assert_eq!(warm["sent"], 100);
    assert_eq!(warm["failures"][0]["kind"], "status 500");
    assert_eq!(warm["failed"], 50);
    assert_eq!(start(&warm, "warm")["count"], 50);
    assert!(stdout.contains("FAILED 50 x status 500"), "{stdout}");
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_connections_are_counted() {
    let Run { code, report, .. } = loadtest(&imitation::warm(&unused_address().await, "hello", WARM)).await;
    assert_eq!(code, 1);
    let warm = run(&report, "warm");
    assert_eq!((&warm["sent"], &warm["ok"]), (&100.into(), &0.into()));
    assert_eq!(warm["failures"][0]["kind"], "refused");
    assert_eq!(warm["failures"][0]["count"], 100);
    assert!(problems(&report).contains("no reply was warm"));
}

#[tokio::test(flavor = "multi_thread")]
async fn reset_connections_are_counted() {
    let Run { code, report, .. } = loadtest(&imitation::warm(&rude_server().await, "hello", WARM)).await;
    assert_eq!(code, 1);
    let warm = run(&report, "warm");
    assert_eq!(warm["failed"], 100);
    assert_eq!(warm["failures"][0]["kind"], "reset", "{warm}");
    assert_eq!(warm["failures"][0]["count"], 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_without_an_answer_time_out() {
    let server = Imitation::start().await;
    let extra = ["--rate", "50", "--duration", "100ms", "--timeout", "20ms"];
    let Run { code, report, .. } = loadtest(&server.warm("silent", &extra)).await;
    assert_eq!(code, 1);
    let warm = run(&report, "warm");
    assert_eq!(warm["failures"][0]["kind"], "timeout");
    assert_eq!(warm["failed"], 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn compare_shows_both_sides_and_judges_a_baseline() {
    let server = Imitation::start().await;
    let dir = tempfile::tempdir().unwrap();
    let floor = floor_program(
        dir.path(),
        r#"echo "{\"floor\":\"F_$1\",\"unit\":\"us\",\"samples\":[100,200,300]}""#,
    );
    let more = [
        "--rate",
        "100",
        "--duration",
        "800ms",
        "--rounds",
        "2",
        "--floor-bin",
        &floor,
    ];
    let Run {
        code,
        stdout,
        report,
        plot,
    } = loadtest(&server.compare("hello", &more)).await;
    assert_eq!(code, 0, "{stdout}");
    let count = |scenario: &str, of: &str| start(&run(&report, scenario), of)["count"].as_u64().unwrap();
    assert!(count("cold", "cold") >= 2);
    assert_eq!(count("warm", "warm"), 40, "two slices of 200 ms");
    assert_eq!(
        start(&run(&report, "warm"), "warm")["round_medians_ms"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let floors = report["floors"].as_array().unwrap();
    let exec = floors.iter().find(|floor| floor["name"] == "F_exec").unwrap();
    assert_eq!(exec["count"], 6);
    assert!(floors.iter().any(|floor| floor["name"] == "F_http_open"));
    let ratios = report["functions"][0]["ratios"].as_array().unwrap();
    let native = ratios.iter().find(|ratio| ratio["over"] == "F_exec + F_http").unwrap();
    assert!(native["value"].as_f64().unwrap() > 0.0);
    let plot = plot.unwrap();
    assert!(plot.contains("cold calls: cold") && plot.contains("warm calls: warm"));

    let baseline = dir.path().join("baseline.json");
    let path = baseline.to_str().unwrap();
    let against = [&more[..], &["--baseline", path]].concat();
    let write = |edit: &dyn Fn(&mut Value)| {
        let mut changed = report.clone();
        edit(&mut changed);
        std::fs::write(&baseline, changed.to_string()).unwrap();
    };
    // No honest time is beyond these, so the verdict does not hang on the speed of the machine.
    for (before, code, verdict) in [(-1e9, 1, "REGRESSION"), (1e9, 0, "faster")] {
        write(&|report| {
            report["functions"][0]["warm"]["starts"][0]["p50_ms"] = before.into();
            report["functions"][0]["cold"]["starts"][0]["p50_ms"] = 1e9.into();
        });
        let run = loadtest(&server.compare("hello", &against)).await;
        assert_eq!(run.code, code, "{}", run.stdout);
        assert!(run.stdout.contains(verdict), "{}", run.stdout);
    }
    write(&|report| report["settings"]["rate_per_s"] = 1.0.into());
    let run = loadtest(&server.compare("hello", &against)).await;
    assert_eq!(run.code, 1);
    assert!(
        run.stdout.contains("made with another load (rate: 1, now 100)"),
        "{}",
        run.stdout
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn compare_fails_when_one_side_is_missing() {
    let server = Imitation::start().await;
    let more = ["--duration", "400ms", "--rounds", "1", "--floor-bin", "/nowhere/floor"];
    let Run {
        code, stdout, report, ..
    } = loadtest(&server.compare("always-warm", &more)).await;
    assert_eq!(code, 1);
    assert!(problems(&report).contains("no reply was a cold start"), "{report}");
    assert!(
        stdout.contains("not measured: F_exec, F_ns6, F_ns7, F_box, F_rtt: /nowhere/floor does not exist"),
        "{stdout}"
    );
    let missing: Vec<&str> = report["missing_floors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|floor| floor["name"].as_str().unwrap())
        .collect();
    assert!(
        ["F_exec", "F_ns6", "F_ns7", "F_box", "F_rtt"]
            .iter()
            .all(|name| missing.contains(name)),
        "{missing:?}"
    );
    let Run { code, report, .. } = loadtest(&server.compare("always-cold", &more)).await;
    assert_eq!(code, 1);
    assert!(problems(&report).contains("no reply was warm"), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn floors_are_measured_or_said_to_be_missing() {
    let dir = tempfile::tempdir().unwrap();
    let floor = floor_program(
        dir.path(),
        r#"if [ $1 = box ]; then echo 'no namespaces here' >&2; exit 1; fi
           echo "{\"floor\":\"F_$1\",\"unit\":\"us\",\"samples\":[100,200,300]}""#,
    );
    let args = ["floor", "--rounds", "2", "--floor-bin", &floor].map(str::to_owned);
    let Run {
        code, stdout, report, ..
    } = loadtest(&args).await;
    assert_eq!(code, 1, "a floor program that fails is a failure: {stdout}");
    assert!(problems(&report).contains("no namespaces here"));
    let floors = report["floors"].as_array().unwrap();
    let count = |name: &str| {
        floors
            .iter()
            .find(|floor| floor["name"] == name)
            .map(|floor| floor["count"].clone())
    };
    assert_eq!(count("F_exec"), Some(6.into()));
    assert_eq!(count("F_http"), Some(200.into()));
    assert_eq!(count("F_box"), None);
    assert!(
        !stdout.contains("F_http_open"),
        "there is no schedule to copy: {stdout}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_command_lines_end_with_2() {
    for bad in [
        &["warm", "--url", "http://127.0.0.1:1"][..],
        &["warm", "--url", "ftp://127.0.0.1:1", "--function", "a"],
        &["warm", "--url", "http://127.0.0.1:1", "--function", "A/B"],
        &["warm", "--url", "http://127.0.0.1:1", "--function", "a", "--rate", "0"],
        &[
            "compare",
            "--url",
            "http://127.0.0.1:1",
            "--function",
            "a",
            "--rounds",
            "0",
        ],
        &["hot"],
    ] {
        let args: Vec<String> = bad.iter().map(|arg| (*arg).to_owned()).collect();
        assert_eq!(loadtest(&args).await.code, 2, "{bad:?}");
    }
}
