use std::fs;

use jiff::Timestamp;

use super::*;

fn line(function: &str, request: Option<&str>, text: &str) -> Line {
    Line {
        time: Timestamp::UNIX_EPOCH,
        function: function.parse().unwrap(),
        revision: 1,
        instance: "i".to_owned(),
        request_id: request.map(str::to_owned),
        text: text.to_owned(),
    }
}

fn query(function: &str, request: Option<&str>, tail: usize) -> Query {
    Query { function: function.parse().unwrap(), request: request.map(str::to_owned), tail }
}

fn texts(lines: &[String]) -> Vec<String> {
    let text = |line: &String| serde_json::from_str::<serde_json::Value>(line).unwrap()["text"].as_str().unwrap().to_owned();
    lines.iter().map(text).collect()
}

#[tokio::test]
async fn a_question_sees_every_line_before_it_and_follows_every_line_after() {
    let dir = tempfile::tempdir().unwrap();
    let logs = Logs::open(dir.path()).unwrap();
    for i in 0..5 {
        logs.record(line("a", Some(if i % 2 == 0 { "even" } else { "odd" }), &i.to_string()));
    }
    logs.record(line("b", None, "other"));
    let mut answer = logs.ask(query("a", None, 3)).await.unwrap();
    assert_eq!(texts(&answer.lines), ["2", "3", "4"]);
    logs.record(line("a", None, "5"));
    assert_eq!(answer.follow.recv().await.unwrap().text, "5");
    assert_eq!(texts(&logs.ask(query("a", Some("odd"), 9)).await.unwrap().lines), ["1", "3"]);
    assert!(logs.ask(query("a", Some("odd"), 0)).await.unwrap().lines.is_empty());
    assert!(logs.ask(query("nobody", None, 9)).await.unwrap().lines.is_empty());
    assert_eq!(logs.dropped(), 0);
}

#[tokio::test]
async fn text_cannot_forge_a_line_or_a_request() {
    let dir = tempfile::tempdir().unwrap();
    let logs = Logs::open(dir.path()).unwrap();
    logs.record(line("a", None, "x\n{\"request_id\":\"victim\",\"text\":\"forged\"}"));
    assert!(logs.ask(query("a", Some("victim"), 9)).await.unwrap().lines.is_empty());
    assert_eq!(logs.ask(query("a", None, 9)).await.unwrap().lines.len(), 1);
}

#[tokio::test]
async fn files_rotate_and_stay_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let logs = Logs::open(dir.path()).unwrap();
    let text = "x".repeat(200 * 1024);
    for round in 0..100 {
        // The question waits for the writer, so that nothing is dropped.
        logs.record(line("a", None, &format!("{round} {text}")));
        if round % 10 == 0 {
            logs.ask(query("a", None, 0)).await.unwrap();
        }
    }
    let answer = logs.ask(query("a", None, 1)).await.unwrap();
    assert!(texts(&answer.lines)[0].starts_with("99 "));
    let sizes: Vec<u64> = fs::read_dir(dir.path().join("a")).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).collect();
    assert_eq!(sizes.len(), 2);
    assert!(sizes.iter().all(|size| *size < 4 * 1024 * 1024 + 512 * 1024), "{sizes:?}");
    logs.remove("a".parse().unwrap()).await.unwrap();
    assert!(!dir.path().join("a").exists());
}

#[tokio::test]
async fn a_line_cut_by_a_crash_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("a")).unwrap();
    fs::write(dir.path().join("a/current.jsonl"), "{\"text\":\"whole\"}\n{\"text\":\"ha").unwrap();
    let logs = Logs::open(dir.path()).unwrap();
    logs.record(line("a", None, "new"));
    assert_eq!(texts(&logs.ask(query("a", None, 9)).await.unwrap().lines), ["whole", "new"]);
}

#[tokio::test]
async fn more_functions_than_open_files_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let logs = Logs::open(dir.path()).unwrap();
    for round in ["1", "2"] {
        for i in 0..OPEN_FILES + 10 {
            logs.record(line(&format!("f{i}"), None, round));
        }
    }
    for i in 0..OPEN_FILES + 10 {
        assert_eq!(texts(&logs.ask(query(&format!("f{i}"), None, 9)).await.unwrap().lines), ["1", "2"]);
    }
}

#[test]
fn a_flood_is_dropped_and_counted_without_waiting() {
    let (sender, _receiver) = sync_channel(8);
    let logs = Logs { sender, queued: Arc::default(), dropped: Arc::default() };
    for _ in 0..10 {
        logs.record(line("a", None, "x"));
    }
    assert_eq!(logs.dropped(), 2);
    logs.record(line("a", None, &"x".repeat(QUEUE_BYTES)));
    assert_eq!((logs.dropped(), logs.queued.load(Ordering::Relaxed)), (3, 8));
}

#[test]
fn a_very_long_line_is_cut() {
    let json = line("a", None, &"ä".repeat(300 * 1024)).json();
    assert!(json.len() < 300 * 1024 && json.contains("bytes cut off"));
}
