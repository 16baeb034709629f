//! Instances that are real interpreters on the real shims, and the real resident for programs, without a sandbox around them.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use functions::runtimes::stdio::{Resident, serve};
use functions::runtimes::{HostRuntimes, base_files, launch};
use functions::{Revision, Runtime, Store};
use tempfile::TempDir;
use tokio::net::unix::pipe;
use tokio_util::sync::CancellationToken;
use warm_pool::launcher::{Confined, Ending, Exit, Later, Launched, Launcher, Stages, Usage};
use warm_pool::{Purpose, StartFailure};

/// Starts them in the layers of a store.
pub(crate) struct Bare {
    store: Arc<Store>,
    runtimes: HostRuntimes,
    shims: TempDir,
}

impl Bare {
    pub(crate) fn new(store: Arc<Store>, runtimes: HostRuntimes) -> Self {
        let shims = TempDir::new().unwrap();
        for file in base_files() {
            let path = inside(shims.path(), file.path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, file.contents).unwrap();
        }
        Self { store, runtimes, shims }
    }
}

/// Where a path of the sandbox is without one.
fn inside(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

struct Process {
    cut: CancellationToken,
    gone: CancellationToken,
    ending: Arc<Mutex<Ending>>,
}

impl Confined for Process {
    fn kill(&self) {
        self.cut.cancel();
    }

    fn gone(&self) -> Later<'_, Ending> {
        Box::pin(async {
            self.gone.cancelled().await;
            *self.ending.lock().unwrap()
        })
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.cut.cancel();
    }
}

impl Launcher for Bare {
    fn launch<'a>(&'a self, revision: &'a Revision, _purpose: Purpose) -> Later<'a, Result<Launched, StartFailure>> {
        Box::pin(async {
            let launch = launch(revision, &self.runtimes).map_err(|error| StartFailure::Plan(Box::new(error)))?;
            let (host, instance) = UnixStream::pair().unwrap();
            host.set_nonblocking(true).unwrap();
            let (print, log) = pipe::pipe().unwrap();
            let ending = Ending {
                exit: Exit::Unknown,
                oom_kills: 0,
                pids_hits: 0,
            };
            let process = Process {
                cut: CancellationToken::new(),
                gone: CancellationToken::new(),
                ending: Arc::new(Mutex::new(ending)),
            };
            let cwd = self.store.layer(&revision.bundle);
            let instance = OwnedFd::from(instance);
            match revision.settings.runtime {
                Runtime::Stdio => resident(&process, instance, launch.argv, launch.env, cwd),
                Runtime::Http | Runtime::Lambda | Runtime::Fdk => panic!("servers need a sandbox's network"),
                Runtime::Python | Runtime::Node => {
                    let argv = launch
                        .argv
                        .into_iter()
                        .map(|word| match word.strip_prefix("/var/runtime") {
                            Some(_) => inside(self.shims.path(), &word).display().to_string(),
                            None => word,
                        });
                    interpreter(&process, instance, argv.collect(), launch.env, cwd, print);
                }
            }
            Ok(Launched {
                body: Box::new(process),
                lanes: vec![OwnedFd::from(host)],
                listener: None,
                log: log.into_nonblocking_fd().unwrap(),
                start: warm_pool::Start::Cold,
                load: None,
                stages: Stages::default(),
            })
        })
    }
}

/// The resident on a thread of its own; it ends when the host closes the lane.
fn resident(process: &Process, lane: OwnedFd, argv: Vec<String>, env: Vec<(String, String)>, cwd: PathBuf) {
    let gone = process.gone.clone();
    let argv = argv.into_iter().map(|word| word.replace("/function/", "./")).collect();
    std::thread::spawn(move || {
        serve(Resident {
            lanes: vec![lane],
            argv,
            env,
            cwd,
        });
        gone.cancel();
    });
    // Nothing kills a thread, but what the pool kills it does not wait for.
    let (cut, gone) = (process.cut.clone(), process.gone.clone());
    tokio::spawn(async move {
        cut.cancelled().await;
        gone.cancel();
    });
}

/// An interpreter with its lane where a sandbox has it. std passes only three descriptors; the shell moves the first.
#[expect(clippy::disallowed_methods, reason = "the test plays the sandbox")]
fn interpreter(
    process: &Process,
    lane: OwnedFd,
    argv: Vec<String>,
    env: Vec<(String, String)>,
    cwd: PathBuf,
    print: pipe::Sender,
) {
    let print = print.into_blocking_fd().unwrap();
    let mut child = tokio::process::Command::new("/bin/sh")
        .args(["-c", "exec \"$@\" 3<&0 0</dev/null", "sh"])
        .args(argv)
        .env_clear()
        .envs(env)
        .env("LAMBDA_TASK_ROOT", &cwd)
        .env("PYTHONPATH", &cwd)
        .current_dir(&cwd)
        .stdin(lane)
        .stdout(Stdio::from(print.try_clone().unwrap()))
        .stderr(Stdio::from(print))
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let (cut, gone, ending) = (process.cut.clone(), process.gone.clone(), process.ending.clone());
    tokio::spawn(async move {
        let exit = tokio::select! {
            status = child.wait() => status.ok().and_then(|status| status.code()).map_or(Exit::Unknown, Exit::Code),
            () = cut.cancelled() => {
                let _ = child.kill().await;
                Exit::Signal(9)
            }
        };
        ending.lock().unwrap().exit = exit;
        gone.cancel();
    });
}
