//! Every program the load test starts, in one place: the floor binary, the interpreters, the peers, servers to measure and
//! its own echo server.
//!
//! They get no environment but `PATH`, unless they are said to inherit, no standard input unless said, and are killed when
//! dropped.
#![expect(
    clippy::disallowed_methods,
    reason = "this is the one file that starts programs for the load test"
)]

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::echo::GREETING;

const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// The variables of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Env {
    /// Only `PATH`.
    Bare,
    /// Those of the load test.
    Inherited,
}

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
pub(crate) fn time_to_exit<A: AsRef<OsStr>>(program: &Path, args: &[A], env: Env) -> Result<Duration, ChildError> {
    let mut command = std::process::Command::new(program);
    command.args(args);
    if env == Env::Bare {
        command.env_clear().env("PATH", PATH);
    }
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
    output_with(program, args, Env::Bare, limit).await
}

/// The same, with a choice of the environment.
pub(crate) async fn output_with<A: AsRef<OsStr>>(
    program: &Path,
    args: &[A],
    env: Env,
    limit: Duration,
) -> Result<String, ChildError> {
    let failed = |source| ChildError::Start {
        program: program.to_owned(),
        source,
    };
    let mut command = tokio::process::Command::new(program);
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    if env == Env::Bare {
        command.env_clear().env("PATH", PATH);
    }
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
    Err(ChildError::Exit {
        program: program.to_owned(),
        status: output.status,
        stderr: last_line(&output.stderr),
    })
}

/// A server that runs until it is stopped; its output goes to a file. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Service {
    program: PathBuf,
    log: PathBuf,
    child: tokio::process::Child,
}

impl Service {
    /// Starts it. `log` is made or emptied.
    pub(crate) fn start<A: AsRef<OsStr>>(program: &Path, args: &[A], env: Env, log: &Path) -> Result<Self, ChildError> {
        let failed = |source| ChildError::Start {
            program: program.to_owned(),
            source,
        };
        let output = std::fs::File::create(log).map_err(failed)?;
        let mut command = tokio::process::Command::new(program);
        command
            .args(args)
            .stdin(Stdio::null())
            .stdout(output.try_clone().map_err(failed)?)
            .stderr(output)
            .kill_on_drop(true);
        if env == Env::Bare {
            command.env_clear().env("PATH", PATH);
        }
        Ok(Self {
            program: program.to_owned(),
            log: log.to_owned(),
            child: command.spawn().map_err(failed)?,
        })
    }

    /// How it ended, with the end of what it said, if it did.
    pub(crate) fn ended(&mut self) -> Option<ChildError> {
        let status = self.child.try_wait().ok().flatten()?;
        Some(ChildError::Exit {
            program: self.program.clone(),
            status,
            stderr: last_line(&std::fs::read(&self.log).unwrap_or_default()),
        })
    }

    /// Asks it to end, and kills it when it has not ended within `limit`.
    pub(crate) async fn stop(mut self, limit: Duration) {
        let pid = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(pid) = pid {
            // It may have ended by itself; the wait below sees that.
            let _ended_already = kill_process(pid, Signal::TERM);
        }
        if tokio::time::timeout(limit, self.child.wait()).await.is_err() {
            drop(self.child.kill().await);
        }
    }
}

fn last_line(output: &[u8]) -> String {
    String::from_utf8_lossy(output)
        .lines()
        .rfind(|line| !line.trim().is_empty())
        .unwrap_or("it said nothing")
        .to_owned()
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
