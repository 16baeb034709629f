//! The metrics as Prometheus' own checker reads them.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::platform::Platform;

#[tokio::test]
async fn promtool_has_nothing_to_say() {
    let platform = Platform::start().await;
    platform.deploy("hello", json!({})).await;
    for path in ["/hello", "/headers", "/error", "/hello"] {
        platform.get(&format!("/function/hello{path}")).await;
    }
    let text = platform.metrics().await;
    match check(&text) {
        Some(said) => assert_eq!(said, "", "{text}"),
        None => eprintln!("skipped promtool_has_nothing_to_say: promtool is not installed"),
    }
}

/// What promtool says about the text; `None` when it is not installed.
#[expect(
    clippy::disallowed_methods,
    reason = "starts promtool, which gets nothing but the text to check"
)]
fn check(text: &str) -> Option<String> {
    let mut child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    Some(String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}
