//! Starts the programs of these tests.
#![expect(
    clippy::disallowed_methods,
    reason = "this is the one file that starts programs for these tests"
)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;

/// What one run of `loadtest` left.
pub(crate) struct Run {
    pub(crate) code: i32,
    /// Both outputs, one after the other.
    pub(crate) stdout: String,
    /// The JSON file; null when none was written.
    pub(crate) report: Value,
    pub(crate) plot: Option<String>,
}

/// Runs the binary to its end, with a JSON file for every command and a plot for those that draw one.
pub(crate) async fn loadtest(args: &[String]) -> Run {
    let dir = tempfile::tempdir().unwrap();
    let (json, plot) = (dir.path().join("report.json"), dir.path().join("plot.svg"));
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command
        .args(args)
        .arg("--json")
        .arg(&json)
        .env_remove("FN_ADMIN_SOCKET")
        .kill_on_drop(true);
    if matches!(args[0].as_str(), "cold" | "compare") {
        command.arg("--plot").arg(&plot);
    }
    let output = command.output().await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    Run {
        code: output.status.code().unwrap(),
        stdout: text(&output.stdout) + &text(&output.stderr),
        report: std::fs::read(&json).map_or(Value::Null, |json| serde_json::from_slice(&json).unwrap()),
        plot: std::fs::read_to_string(&plot).ok(),
    }
}

/// A real program that stands where the floor binary stands.
pub(crate) fn floor_program(dir: &Path, text: &str) -> String {
    let path = dir.join("floor");
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    // A child that another test started meanwhile may hold the file open for writing until it execs.
    let busy = |error: std::io::Error| error.kind() == std::io::ErrorKind::ExecutableFileBusy;
    while std::process::Command::new(&path).output().is_err_and(busy) {}
    path.to_str().unwrap().to_owned()
}
