//! What functions print, what the handler check says, and what is counted.

use warm_pool::StartFailure;

use crate::rig::{HANDLER, Rig, exchange, within};

#[tokio::test]
async fn lines_belong_to_the_call_that_printed_them() {
    let rig = Rig::new("");
    within(async {
        let mut lease = rig.acquire().await.unwrap();
        exchange(&mut lease, "one", r#"{"print": "first\nlines"}"#)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(rig.log.of(Some("one")), ["first", "lines"]);
        drop(lease);
        let mut lease = rig.acquire().await.unwrap();
        exchange(&mut lease, "two", r#"{"print": "second"}"#)
            .await
            .unwrap()
            .unwrap();
    })
    .await;
    assert_eq!(rig.log.of(Some("one")), ["first", "lines"]);
    assert_eq!(rig.log.of(Some("two")), ["second"]);
    assert_eq!(rig.log.of(None), ["loading"]);
}

#[tokio::test]
async fn a_flood_neither_blocks_the_function_nor_fills_the_log() {
    let rig = Rig::of(
        "",
        "def handler(event, context):\n    for _ in range(8192):\n        print('x' * 1023)\n",
    );
    within(rig.call("{}")).await;
    let lines = rig.log.of(Some("r"));
    assert_eq!(lines.last().map(String::as_str), Some("[truncated]"));
    assert_eq!(lines.len(), 1025);
    assert_eq!(
        rig.metric("fn_log_dropped_bytes_total", &[("function", "hello")]),
        Some((7 << 20) as f64)
    );
}

#[tokio::test]
async fn the_check_loads_the_handler_and_leaves_nothing() {
    let rig = Rig::new("");
    let report = within(rig.pool.check(&rig.revision)).await.unwrap();
    assert!(report.runtime.starts_with("python3"), "{report:?}");
    assert_eq!(report.output, ["loading"]);
    assert_eq!(*rig.bare.living.borrow(), 0);
    assert!(rig.pool.describe(rig.name()).is_none(), "a check is no instance");
}

#[tokio::test]
async fn the_check_shows_the_traceback_and_what_was_printed() {
    let rig = Rig::of("", &format!("{HANDLER}\ndef deeper():\n    return 1 / 0\ndeeper()\n"));
    let error = within(rig.pool.check(&rig.revision)).await.unwrap_err();
    let exception = error.exception().expect("the handler raised it");
    assert_eq!(exception.error_type, "ZeroDivisionError");
    assert!(
        exception.stack_trace.iter().any(|frame| frame.contains("deeper")),
        "{exception:?}"
    );
    assert!(error.output.contains(&"loading".to_owned()), "{:?}", error.output);
    assert_eq!(*rig.bare.living.borrow(), 0);

    let rig = Rig::of("", "def other(): pass\n");
    let error = within(rig.pool.check(&rig.revision)).await.unwrap_err();
    assert!(matches!(error.failure, StartFailure::Init(_)), "{error:?}");
}

#[tokio::test]
async fn what_happens_is_counted() {
    let rig = Rig::new("");
    within(async {
        rig.call("{}").await;
        rig.call("{}").await;
    })
    .await;
    let hello = ("function", "hello");
    assert_eq!(
        rig.metric("fn_cold_starts_total", &[hello, ("reason", "first")]),
        Some(1.0)
    );
    assert_eq!(rig.metric("fn_instances", &[hello, ("state", "idle")]), Some(1.0));
    assert_eq!(rig.metric("fn_instances", &[hello, ("state", "busy")]), Some(0.0));
    assert_eq!(rig.metric("fn_queue_depth", &[hello]), Some(0.0));
    assert_eq!(rig.metric("fn_memory_bytes", &[hello]), Some(1000.0));
    assert_eq!(rig.metric("fn_pids", &[hello]), Some(1.0));
    assert_eq!(
        rig.metric("fn_cpu_seconds_total", &[hello]),
        None,
        "this launcher counts none"
    );
    assert_eq!(rig.metric("fn_oom_kills_total", &[hello]), Some(0.0));
    assert_eq!(
        rig.metric("fn_phase_duration_seconds", &[hello, ("phase", "queue")]),
        Some(2.0)
    );
    for phase in ["sandbox", "init", "leaf", "clone", "rootfs", "confine", "exec"] {
        assert_eq!(
            rig.metric("fn_phase_duration_seconds", &[hello, ("phase", phase)]),
            Some(1.0),
            "{phase}"
        );
    }
    let view = rig.pool.describe(rig.name()).unwrap();
    let shown = serde_json::to_value(&view).unwrap();
    assert_eq!(shown["idle"], 1);
    assert_eq!(shown["instances"][0]["state"], "idle");
    assert_eq!(shown["instances"][0]["reason"], "first");
    assert_eq!(shown["instances"][0]["memory_bytes"], 1000);
}
