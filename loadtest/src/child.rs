//! Every program the load test starts, in one place: the floor binary, the interpreters and its own echo server.
//!
//! All of them get an empty environment but for `PATH`, no standard input unless said, and are killed when dropped.
#![expect(
    clippy::disallowed_methods,
    reason = "this is the one file that starts programs for the load test"
)]

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::echo::GREETING;

const PATH: &str = "/usr/bin:/bin";

/// Why a program could not be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChildError {
    /// It did not start.
    #[error("{} does not start: {source}", program.display())]
    Start {
        /// Which.
        program: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// It ended badly.
    #[error("{} ended with {status}: {stderr}", program.display())]
    Exit {
        /// Which.
        program: PathBuf,
        /// How.
        status: ExitStatus,
        /// The end of what it said.
        stderr: String,
    },
    /// It took too long and was killed.
    #[error("{} did not end within {limit:?}", program.display())]
    Timeout {
        /// Which.
        program: PathBuf,
        /// The limit.
        limit: Duration,
    },
    /// The echo server did not say where it listens.
    #[error("the echo server said {said:?} instead of its address")]
    Greeting {
        /// Its first line.
        said: String,
    },
}

impl ChildError {
    /// Whether the program isn't installed, as opposed to installed and broken.
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::Start { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// The time from just before the start of `program` to its end has been seen.
///
/// Blocks the thread, on purpose: nothing else of the load test may run in between.
pub(crate) fn time_to_exit(program: &Path, args: &[&str]) -> Result<Duration, ChildError> {
    let mut command = std::process::Command::new(program);
    command.args(args).env_clear().env("PATH", PATH);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let started = Instant::now();
    let status = command.status().map_err(|source| ChildError::Start {
        program: program.to_owned(),
        source,
    })?;
    let took = started.elapsed();
    if status.success() {
        Ok(took)
    } else {
        Err(ChildError::Exit {
            program: program.to_owned(),
            status,
            stderr: "nothing was kept of its output".into(),
        })
    }
}

/// What `program` writes to standard output until it ends well, within `limit`.
pub(crate) async fn output_of<A: AsRef<OsStr>>(
    program: &Path,
    args: &[A],
    limit: Duration,
) -> Result<String, ChildError> {
    let failed = |source| ChildError::Start {
        program: program.to_owned(),
        source,
    };
    let mut command = tokio::process::Command::new(program);
    command
        .args(args)
        .env_clear()
        .env("PATH", PATH)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(limit, command.output())
        .await
        .map_err(|_elapsed| ChildError::Timeout {
            program: program.to_owned(),
            limit,
        })?
        .map_err(failed)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let last = stderr
        .lines()
        .rfind(|line| !line.trim().is_empty())
        .unwrap_or("it said nothing")
        .to_owned();
    Err(ChildError::Exit {
        program: program.to_owned(),
        status: output.status,
        stderr: last,
    })
}

/// A running echo server; dropping it ends it.
#[derive(Debug)]
pub(crate) struct EchoServer {
    url: String,
    _child: tokio::process::Child,
}

impl EchoServer {
    /// Starts this same program as an echo server and waits for its address.
    pub(crate) async fn start() -> Result<Self, ChildError> {
        let program = std::env::current_exe().map_err(|source| ChildError::Start {
            program: PathBuf::from("loadtest"),
            source,
        })?;
        let failed = |source| ChildError::Start {
            program: program.clone(),
            source,
        };
        let mut command = tokio::process::Command::new(&program);
        command
            .arg("echo")
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(failed)?;
        let stdout = child.stdout.take().expect("the output is a pipe");
        let mut said = String::new();
        BufReader::new(stdout).read_line(&mut said).await.map_err(failed)?;
        match said.trim_end().strip_prefix(GREETING) {
            Some(address) => Ok(Self {
                url: format!("http://{address}"),
                _child: child,
            }),
            None => Err(ChildError::Greeting { said }),
        }
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}
