//! Starts every program that the tests run, and says what it said.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::poll;

/// How long a program may take to end after SIGTERM before a drop kills it.
const TO_END: Duration = Duration::from_secs(20);

/// What a finished program said.
#[derive(Debug)]
pub struct Said {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Said {
    /// Both outputs, for checks that don't care which one.
    pub fn all(&self) -> String {
        format!("{}\n{}", self.stdout, self.stderr)
    }

    /// Panics unless the program ended with 0.
    #[track_caller]
    pub fn good(self) -> Self {
        assert_eq!(self.code, Some(0), "expected an exit code of 0:\n{}", self.all());
        self
    }

    /// Panics unless the program failed by its own decision and said `expected` somewhere, in upper or lower case.
    #[track_caller]
    pub fn refused(self, expected: &str) -> Self {
        assert!(
            self.code.is_some_and(|code| code != 0),
            "expected a refusal, seen {:?}:\n{}",
            self.code,
            self.all()
        );
        let said = self.all().to_lowercase();
        assert!(
            said.contains(&expected.to_lowercase()),
            "expected `{expected}` in what it said:\n{}",
            self.all()
        );
        assert!(!said.contains("panicked"), "it panicked:\n{}", self.all());
        self
    }

    /// Its standard output as one JSON document.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON ({error}):\n{}", self.all()))
    }
}

/// Runs a program to its end.
#[expect(clippy::disallowed_methods, reason = "this file is where the tests start programs")]
pub async fn run<A: AsRef<OsStr>>(program: impl AsRef<OsStr>, args: impl IntoIterator<Item = A>) -> Said {
    let name = program.as_ref().to_string_lossy().into_owned();
    let mut command = tokio::process::Command::new(program);
    let output = command
        .args(args)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await;
    let output = output.unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
    Said {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs a program to its end with a file as its standard input.
#[expect(clippy::disallowed_methods, reason = "this file is where the tests start programs")]
pub async fn run_with_input(program: &str, args: &[&str], input: &Path) -> Said {
    let input = File::open(input).expect("the input can be read");
    let output = tokio::process::Command::new(program)
        .args(args)
        .stdin(input)
        .kill_on_drop(true)
        .output()
        .await;
    let output = output.unwrap_or_else(|error| panic!("cannot start {program}: {error}"));
    Said {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A program in the background. Dropped, it gets SIGTERM, some time, and SIGKILL.
#[derive(Debug)]
pub struct Background {
    child: std::process::Child,
    log: PathBuf,
}

impl Background {
    /// Starts it with both outputs appended to the file `log`.
    #[expect(clippy::disallowed_methods, reason = "this file is where the tests start programs")]
    pub fn start<A: AsRef<OsStr>>(program: &Path, args: impl IntoIterator<Item = A>, log: &Path) -> Self {
        let out = File::options()
            .create(true)
            .append(true)
            .open(log)
            .expect("the log can be opened");
        let err = out.try_clone().expect("a file can be duplicated");
        let mut command = std::process::Command::new(program);
        let child = command.args(args).stdin(Stdio::null()).stdout(out).stderr(err).spawn();
        let child = child.unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()));
        Self {
            child,
            log: log.to_owned(),
        }
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a process id fits in pid_t")
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).expect("a child that was not reaped can be signalled");
    }

    /// Its exit code when it has ended: `Some(None)` when a signal ended it.
    pub fn ended(&mut self) -> Option<Option<i32>> {
        self.child
            .try_wait()
            .expect("a child can be waited for")
            .map(|status| status.code())
    }

    /// Waits for its end.
    pub async fn end(&mut self) -> Option<i32> {
        poll::until("the end of a program", async || self.ended()).await
    }

    /// What it has written so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            eprintln!(
                "the end of {}:\n{}",
                self.log.display(),
                lines[lines.len().saturating_sub(60)..].join("\n")
            );
        }
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = kill(Pid::from_raw(self.pid()), Signal::SIGTERM);
            if poll::until_blocking(TO_END, || self.child.try_wait().ok().flatten()).is_none() {
                let _ = self.child.kill();
                let _ = self.child.wait();
            }
        }
    }
}
