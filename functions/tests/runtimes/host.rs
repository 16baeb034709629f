//! The host's side of one instance: a lane, and a log that is drained while frames are awaited.

use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use functions::payload::{self, Reply, ReplyHead};
use functions::runtimes::stdio::{Resident, serve};
use functions::runtimes::{BaseFile, base_files, node, python};
use functions::wire::{
    Decoder, End, Failure, HostFrame, InstanceFrame, Invoke, Load, Ready, ReplyOrder, encode, encode_body, encode_call,
};
use functions::{BootId, Runtime};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::web::Ask;

/// Nothing here takes longer unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Set for a test program that is to be the resident.
const SERVE_STDIN: &str = "FN_TEST_SERVE_STDIN";

/// The other half of [`Instance::stdio_in_namespace`].
pub(crate) fn serve_stdin() {
    if std::env::var_os(SERVE_STDIN).is_none() {
        return;
    }
    let resident = Resident {
        lanes: vec![std::io::stdin().as_fd().try_clone_to_owned().unwrap()],
        argv: vec!["./handler".to_owned()],
        env: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())],
        cwd: std::env::current_dir().unwrap(),
    };
    std::process::exit(serve(resident));
}

/// One lane with its frames.
pub(crate) struct Lane {
    socket: UnixStream,
    decoder: Decoder<InstanceFrame>,
    seq: u32,
}

/// An instance and the host's ends of its lanes and its log.
pub(crate) struct Instance {
    pub(crate) lanes: Vec<Lane>,
    log: OwnedFd,
    /// What was printed and not yet taken.
    printed: Vec<u8>,
    log_open: bool,
    runs: Runs,
    dir: TempDir,
}

/// What keeps an instance going.
enum Runs {
    Process(Child),
    Thread(Option<std::thread::JoinHandle<i32>>),
}

/// How an invocation ended.
#[derive(Debug)]
pub(crate) enum Answer {
    Result {
        boot_id: BootId,
        body: Vec<u8>,
        end: End,
    },
    Stream {
        head: ReplyHead,
        chunks: Vec<Vec<u8>>,
        end: Result<End, Failure>,
    },
    Error {
        failure: Failure,
    },
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        match self {
            Answer::Result { body, .. } => serde_json::from_slice(body).unwrap(),
            other => panic!("no result: {other:?}"),
        }
    }

    pub(crate) fn reply(&self) -> Reply {
        match self {
            Answer::Result { body, .. } => payload::reply(body).unwrap(),
            other => panic!("no result: {other:?}"),
        }
    }

    pub(crate) fn boot_id(&self) -> BootId {
        match self {
            Answer::Result { boot_id, .. } => *boot_id,
            other => panic!("no result: {other:?}"),
        }
    }

    pub(crate) fn failure(&self) -> &Failure {
        match self {
            Answer::Error { failure } => failure,
            other => panic!("no failure: {other:?}"),
        }
    }

    /// A stream that was completed.
    pub(crate) fn streamed(&self) -> (&ReplyHead, Vec<u8>) {
        match self {
            Answer::Stream {
                head,
                chunks,
                end: Ok(_),
            } => (head, chunks.concat()),
            other => panic!("no stream: {other:?}"),
        }
    }

    /// The failure of a stream that was aborted, and what came before it.
    pub(crate) fn aborted(&self) -> (&Failure, Vec<u8>) {
        match self {
            Answer::Stream {
                chunks,
                end: Err(failure),
                ..
            } => (failure, chunks.concat()),
            other => panic!("no aborted stream: {other:?}"),
        }
    }
}

impl Instance {
    /// Starts a function with these files in the shim of `runtime`.
    pub(crate) fn start(runtime: Runtime, handler: &str, files: &[(&str, &str)]) -> Instance {
        Instance::start_with(runtime, handler, files, &[])
    }

    /// The same with a changed environment. `FN_LANES` of 2 is understood.
    pub(crate) fn start_with(
        runtime: Runtime,
        handler: &str,
        files: &[(&str, &str)],
        env: &[(&str, &str)],
    ) -> Instance {
        let dir = directory(files);
        let place = |file: &BaseFile| dir.path().join(file.path.trim_start_matches('/'));
        for file in base_files() {
            std::fs::create_dir_all(place(&file).parent().unwrap()).unwrap();
            std::fs::write(place(&file), file.contents).unwrap();
        }
        let shim_path = place(match runtime {
            Runtime::Python => &python::BOOTSTRAP,
            _ => &node::BOOTSTRAP,
        });
        let interpreter: &[&str] = match runtime {
            Runtime::Python => &["/usr/bin/python3", "-s", "-B"],
            Runtime::Node => &["/usr/bin/node"],
            Runtime::Stdio | Runtime::Http | Runtime::Lambda | Runtime::Fdk => {
                panic!("there is no interpreter of ours")
            }
        };
        let (lane, theirs) = UnixStream::pair().unwrap();
        let (second, their_second) = UnixStream::pair().unwrap();
        let (log, their_log) = std::io::pipe().unwrap();
        let script = match env.contains(&("FN_LANES", "2")) {
            true => "exec \"$@\" 3<&0 4<&1 0</dev/null 1>&2",
            false => "exec \"$@\" 3<&0 0</dev/null 1>&2",
        };
        // std passes only three descriptors; the shell moves them to where a sandbox has them.
        #[expect(clippy::disallowed_methods, reason = "the test plays the sandbox")]
        let child = Command::new("/bin/sh")
            .args(["-c", script, "sh"])
            .args(interpreter)
            .arg(&shim_path)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("LANG", "C.UTF-8")
            .env("_HANDLER", handler)
            .env("FN_LANES", "1")
            .env("AWS_LAMBDA_FUNCTION_NAME", "hello")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "7")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
            .envs(env.iter().copied())
            .current_dir(dir.path())
            .stdin(OwnedFd::from(theirs))
            .stdout(OwnedFd::from(their_second))
            .stderr(their_log)
            .spawn()
            .unwrap();
        Instance::new(vec![lane, second], log.into(), Runs::Process(child), dir)
    }

    /// Starts the stdio resident on a thread, with a program that is a shell script.
    pub(crate) fn stdio(script: &str, lanes: usize) -> Instance {
        Instance::stdio_files(&[("handler", script)], &["./handler"], lanes)
    }

    /// The resident as it is in a sandbox: pid 2 of a pid namespace, with a program that is a shell script. It is this
    /// test program, which begins anew as [`serve_stdin`] with the lane as its standard input.
    pub(crate) fn stdio_in_namespace(script: &str) -> Instance {
        let dir = directory(&[("handler", script)]);
        let (lane, theirs) = UnixStream::pair().unwrap();
        let (log, their_log) = std::io::pipe().unwrap();
        // The shell stays as pid 1 because it has something to do after its child.
        #[expect(clippy::disallowed_methods, reason = "the test plays the sandbox")]
        let child = Command::new("/usr/bin/unshare")
            .args([
                "--user",
                "--map-root-user",
                "--pid",
                "--fork",
                "--mount-proc",
                "--kill-child",
                "/bin/sh",
            ])
            .args(["-c", "\"$@\"; exit $?", "sh"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "stdio::serves_what_is_on_standard_input"])
            .env(SERVE_STDIN, "1")
            .current_dir(dir.path())
            .stdin(OwnedFd::from(theirs))
            .stdout(their_log.try_clone().unwrap())
            .stderr(their_log)
            .spawn()
            .unwrap();
        Instance::new(vec![lane], log.into(), Runs::Process(child), dir)
    }

    /// The stdio resident with any files and command line. Files are executable.
    pub(crate) fn stdio_files(files: &[(&str, &str)], argv: &[&str], lanes: usize) -> Instance {
        Instance::stdio_with(files, argv, lanes, &[])
    }

    /// The same with more in its environment.
    pub(crate) fn stdio_with(files: &[(&str, &str)], argv: &[&str], lanes: usize, env: &[(&str, &str)]) -> Instance {
        let dir = directory(files);
        let (ours, theirs): (Vec<_>, Vec<_>) = (0..lanes).map(|_| UnixStream::pair().unwrap()).unzip();
        let resident = Resident {
            lanes: theirs.into_iter().map(OwnedFd::from).collect(),
            argv: argv.iter().map(|arg| (*arg).to_owned()).collect(),
            env: vec![
                ("PATH".to_owned(), "/usr/bin:/bin".to_owned()),
                ("GREETING".to_owned(), "hello".to_owned()),
            ]
            .into_iter()
            .chain(
                env.iter()
                    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
            )
            .collect(),
            cwd: dir.path().to_owned(),
        };
        let (log, _) = std::io::pipe().unwrap();
        let thread = std::thread::spawn(move || serve(resident));
        Instance::new(ours, log.into(), Runs::Thread(Some(thread)), dir)
    }

    fn new(lanes: Vec<UnixStream>, log: OwnedFd, runs: Runs, dir: TempDir) -> Instance {
        let lanes = lanes.into_iter().map(|socket| {
            socket.set_write_timeout(Some(PATIENCE)).unwrap();
            Lane {
                socket,
                decoder: Decoder::new(),
                seq: 0,
            }
        });
        rustix::io::ioctl_fionbio(&log, true).unwrap();
        Instance {
            lanes: lanes.collect(),
            log,
            printed: Vec::new(),
            log_open: true,
            runs,
            dir,
        }
    }

    /// Where its files are.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Tells a process that says it is parked to become a function with exactly this environment, whose files it was started
    /// beside.
    pub(crate) fn load(&mut self, env: &[(&str, &str)]) {
        match self.receive(0) {
            Some((0, InstanceFrame::Parked)) => {}
            other => panic!("not parked: {other:?}; printed: {}", self.printed()),
        }
        let frame = HostFrame::Load(Load {
            env: env
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            cwd: self.dir().to_str().unwrap().to_owned(),
        });
        let mut out = BytesMut::new();
        encode(&frame, 0, &mut out).unwrap();
        self.lanes[0].socket.write_all(&out).unwrap();
    }

    pub(crate) fn ready(&mut self) -> Ready {
        match self.receive(0) {
            Some((0, InstanceFrame::Ready(ready))) => ready,
            other => panic!("not ready: {other:?}; printed: {}", self.printed()),
        }
    }

    pub(crate) fn init_error(&mut self) -> Failure {
        let Some((0, InstanceFrame::InitError(failure))) = self.receive(0) else {
            panic!("no init error")
        };
        assert_eq!(self.exit_code(), Some(1));
        failure
    }

    /// Sends a whole event.
    pub(crate) fn send(&mut self, lane: usize, event: &Value) {
        self.send_bytes(lane, &serde_json::to_vec(event).unwrap());
    }

    /// Sends a whole request.
    pub(crate) fn send_bytes(&mut self, lane: usize, body: &[u8]) {
        self.send_call(lane, &[], body);
    }

    /// Sends a whole request with variables for a stdio program.
    pub(crate) fn send_call(&mut self, lane: usize, env: &[(&str, &str)], body: &[u8]) {
        self.send_invoke(lane, invoke(env), body);
    }

    fn send_invoke(&mut self, lane: usize, invoke: Invoke, body: &[u8]) {
        let lane = &mut self.lanes[lane];
        lane.seq += 1;
        let mut out = BytesMut::new();
        encode_call(invoke, body, lane.seq, &mut out).unwrap();
        lane.socket.write_all(&out).unwrap();
    }

    /// A whole request as the gateway sends it to a web app, and the reply.
    pub(crate) fn ask(&mut self, ask: &Ask<'_>) -> Answer {
        let invoke = Invoke {
            repeated: ask.repeated(),
            base_path: ask.base_path.to_owned(),
            ..invoke(&[])
        };
        self.send_invoke(0, invoke, &serde_json::to_vec(&ask.event()).unwrap());
        self.answer(0)
    }

    /// Begins a request that stays open.
    pub(crate) fn begin(&mut self, lane: usize) {
        let lane = &mut self.lanes[lane];
        lane.seq += 1;
        lane.push(&HostFrame::Invoke(invoke(&[])));
    }

    /// Sends more of an open request.
    pub(crate) fn push(&mut self, lane: usize, frame: &HostFrame) {
        self.lanes[lane].push(frame);
    }

    /// Sends a body of any size from another thread, so that both directions can be full at once.
    pub(crate) fn pour(&mut self, lane: usize, body: Vec<u8>) -> std::thread::JoinHandle<std::io::Result<()>> {
        let lane = &self.lanes[lane];
        let (mut socket, seq) = (lane.socket.try_clone().unwrap(), lane.seq);
        std::thread::spawn(move || {
            for chunk in body.chunks(64 * 1024) {
                let mut out = BytesMut::new();
                encode_body(chunk, seq, &mut out).unwrap();
                socket.write_all(&out)?;
            }
            let mut out = BytesMut::new();
            encode(&HostFrame::End, seq, &mut out).unwrap();
            socket.write_all(&out)
        })
    }

    pub(crate) fn call(&mut self, event: &Value) -> Answer {
        self.send(0, event);
        self.answer(0)
    }

    /// The whole reply to the current invocation. When it has come, everything printed before it is in the log.
    pub(crate) fn answer(&mut self, lane: usize) -> Answer {
        let seq = self.lanes[lane].seq;
        let mut order = ReplyOrder::new(seq);
        let mut begun = None;
        let mut chunks = Vec::new();
        loop {
            let Some((got, frame)) = self.receive(lane) else {
                panic!("the instance is gone; printed: {}", self.printed())
            };
            order.accept(got, &frame).unwrap();
            match frame {
                InstanceFrame::Body(bytes) => chunks.push(bytes.to_vec()),
                InstanceFrame::End(end) => {
                    return match begun {
                        Some(InstanceFrame::Result(head)) => Answer::Result {
                            boot_id: head.boot_id,
                            body: chunks.concat(),
                            end,
                        },
                        Some(InstanceFrame::Head(head)) => Answer::Stream {
                            head: payload::reply_head(&head).unwrap(),
                            chunks,
                            end: Ok(end),
                        },
                        other => panic!("END after {other:?}"),
                    };
                }
                InstanceFrame::Error { failure, .. } => {
                    return match begun {
                        Some(InstanceFrame::Head(head)) => Answer::Stream {
                            head: payload::reply_head(&head).unwrap(),
                            chunks,
                            end: Err(failure),
                        },
                        _ => Answer::Error { failure },
                    };
                }
                other => begun = Some(other),
            }
        }
    }

    /// The next frame; `None` when the instance closed the lane.
    pub(crate) fn receive(&mut self, lane: usize) -> Option<(u32, InstanceFrame)> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            if let Some(frame) = self.lanes[lane].decoder.next_frame().unwrap() {
                if matches!(frame.1, InstanceFrame::End(_) | InstanceFrame::Error { .. }) {
                    self.drain_log();
                }
                return Some(frame);
            }
            assert!(Instant::now() < give_up, "nothing came; printed: {}", self.printed());
            if self.wait(lane) {
                let lane = &mut self.lanes[lane];
                let mut bytes = [0; 64 * 1024];
                let count = lane.socket.read(&mut bytes).unwrap_or(0);
                if count == 0 {
                    self.drain_log();
                    return None;
                }
                lane.decoder.buffer().extend_from_slice(&bytes[..count]);
            }
        }
    }

    /// Whether the lane has something. Drains the log meanwhile.
    fn wait(&mut self, lane: usize) -> bool {
        let second = Timespec { tv_sec: 1, tv_nsec: 0 };
        let mut fds = vec![PollFd::from_borrowed_fd(self.lanes[lane].socket.as_fd(), PollFlags::IN)];
        if self.log_open {
            fds.push(PollFd::from_borrowed_fd(self.log.as_fd(), PollFlags::IN));
        }
        poll(&mut fds, Some(&second)).unwrap();
        let readable = !fds[0].revents().is_empty();
        let printing = fds.get(1).is_some_and(|fd| !fd.revents().is_empty());
        if printing {
            self.drain_log();
        }
        readable
    }

    fn drain_log(&mut self) {
        let mut bytes = [0; 64 * 1024];
        while self.log_open {
            match rustix::io::read(&self.log, &mut bytes) {
                Ok(0) => self.log_open = false,
                Ok(count) => self.printed.extend_from_slice(&bytes[..count]),
                Err(_) => return,
            }
        }
    }

    /// Takes what was printed as soon as it has these words. Nothing is read from the lanes meanwhile.
    pub(crate) fn prints(&mut self, words: &str) -> String {
        let give_up = Instant::now() + PATIENCE;
        let second = Timespec { tv_sec: 1, tv_nsec: 0 };
        loop {
            self.drain_log();
            if String::from_utf8_lossy(&self.printed).contains(words) {
                return self.printed();
            }
            assert!(Instant::now() < give_up && self.log_open, "it prints no {words:?}");
            poll(&mut [PollFd::new(&self.log, PollFlags::IN)], Some(&second)).unwrap();
        }
    }

    /// Takes what was printed so far.
    pub(crate) fn printed(&mut self) -> String {
        self.drain_log();
        String::from_utf8_lossy(&std::mem::take(&mut self.printed)).into_owned()
    }

    /// Waits for the process to end by itself. `None`: by a signal.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        while self.receive(0).is_some() {}
        match &mut self.runs {
            Runs::Process(child) => child.wait().unwrap().code(),
            Runs::Thread(thread) => thread.take().map(|thread| thread.join().unwrap()),
        }
    }

    /// Closes the lanes and waits for the end.
    pub(crate) fn close(self) -> Option<i32> {
        self.close_and_print().0
    }

    /// The same, with what was printed and not yet taken.
    pub(crate) fn close_and_print(mut self) -> (Option<i32>, String) {
        self.lanes.clear();
        let code = match &mut self.runs {
            Runs::Process(child) => child.wait().unwrap().code(),
            Runs::Thread(thread) => thread.take().map(|thread| thread.join().unwrap()),
        };
        (code, self.printed())
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.lanes.clear();
        if let Runs::Process(child) = &mut self.runs {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Lane {
    fn push(&mut self, frame: &HostFrame) {
        let mut out = BytesMut::new();
        encode(frame, self.seq, &mut out).unwrap();
        self.socket.write_all(&out).unwrap();
    }
}

/// The deadline lies an hour ahead.
fn invoke(env: &[(&str, &str)]) -> Invoke {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    Invoke {
        request_id: "req-1".to_owned(),
        deadline_ms: u64::try_from(now.as_millis()).unwrap() + 3_600_000,
        trace_id: Some("Root=1-2".to_owned()),
        arn: "arn:aws:lambda:local:000000000000:function:hello".to_owned(),
        client_context: None,
        repeated: Default::default(),
        base_path: String::new(),
        env: env
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
    }
}

fn directory(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    dir
}

/// Waits until the process with this number, as text, has ended.
pub(crate) fn wait_until_gone(pid: &[u8]) {
    let pid: i32 = std::str::from_utf8(pid).unwrap().trim().parse().unwrap();
    let Ok(pidfd) = pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()) else {
        return;
    };
    let patience = Timespec {
        tv_sec: PATIENCE.as_secs().try_into().unwrap(),
        tv_nsec: 0,
    };
    let ended = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&patience)).unwrap();
    assert_eq!(ended, 1, "process {pid} still runs");
}

/// An event with nothing in it.
pub(crate) fn nothing() -> Value {
    json!({})
}
