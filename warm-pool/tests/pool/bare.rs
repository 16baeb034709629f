//! Instances that are real interpreters on the real shim, without a sandbox. What is not tested here is what the sandbox does: limits,
//! confinement, and that nothing survives.

use std::collections::HashMap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use functions::runtimes::base_files;
use functions::{Digest, FunctionName, Revision};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use tempfile::TempDir;
use tokio::net::unix::pipe;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use warm_pool::launcher::{
    Confined, Ending, Exit, HostMemory, Later, Launched, Launcher, Listener, Stages, Template, Usage,
};
use warm_pool::{Purpose, Start, StartFailure};

/// Puts inherited sockets to the descriptors 3, 4, ... and becomes the instance.
const EXEC: &str = "
import fcntl, os, sys
far = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 200) for fd in sys.argv[1].split(',')]
for at, fd in enumerate(far):
    os.dup2(fd, 3 + at)
    os.close(fd)
os.closerange(3 + len(far), 200)
os.execv(sys.argv[2], sys.argv[2:])
";

/// Bytes of memory of the host, which no test uses up.
pub(crate) const PLENTY: u64 = 100_000;

/// Runs bundles that are directories of the test.
pub(crate) struct Bare {
    bundles: Mutex<HashMap<Digest, PathBuf>>,
    shims: TempDir,
    /// Processes that were started.
    pub(crate) launches: AtomicUsize,
    /// What each of them was for.
    pub(crate) purposes: Mutex<Vec<Purpose>>,
    /// What is said of templates.
    pub(crate) forks: AtomicBool,
    /// The next process is a fork that never comes.
    pub(crate) stillborn: AtomicBool,
    /// The template that there is said to be.
    pub(crate) template: Mutex<Option<Template>>,
    /// Rings when the template is thrown away.
    pub(crate) forgotten: Notify,
    /// What is said of the memory of the host.
    memory: Mutex<Option<HostMemory>>,
    /// How often that was asked for.
    pub(crate) memory_looks: watch::Sender<usize>,
    listener: Mutex<Option<Listener>>,
    /// Processes that are there now.
    pub(crate) living: watch::Sender<usize>,
}

impl Bare {
    pub(crate) fn new() -> Bare {
        let shims = TempDir::new().unwrap();
        for file in base_files() {
            let path = shims.path().join(file.path.trim_start_matches('/'));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, file.contents).unwrap();
        }
        Bare {
            bundles: Mutex::default(),
            shims,
            launches: AtomicUsize::new(0),
            purposes: Mutex::default(),
            forks: AtomicBool::new(false),
            stillborn: AtomicBool::new(false),
            template: Mutex::default(),
            forgotten: Notify::new(),
            memory: Mutex::new(Some(memory(PLENTY))),
            memory_looks: watch::Sender::new(0),
            listener: Mutex::default(),
            living: watch::Sender::new(0),
        }
    }

    pub(crate) fn add(&self, bundle: Digest, dir: PathBuf) {
        self.bundles.lock().unwrap().insert(bundle, dir);
    }

    /// A template of the function became ready.
    pub(crate) fn template(&self, function: &FunctionName) {
        self.forks.store(true, Ordering::SeqCst);
        let listener = self.listener.lock().unwrap();
        listener.as_ref().expect("a pool was started")(function);
    }

    /// So many bytes of [`PLENTY`] are available from now on.
    pub(crate) fn tell_memory(&self, available: u64) {
        *self.memory.lock().unwrap() = Some(memory(available));
    }

    /// The memory of the host can't be read from now on. Waits until somebody saw that.
    pub(crate) async fn hide_memory(&self) {
        let mut looks = self.memory_looks.subscribe();
        // Somebody saw it before.
        looks.wait_for(|looks| *looks > 0).await.unwrap();
        *self.memory.lock().unwrap() = None;
        looks.borrow_and_update();
        looks.changed().await.unwrap();
    }

    /// Waits until that many processes are there.
    pub(crate) async fn until_living(&self, count: usize) {
        self.living
            .subscribe()
            .wait_for(|living| *living == count)
            .await
            .unwrap();
    }
}

fn memory(available: u64) -> HostMemory {
    HostMemory {
        total: PLENTY,
        available,
        swap_free: 0,
        stalled: None,
    }
}

struct Process {
    cut: CancellationToken,
    ending: watch::Receiver<Option<Ending>>,
}

impl Confined for Process {
    fn kill(&self) {
        self.cut.cancel();
    }

    fn gone(&self) -> Later<'_, Ending> {
        let mut ending = self.ending.clone();
        Box::pin(async move { ending.wait_for(Option::is_some).await.unwrap().unwrap() })
    }

    fn usage(&self) -> Usage {
        Usage {
            memory_bytes: Some(1000),
            memory_peak: None,
            pids: Some(1),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.cut.cancel();
    }
}

impl Launcher for Bare {
    fn templates(&self) -> Vec<Template> {
        self.template.lock().unwrap().clone().into_iter().collect()
    }

    fn forget_prepared(&self, _function: &FunctionName) {
        self.forks.store(false, Ordering::SeqCst);
    }

    fn let_go(&self, template: &Template) {
        self.template
            .lock()
            .unwrap()
            .take_if(|there| there.function == template.function && there.revision == template.revision);
        self.forks.store(false, Ordering::SeqCst);
        self.forgotten.notify_one();
    }

    fn memory(&self) -> Option<HostMemory> {
        let memory = *self.memory.lock().unwrap();
        self.memory_looks.send_modify(|looks| *looks += 1);
        memory
    }

    fn launch<'a>(&'a self, revision: &'a Revision, purpose: Purpose) -> Later<'a, Result<Launched, StartFailure>> {
        self.purposes.lock().unwrap().push(purpose);
        Box::pin(async {
            let mut launched = self.start(revision);
            if self.stillborn.swap(false, Ordering::SeqCst) {
                launched.start = Start::Forked;
                let (ours, _closed) = UnixStream::pair().unwrap();
                ours.set_nonblocking(true).unwrap();
                launched.lanes = vec![ours.into()];
            }
            Ok(launched)
        })
    }

    fn forks(&self, _revision: &Revision) -> bool {
        self.forks.load(Ordering::SeqCst)
    }

    fn announce_to(&self, listener: Listener) {
        *self.listener.lock().unwrap() = Some(listener);
    }
}

impl Bare {
    fn start(&self, revision: &Revision) -> Launched {
        let settings = &revision.settings;
        let dir = self.bundles.lock().unwrap()[&revision.bundle].clone();
        let (mut lanes, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..settings.concurrency {
            let (host, instance) = UnixStream::pair().unwrap();
            host.set_nonblocking(true).unwrap();
            lanes.push(OwnedFd::from(host));
            theirs.push(OwnedFd::from(instance));
        }
        let (print, log) = pipe::pipe().unwrap();
        let mut child = self.spawn(revision, &dir, &theirs, print.into_blocking_fd().unwrap());
        drop(theirs);
        self.launches.fetch_add(1, Ordering::SeqCst);
        self.living.send_modify(|living| *living += 1);

        let (ended, ending) = watch::channel(None);
        let cut = CancellationToken::new();
        let (cut_here, living) = (cut.clone(), self.living.clone());
        tokio::spawn(async move {
            let status = tokio::select! {
                status = child.wait() => status.unwrap(),
                () = cut_here.cancelled() => {
                    child.start_kill().unwrap();
                    child.wait().await.unwrap()
                }
            };
            let signal = std::os::unix::process::ExitStatusExt::signal(&status);
            let exit = match (status.code(), signal) {
                (Some(code), _) => Exit::Code(code),
                (None, Some(signal)) => Exit::Signal(signal),
                (None, None) => Exit::Unknown,
            };
            living.send_modify(|living| *living -= 1);
            ended.send_replace(Some(Ending {
                exit,
                oom_kills: 0,
                pids_hits: 0,
            }));
        });
        Launched {
            body: Box::new(Process { cut, ending }),
            lanes,
            listener: None,
            log: log.into_nonblocking_fd().unwrap(),
            start: Start::Cold,
            load: None,
            stages: Stages::default(),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the test plays the sandbox")]
    fn spawn(&self, revision: &Revision, dir: &PathBuf, lanes: &[OwnedFd], print: OwnedFd) -> tokio::process::Child {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let shim = self.shims.path().join("var/runtime/python/bootstrap.py");
        let numbers: Vec<_> = lanes.iter().map(|lane| lane.as_raw_fd().to_string()).collect();
        let mut command = tokio::process::Command::new("/usr/bin/python3");
        command
            .args([
                "-S",
                "-E",
                "-c",
                EXEC,
                &numbers.join(","),
                "/usr/bin/python3",
                "-s",
                "-B",
            ])
            .arg(shim)
            .env_clear()
            .env("_HANDLER", &revision.settings.handler)
            .env("FN_LANES", revision.settings.concurrency.to_string())
            .env("LAMBDA_TASK_ROOT", dir)
            .env("PYTHONPATH", dir)
            .env("AWS_LAMBDA_FUNCTION_NAME", revision.name.as_str())
            .env("AWS_LAMBDA_FUNCTION_VERSION", revision.number.to_string())
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
            .envs(&revision.settings.env)
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::from(print.try_clone().unwrap()))
            .stderr(Stdio::from(print))
            .kill_on_drop(true);
        // A socket that another child inherits by accident would never be seen to close.
        let _alone = ONE_AT_A_TIME.lock().unwrap();
        let inherit = |flag: FdFlag| {
            for lane in lanes {
                fcntl(lane, FcntlArg::F_SETFD(flag)).unwrap();
            }
        };
        inherit(FdFlag::empty());
        let child = command.spawn().unwrap();
        inherit(FdFlag::FD_CLOEXEC);
        child
    }
}
