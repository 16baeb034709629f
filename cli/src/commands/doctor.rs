//! `fn doctor`: what this host can enforce, and the exact fix for what it can't.
//!
//! The server's own report counts when a server is running, because it was made with the server's user and cgroup.
//! Without one, this process looks for itself, in the scope that a server of the same user would ask systemd for. The exit code is 1 when something is not enforced at all.

use functions::runtimes::HostRuntimes;
use nix::unistd::{getegid, geteuid};
use sandbox::detect::Request;
use sandbox::report::{Finding, HostReport, State};
use serde_json::{Value, json};

use crate::client::{AdminClient, ClientError};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render::{Screen, table};

fn word(state: State) -> &'static str {
    match state {
        State::Ok => "ok",
        State::Weaker => "weaker",
        State::Missing => "missing",
    }
}

/// Prints the findings.
pub(crate) async fn run(client: &AdminClient, screen: Screen) -> Result<Exit, Failure> {
    let info = match client.info().await {
        Ok(info) => Some(info),
        Err(ClientError::NotRunning { .. }) => None,
        Err(other) => return Err(other.into()),
    };
    let server = info.as_ref().map(|info| findings(&info["report"])).transpose()?;
    let local = probe().await;
    let counted = match (&server, &local) {
        (Some(findings), _) | (None, Some(findings)) => findings,
        (None, None) => {
            return Err(ClientError::NotRunning {
                socket: client.socket().to_owned(),
            }
            .into());
        }
    };
    let missing = missing(counted);
    let document = json!({ "server": info, "findings": counted, "local": local, "missing": missing });
    screen.answer(&document, || {
        let from = match (&info, client.socket().display()) {
            (Some(_), socket) => format!("As the server at {socket} found it:\n\n"),
            (None, socket) => format!("No server is running at {socket}; as this command found it:\n\n"),
        };
        from + &text(counted)
    })?;
    Ok(if missing.is_empty() { Exit::Ok } else { Exit::Failed })
}

/// Looks at this host without a server, as the user who asks, and makes one sandbox. `None` when /proc can't be read.
async fn probe() -> Option<Vec<Finding>> {
    let name = format!("fn-doctor-{}", std::process::id());
    let request = Request {
        root: None,
        name: &name,
        // For root the answer is what a server that root starts would find.
        owner: geteuid().is_root().then(|| (geteuid(), getegid())),
    };
    let detection = sandbox::detect::look(&request).ok()?;
    let subordinate = sandbox::report::subordinate_ids();
    let mut report = sandbox::report::host(&detection, subordinate);
    warm_pool::host::try_out(subordinate, &mut report).await;
    interpreters(&mut report);
    Some(report.findings)
}

/// Python and Node are not needed by everybody, but whoever needs them wants to know.
fn interpreters(report: &mut HostReport) {
    let runtimes = HostRuntimes::find();
    for (name, found) in [("python", &runtimes.python), ("node", &runtimes.node)] {
        let meaning = "functions of this runtime can be deployed";
        match found {
            Ok(interpreter) => {
                let found = format!("{} {}", interpreter.path.display(), interpreter.version);
                report.push(name, State::Ok, found, meaning, None);
            }
            Err(missing) => {
                report.push(
                    name,
                    State::Weaker,
                    missing.to_string(),
                    meaning,
                    Some(missing.hint().into()),
                );
            }
        }
    }
}

/// Reads a report: an object with findings.
fn findings(report: &Value) -> Result<Vec<Finding>, ClientError> {
    serde_json::from_value(report["findings"].clone()).map_err(|cause| ClientError::NotJson { cause })
}

/// The names of what is not enforced.
fn missing(findings: &[Finding]) -> Vec<&str> {
    findings
        .iter()
        .filter(|finding| finding.state == State::Missing)
        .map(|finding| finding.name.as_str())
        .collect()
}

/// The table, the fixes and one sentence of conclusion. The fixes stand on lines of their own, because a command that a
/// table has broken into pieces can't be copied.
fn text(findings: &[Finding]) -> String {
    let rows = findings.iter().map(|finding| {
        [
            finding.name.clone(),
            word(finding.state).into(),
            finding.meaning.clone(),
            finding.found.clone(),
        ]
    });
    let mut text = table::columns(["CAPABILITY", "STATE", "WHAT IT MEANS", "FOUND"], rows);
    for finding in findings.iter().filter(|finding| finding.state != State::Ok) {
        let fix = finding.fix.as_deref().unwrap_or("nothing can be done about it here");
        text.push_str(&format!(
            "\n{} is {}. Fix:\n    {fix}\n",
            finding.name,
            word(finding.state)
        ));
    }
    let weak = findings.iter().filter(|finding| finding.state == State::Weaker).count();
    text.push_str(&match (missing(findings), weak) {
        (missing, _) if !missing.is_empty() => {
            format!(
                "\nNot enforced here: {}. With --strict the server does not start.\n",
                missing.join(", ")
            )
        }
        (_, 0) => "\nEverything is enforced.\n".into(),
        (_, 1) => "\nEverything is enforced, one thing by weaker means.\n".into(),
        (_, n) => format!("\nEverything is enforced, {n} things by weaker means.\n"),
    });
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIX: &str = "systemd-run --user --scope -p Delegate=yes fn serve";

    fn finding(state: State) -> Finding {
        Finding {
            name: "memory limit".into(),
            state,
            found: "V2 at /sys/fs/cgroup".into(),
            meaning: "a function can't take the host's memory".into(),
            fix: (state != State::Ok).then(|| FIX.into()),
        }
    }

    #[test]
    fn only_what_is_missing_fails() {
        assert_eq!(
            missing(&[finding(State::Ok), finding(State::Weaker)]),
            Vec::<&str>::new()
        );
        assert_eq!(missing(&[finding(State::Missing)]), ["memory limit"]);
    }

    #[test]
    fn a_fix_stands_on_a_line_of_its_own() {
        let broken = text(&[finding(State::Missing)]);
        assert!(
            broken.contains(&format!("\nmemory limit is missing. Fix:\n    {FIX}\n")),
            "{broken}"
        );
        assert!(broken.contains("\nNot enforced here: memory limit."), "{broken}");
        let whole = text(&[finding(State::Ok)]);
        assert!(
            !whole.contains("Fix") && whole.ends_with("\nEverything is enforced.\n"),
            "{whole}"
        );
    }

    #[test]
    fn a_report_without_findings_is_no_report() {
        assert_eq!(
            findings(&json!({ "findings": [finding(State::Weaker)] }))
                .unwrap()
                .len(),
            1
        );
        assert!(findings(&json!(null)).is_err());
    }
}
