//! Floors that another program measures: it times its own loop and prints one line of JSON,
//! `{"floor":"F_exec","unit":"us","samples":[..],"note":".."?}`. Anything else it prints is an error.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::Floor;
use crate::child::{self, ChildError};

/// The samples of one round.
#[derive(Debug, PartialEq)]
pub(super) struct Sampled {
    pub(super) samples: Vec<Duration>,
    pub(super) note: Option<String>,
}

impl From<Vec<Duration>> for Sampled {
    fn from(samples: Vec<Duration>) -> Self {
        Self { samples, note: None }
    }
}

/// Why a floor has no samples.
#[derive(Debug, thiserror::Error)]
pub(super) enum NativeError {
    /// The floor binary is not there.
    #[error("{} does not exist; `cargo build -p sandbox --bin floor` makes it beside this program, --floor-bin names another", path.display())]
    NoFloorBinary {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The program is not there, or failed.
    #[error(transparent)]
    Child(#[from] ChildError),
    /// It printed something else.
    #[error("{} printed something else than one line of samples: {why}", program.display())]
    Line {
        /// Which program.
        program: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl NativeError {
    /// Whether the program isn't installed, as opposed to installed and broken.
    pub(super) fn is_absent(&self) -> bool {
        match self {
            Self::NoFloorBinary { .. } => true,
            Self::Child(error) => error.is_absent(),
            Self::Line { .. } => false,
        }
    }

    /// The reason as a report gives it.
    pub(super) fn advice(&self) -> String {
        match self {
            Self::Child(ChildError::Start { program, .. }) if self.is_absent() => {
                format!("{} is not installed", program.display())
            }
            other => other.to_string(),
        }
    }
}

/// The program named `floor` in the directory of this one.
pub(super) fn beside_this_program() -> PathBuf {
    let this = std::env::current_exe().unwrap_or_default();
    this.parent().unwrap_or(Path::new(".")).join("floor")
}

/// Lets the floor binary measure `floor`, which it knows as `word`.
pub(super) async fn run(
    program: &Path,
    word: &str,
    floor: Floor,
    count: u32,
    pause: Duration,
    limit: Duration,
) -> Result<Sampled, NativeError> {
    let (count, pause) = (count.to_string(), pause.as_micros().to_string());
    let output = child::output_of(program, &[word, "--rounds", &count, "--pause-us", &pause], limit)
        .await
        .map_err(|error| {
            if error.is_absent() {
                NativeError::NoFloorBinary {
                    path: program.to_owned(),
                }
            } else {
                error.into()
            }
        })?;
    parse(program, floor, &output)
}

/// How far a fork of Python is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// To the child's first byte.
    First,
    /// Until the child has answered a call.
    Answer,
}

/// Lets Python measure its own fork, with `modules` imported before.
pub(super) async fn fork(
    python: &Path,
    floor: Floor,
    (until, modules): (Until, &[&str]),
    count: u32,
    pause: Duration,
    limit: Duration,
) -> Result<Sampled, NativeError> {
    let (count, pause) = (count.to_string(), pause.as_micros().to_string());
    let until = match until {
        Until::First => "first",
        Until::Answer => "call",
    };
    let mut args = vec!["-c", include_str!("fork.py"), floor.name(), &count, &pause, until];
    args.extend(modules);
    let output = child::output_of(python, &args, limit).await?;
    parse(python, floor, &output)
}

#[derive(Deserialize)]
struct Line {
    floor: String,
    unit: String,
    samples: Vec<f64>,
    note: Option<String>,
}

fn parse(program: &Path, floor: Floor, output: &str) -> Result<Sampled, NativeError> {
    let wrong = |why: String| NativeError::Line {
        program: program.to_owned(),
        why,
    };
    let line: Line = serde_json::from_str(output).map_err(|error| wrong(error.to_string()))?;
    if line.floor != floor.name() {
        return Err(wrong(format!("they are of {:?}", line.floor)));
    }
    if line.unit != "us" {
        return Err(wrong(format!("the unit is {:?}, not us", line.unit)));
    }
    if line.samples.is_empty() {
        return Err(wrong("there are none".to_owned()));
    }
    let good = |micros: &f64| (0.0..3.6e9).contains(micros) && *micros > 0.0;
    if let Some(bad) = line.samples.iter().find(|micros| !good(micros)) {
        return Err(wrong(format!("{bad} us is no time")));
    }
    let samples = line
        .samples
        .into_iter()
        .map(|micros| Duration::from_secs_f64(micros / 1e6))
        .collect();
    Ok(Sampled {
        samples,
        note: line.note,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    /// A real program that stands in for the floor binary.
    async fn script(dir: &Path, text: &str) -> PathBuf {
        let path = dir.join("floor");
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        // A child that another test started meanwhile may hold the file open for writing until it execs.
        let busy = |error: &ChildError| matches!(error, ChildError::Start { source, .. } if source.kind() == std::io::ErrorKind::ExecutableFileBusy);
        while child::output_of::<&str>(&path, &[], LIMIT)
            .await
            .is_err_and(|error| busy(&error))
        {}
        path
    }

    #[tokio::test]
    async fn reads_what_a_real_program_prints() {
        let dir = tempfile::tempdir().unwrap();
        let text =
            r#"[ "$1 $2 $3" = "exec --rounds 3" ] && echo '{"floor":"F_exec","unit":"us","samples":[450.5,460,470]}'"#;
        let program = script(dir.path(), text).await;
        let sampled = run(&program, "exec", Floor::Exec, 3, Duration::ZERO, LIMIT)
            .await
            .unwrap();
        assert_eq!(sampled.samples, [450_500, 460_000, 470_000].map(Duration::from_nanos));
        assert_eq!(sampled.note, None);
    }

    #[tokio::test]
    async fn a_failing_program_is_broken_and_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let program = script(dir.path(), "echo 'user namespaces are off' >&2; exit 3").await;
        let error = run(&program, "ns6", Floor::Ns6, 1, Duration::ZERO, LIMIT)
            .await
            .unwrap_err();
        assert!(!error.is_absent());
        assert!(error.advice().contains("user namespaces are off"), "{error}");
    }

    #[tokio::test]
    async fn a_missing_program_is_absent_and_says_how_to_get_it() {
        let dir = tempfile::tempdir().unwrap();
        let error = run(
            &dir.path().join("floor"),
            "box",
            Floor::Sandbox,
            1,
            Duration::ZERO,
            LIMIT,
        )
        .await
        .unwrap_err();
        assert!(error.is_absent());
        assert!(error.advice().contains("cargo build -p sandbox --bin floor"));
        let python = dir.path().join("python3");
        let error = fork(&python, Floor::Fork, (Until::First, &[]), 1, Duration::ZERO, LIMIT)
            .await
            .unwrap_err();
        assert!(error.is_absent());
        assert!(
            error.advice().ends_with("python3 is not installed"),
            "{}",
            error.advice()
        );
    }

    #[tokio::test]
    async fn python_measures_itself_where_it_is_installed() {
        for (floor, until) in [(Floor::ForkImport, Until::First), (Floor::ForkCall, Until::Answer)] {
            match fork(
                Path::new("/usr/bin/python3"),
                floor,
                (until, &["json"]),
                3,
                Duration::ZERO,
                LIMIT,
            )
            .await
            {
                Ok(sampled) => assert_eq!(sampled.samples.len(), 3),
                Err(error) => assert!(error.is_absent(), "{error}"),
            }
        }
    }

    #[test]
    fn numbers_are_never_guessed() {
        for bad in [
            "",
            "450",
            r#"{"floor":"F_box","unit":"us","samples":[1]}"#,
            r#"{"floor":"F_exec","unit":"ms","samples":[1]}"#,
            r#"{"floor":"F_exec","unit":"us","samples":[]}"#,
            r#"{"floor":"F_exec","unit":"us","samples":[1,-1]}"#,
            r#"{"floor":"F_exec","unit":"us","samples":[0]}"#,
            "{\"floor\":\"F_exec\",\"unit\":\"us\",\"samples\":[1]}\n{\"floor\":\"F_exec\"}",
        ] {
            assert!(parse(Path::new("floor"), Floor::Exec, bad).is_err(), "{bad}");
        }
    }
}
