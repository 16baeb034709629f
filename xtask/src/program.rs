//! Starts every program that the developer's tool runs, so that how they are started is read in one place.
//!
//! A `Running` that is dropped is killed and reaped. Nothing here ever goes through a shell.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How often a program that was told to end is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// A program about to be started.
pub(crate) struct Program {
    command: Command,
    line: String,
}

/// What a finished program said.
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Program {
    /// A program by its name or path, with this process's environment.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where the developer's tool starts programs"
    )]
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        let line = program.as_ref().to_string_lossy().into_owned();
        Self {
            command: Command::new(program),
            line,
        }
    }

    /// Adds arguments.
    pub(crate) fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        for arg in args {
            self.line.push(' ');
            self.line.push_str(&arg.as_ref().to_string_lossy());
            self.command.arg(arg);
        }
        self
    }

    /// Sets one variable of its environment.
    pub(crate) fn env(mut self, key: &str, value: impl Into<OsString>) -> Self {
        self.command.env(key, value.into());
        self
    }

    /// Starts it in `dir` instead of here.
    pub(crate) fn dir(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Runs it to its end with our output. An exit other than 0 is an error that names the whole line.
    pub(crate) fn run(mut self) -> Result<()> {
        eprintln!("+ {}", self.line);
        let status = self
            .command
            .status()
            .with_context(|| format!("cannot start `{}`", self.line))?;
        if !status.success() {
            bail!("`{}` ended with {status}", self.line);
        }
        Ok(())
    }

    /// Runs it to its end and returns what it said, whatever its exit status.
    pub(crate) fn finish(mut self) -> Result<Finished> {
        let output = self
            .command
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot start `{}`", self.line))?;
        Ok(Finished {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs it to its end and returns its standard output. An exit other than 0 is an error that quotes both outputs.
    pub(crate) fn output(self) -> Result<String> {
        let line = self.line.clone();
        let done = self.finish()?;
        if !done.status.success() {
            bail!("`{line}` ended with {}:\n{}{}", done.status, done.stderr, done.stdout);
        }
        Ok(done.stdout)
    }

    /// Runs it to its end, passes every line of its standard output on, and shows each one to `look` as well.
    pub(crate) fn watch(self, mut look: impl FnMut(&str)) -> Result<ExitStatus> {
        self.collect(|line| {
            println!("{line}");
            look(line);
        })
    }

    /// Runs it to its end and hands every line of its standard output to `take`. Its standard error is ours.
    pub(crate) fn collect(mut self, mut take: impl FnMut(&str)) -> Result<ExitStatus> {
        eprintln!("+ {}", self.line);
        let mut child = self
            .command
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start `{}`", self.line))?;
        let stdout = child.stdout.take().expect("standard output was asked for as a pipe");
        for line in BufReader::new(stdout).split(b'\n') {
            take(&String::from_utf8_lossy(&line?));
        }
        Ok(child.wait()?)
    }

    /// Starts it in the background with both outputs appended to the file `log`.
    pub(crate) fn start(mut self, log: &Path) -> Result<Running> {
        eprintln!("+ {}", self.line);
        let file = File::options().create(true).append(true).open(log)?;
        let child = self
            .command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start `{}`", self.line))?;
        Ok(Running { child, line: self.line })
    }
}

/// A program in the background.
pub(crate) struct Running {
    child: Child,
    line: String,
}

impl Running {
    /// Its process id. It stays ours until `stop` or the drop, because nobody else reaps it.
    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a process id fits in pid_t")
    }

    /// Whether it has ended by itself, and how.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Sends SIGTERM and waits for the end. An error when it is still there after `patience`.
    pub(crate) fn stop(&mut self, patience: Duration) -> Result<ExitStatus> {
        kill(Pid::from_raw(self.pid()), Signal::SIGTERM)?;
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("`{}` is still running {patience:?} after SIGTERM", self.line);
            }
            std::thread::sleep(LOOK);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when it has ended already, which is what they are for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
