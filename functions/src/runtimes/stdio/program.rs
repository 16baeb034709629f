//! One run of the function's program.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, PidfdFlags, kill_process_group, pidfd_open, pidfd_send_signal};

use crate::wire::Failure;

/// How long a busy program is tried again: 50 times 2 ms.
const BUSY_TRIES: u32 = 50;
const BUSY_PAUSE: Duration = Duration::from_millis(2);

/// A program that runs, in a process group of its own. Dropping it neither kills nor reaps: see [`Program::reap`].
#[derive(Debug)]
pub(super) struct Program {
    child: Child,
    pid: Pid,
    pidfd: OwnedFd,
    /// Closed by taking it. Does not block.
    pub(super) stdin: Option<OwnedFd>,
    /// Closed by taking it. Does not block.
    pub(super) stdout: Option<OwnedFd>,
}

/// What to run, apart from what each request adds.
#[derive(Debug)]
pub(super) struct Recipe<'a> {
    pub(super) argv: &'a [String],
    pub(super) env: &'a [(String, String)],
    pub(super) cwd: &'a Path,
    /// Standard error goes where standard output goes, and not to the log.
    pub(super) combines_output: bool,
}

impl Program {
    /// Starts the program with `extra` added to its environment. Its standard error is ours, the log, unless the recipe says otherwise.
    pub(super) fn start(recipe: &Recipe<'_>, extra: &[(String, String)]) -> io::Result<Program> {
        let [program, args @ ..] = recipe.argv else {
            return Err(io::ErrorKind::NotFound.into());
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "the function's own program, inside its sandbox, with the environment and three descriptors named here"
        )]
        let mut command = Command::new(program);
        command
            .args(args)
            .env_clear()
            .envs(recipe.env.iter().chain(extra).map(|(name, value)| (name, value)))
            .current_dir(recipe.cwd)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0);
        let mut combined = None;
        if recipe.combines_output {
            let (reader, writer) = io::pipe()?;
            command.stdout(writer.try_clone()?).stderr(writer);
            combined = Some(OwnedFd::from(reader));
        }
        // The program must not inherit our mask; std itself sets SIGPIPE back to its default.
        pipe_signal().thread_unblock()?;
        let child = spawn(&mut command);
        pipe_signal().thread_block()?;
        // It holds ends of the pipes, which have to end with the program.
        drop(command);
        Program::watch(child?, combined)
    }

    fn watch(mut child: Child, combined: Option<OwnedFd>) -> io::Result<Program> {
        let pid = Pid::from_child(&child);
        let stdin = child.stdin.take().map(OwnedFd::from);
        let stdout = combined.or_else(|| child.stdout.take().map(OwnedFd::from));
        let watched = pidfd_open(pid, PidfdFlags::empty()).and_then(|pidfd| {
            for fd in [&stdin, &stdout].into_iter().flatten() {
                fcntl_setfl(fd, fcntl_getfl(fd)? | OFlags::NONBLOCK)?;
            }
            Ok(pidfd)
        });
        match watched {
            Ok(pidfd) => Ok(Program {
                child,
                pid,
                pidfd,
                stdin,
                stdout,
            }),
            Err(errno) => {
                let _ = kill_process_group(pid, rustix::process::Signal::KILL);
                child.wait()?;
                Err(errno.into())
            }
        }
    }

    /// Readable once the program has ended.
    pub(super) fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Kills the program and its process group. The program may have left the group, hence both; what else has left it
    /// is for the sweep.
    pub(super) fn kill(&self) {
        let _ = pidfd_send_signal(&self.pidfd, rustix::process::Signal::KILL);
        let _ = kill_process_group(self.pid, rustix::process::Signal::KILL);
    }

    /// Collects the status of a program that has ended, and kills what is left of its group. The order matters: until
    /// it is reaped, the program's pid and with it the group's number can't go to somebody else.
    pub(super) fn reap(&mut self) -> io::Result<ExitStatus> {
        let _ = kill_process_group(self.pid, rustix::process::Signal::KILL);
        self.child.wait()
    }
}

/// Starts the command. A program can be "busy" for a moment after it was written: when the writer's process starts
/// another one meanwhile, that one holds a copy of the open file until it executes.
fn spawn(command: &mut Command) -> io::Result<Child> {
    let mut tries = 0;
    loop {
        match command.spawn() {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy && tries < BUSY_TRIES => {
                tries += 1;
                std::thread::sleep(BUSY_PAUSE);
            }
            other => return other,
        }
    }
}

/// The set that holds SIGPIPE alone.
pub(super) fn pipe_signal() -> SigSet {
    SigSet::from(Signal::SIGPIPE)
}

/// A program that could not be started, in the words of the Lambda Runtime API.
pub(super) fn start_failure(recipe: &Recipe<'_>, error: &io::Error) -> Failure {
    let program = recipe.argv.first().map_or("", String::as_str);
    let (error_type, hint) = match error.kind() {
        io::ErrorKind::NotFound if recipe.cwd.join(program).exists() => (
            "Runtime.InvalidEntrypoint",
            "; the interpreter in its first line, or its dynamic loader, is not in the sandbox",
        ),
        io::ErrorKind::NotFound => ("Runtime.InvalidEntrypoint", ""),
        io::ErrorKind::PermissionDenied => ("Runtime.InvalidEntrypoint", "; is it executable?"),
        _ if error.raw_os_error() == Some(nix::libc::ENOEXEC) => (
            "Runtime.InvalidEntrypoint",
            "; a script begins with a line such as #!/bin/sh",
        ),
        _ => ("Runtime.ExitError", ""),
    };
    Failure {
        error_message: format!("{program} can't be started: {error}{hint}"),
        error_type: error_type.to_owned(),
        stack_trace: Vec::new(),
    }
}

/// A program that ended badly; `None` for one that ended well.
pub(super) fn exit_failure(status: ExitStatus) -> Option<Failure> {
    let error_message = match (status.code(), status.signal()) {
        (Some(0), _) => return None,
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(number)) => match Signal::try_from(number) {
            Ok(signal) => format!("killed by {}", signal.as_str()),
            Err(_) => format!("killed by signal {number}"),
        },
        (None, None) => "ended in an unknown way".to_owned(),
    };
    Some(Failure {
        error_message,
        error_type: "Runtime.ExitError".to_owned(),
        stack_trace: Vec::new(),
    })
}
