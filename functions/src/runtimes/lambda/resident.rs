//! Starts the extensions of a function, then its runtime: a resident of ours in the sandbox, confined like the function.
//!
//! ```text
//!  /opt/extensions/* --POST extensions--> host     each is started; when all have registered (GET registered)
//!  bootstrap is started                            the first process to end unasked ends the instance
//!  GET ending --> TERM | KILL                      for the runtime; then only extensions are waited for
//! ```
//!
//! Without an extension it becomes the runtime. The host's side of the requests is `warm_pool::runtime_api`, on the port of the Runtime API.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, wait};

use super::RUNTIME_API_PORT;

/// Where extensions lie.
const EXTENSIONS: &str = "/opt/extensions";
/// Where a runtime may lie that is not in the bundle: in a layer.
const BOOTSTRAP_OF_A_LAYER: &str = "/opt/bootstrap";
/// Variables that tell a runtime who it is. Extensions don't get them.
const OF_THE_RUNTIME: [&str; 5] = [
    "_HANDLER",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "LAMBDA_RUNTIME_DIR",
    "LAMBDA_TASK_ROOT",
];
/// The exit status when something could not be started or told.
const FAILED: i32 = 71;
/// The exit status after an extension ended.
const EXTENSION_ENDED: i32 = 72;

/// What is to be started.
#[derive(Debug)]
pub struct Resident {
    /// The runtime and its arguments.
    pub argv: Vec<String>,
    /// Its whole environment.
    pub env: Vec<(String, String)>,
}

/// Starts everything and waits. Standard output and error must be the log: the processes inherit them.
///
/// Returns the exit status for the process: that of the runtime, 71 when something could not be started or the host not be reached, 72 when an
/// extension ended. Without an extension it returns only when the runtime can't be executed.
pub fn serve(resident: Resident) -> i32 {
    run(resident).unwrap_or_else(|error| failed(&error))
}

fn failed(error: &io::Error) -> i32 {
    // Who reads the log may be gone, and there is nobody else to tell.
    let _unread = writeln!(io::stderr(), "the runtime could not be started: {error}");
    FAILED
}

fn run(resident: Resident) -> io::Result<i32> {
    let programs = programs(Path::new(EXTENSIONS))?;
    if programs.is_empty() {
        return Err(std::os::unix::process::CommandExt::exec(&mut runtime(&resident)));
    }
    let names: Vec<&str> = programs.iter().map(|(name, _)| name.as_str()).collect();
    ask("POST", "extensions", &serde_json::json!(names).to_string())?;
    let mut extensions = Vec::new();
    for (name, program) in programs {
        match extension(&program, &resident).spawn() {
            Ok(child) => extensions.push((pid_of(&child), name)),
            Err(error) => {
                ended(Some(&name), &error.to_string())?;
                return Ok(EXTENSION_ENDED);
            }
        }
    }
    let family = Arc::new(Family::default());
    let starter = family.clone();
    // What this thread waits for, an end of a process may make impossible; that ends the whole process, and the thread with it.
    std::thread::spawn(move || {
        if let Err(error) = starter.start(&resident) {
            std::process::exit(failed(&error));
        }
    });
    family.watch(&extensions)
}

/// What the two threads share.
#[derive(Default)]
struct Family {
    /// The runtime, once it is started.
    runtime: Mutex<Option<Pid>>,
    /// The host has said that the instance ends.
    ending: AtomicBool,
}

impl Family {
    /// Starts the runtime when it is its turn, and ends it when the host says so.
    fn start(&self, resident: &Resident) -> io::Result<()> {
        ask("GET", "registered", "")?;
        let pid = {
            // Held over the start, so that its end is not seen before its number is known.
            let mut number = self.runtime();
            let child = runtime(resident).spawn()?;
            *number.insert(pid_of(&child))
        };
        let how = ask("GET", "ending", "")?;
        self.ending.store(true, Ordering::SeqCst);
        let signal = if how == "TERM" { Signal::TERM } else { Signal::KILL };
        // It may have ended already.
        let _ended = kill_process(pid, signal);
        Ok(())
    }

    /// Waits for the end of every process, or for the first that nobody asked for.
    fn watch(&self, extensions: &[(Pid, String)]) -> io::Result<i32> {
        loop {
            let (pid, status) = match wait(WaitOptions::empty()) {
                Ok(Some(seen)) => seen,
                Ok(None) | Err(Errno::INTR) => continue,
                // All have ended, as they were told to.
                Err(Errno::CHILD) => return Ok(0),
                Err(error) => return Err(error.into()),
            };
            let extension = extensions.iter().find(|(known, _)| *known == pid);
            let name = extension.map(|(_, name)| name.as_str());
            if name.is_none() && *self.runtime() != Some(pid) {
                continue;
            }
            ended(name, &how(status))?;
            match name {
                _ if self.ending.load(Ordering::SeqCst) => {}
                Some(_) => return Ok(EXTENSION_ENDED),
                None => return Ok(end_like(status)),
            }
        }
    }

    fn runtime(&self) -> MutexGuard<'_, Option<Pid>> {
        self.runtime.lock().expect("nothing panics under the lock")
    }
}

/// The extensions by name, in the order of their names.
fn programs(dir: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    let mut programs = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let executable = |meta: fs::Metadata| meta.is_file() && meta.permissions().mode() & 0o111 != 0;
        if let Some(name) = path.file_name().and_then(|name| name.to_str())
            && fs::metadata(&path).is_ok_and(executable)
        {
            programs.push((name.to_owned(), path));
        }
    }
    programs.sort();
    Ok(programs)
}

fn runtime(resident: &Resident) -> Command {
    let (program, arguments) = match resident.argv.split_first() {
        Some((program, arguments)) if Path::new(program).exists() => (program.as_str(), arguments),
        _ => (BOOTSTRAP_OF_A_LAYER, Default::default()),
    };
    let mut command = command(program);
    command
        .args(arguments)
        .envs(resident.env.iter().map(|(name, value)| (name, value)));
    command
}

fn extension(program: &Path, resident: &Resident) -> Command {
    let mut command = command(program);
    let env = resident.env.iter().map(|(name, value)| (name, value));
    command.envs(env.filter(|(name, _)| !OF_THE_RUNTIME.contains(&name.as_str())));
    command
}

fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    #[expect(
        clippy::disallowed_methods,
        reason = "the function's own programs, inside its sandbox, with the environment named by the callers"
    )]
    let mut command = Command::new(program);
    command.env_clear();
    command
}

fn pid_of(child: &std::process::Child) -> Pid {
    Pid::from_child(child)
}

fn how(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "it is gone".to_owned(),
    }
}

/// Ends this process as the runtime ended, so that whoever looks at the sandbox sees that end.
fn end_like(status: WaitStatus) -> i32 {
    let number = status.terminating_signal().unwrap_or_default();
    if let Some(signal) = Signal::from_named_raw(number) {
        let _deadly = kill_process(getpid(), signal);
    }
    status.exit_status().unwrap_or(128 + number)
}

fn ended(extension: Option<&str>, how: &str) -> io::Result<()> {
    let document = serde_json::json!({ "extension": extension, "how": how });
    ask("POST", "ended", &document.to_string()).map(drop)
}

/// One request to the host. Returns the body of the answer.
fn ask(method: &str, path: &str, body: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, RUNTIME_API_PORT.get()))?;
    let length = body.len();
    let head = format!(
        "{method} /fn/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(head.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    answered(&answer)
}

fn answered(answer: &str) -> io::Result<String> {
    let refused = || {
        io::Error::other(format!(
            "the host answered {:?}",
            answer.lines().next().unwrap_or_default()
        ))
    };
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(refused)?;
    match head.split(' ').nth(1) {
        Some(status) if status.starts_with('2') => Ok(body.to_owned()),
        _ => Err(io::Error::other(format!("{}: {body}", refused()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_are_the_executable_files_of_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        assert!(programs(&dir.path().join("nowhere")).unwrap().is_empty());
        for (name, mode) in [("b", 0o555), ("a", 0o755), ("data", 0o444)] {
            fs::write(dir.path().join(name), "").unwrap();
            fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        fs::create_dir(dir.path().join("directory")).unwrap();
        let found = programs(dir.path()).unwrap();
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert!(programs(&dir.path().join("data")).unwrap().is_empty());
    }

    #[test]
    fn an_answer_is_its_body_or_an_error_that_quotes_it() {
        assert_eq!(answered("HTTP/1.1 200 OK\r\nA: b\r\n\r\nTERM").unwrap(), "TERM");
        let error = answered("HTTP/1.1 403 Forbidden\r\n\r\nno").unwrap_err().to_string();
        assert!(error.contains("403") && error.ends_with("no"), "{error}");
        assert!(answered("").is_err());
    }

    #[test]
    fn extensions_do_not_get_what_belongs_to_the_runtime() {
        let resident = Resident {
            argv: vec!["/bin/true".into()],
            env: [("_HANDLER", "x"), ("LAMBDA_TASK_ROOT", "x"), ("A", "b")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        };
        let names = |command: &Command| -> Vec<String> {
            let names = command.get_envs().map(|(name, _)| name.to_string_lossy().into_owned());
            names.collect()
        };
        assert_eq!(names(&extension(Path::new("/bin/true"), &resident)), ["A"]);
        assert_eq!(names(&runtime(&resident)), ["A", "LAMBDA_TASK_ROOT", "_HANDLER"]);
        assert_eq!(runtime(&resident).get_program(), "/bin/true");
        let resident = Resident {
            argv: vec!["/nowhere/bootstrap".into()],
            ..resident
        };
        assert_eq!(runtime(&resident).get_program(), BOOTSTRAP_OF_A_LAYER);
    }
}
