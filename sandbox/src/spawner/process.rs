//! Starting the spawner's process, and the socket to it.
//!
//! One thread of ours makes every spawner and waits for it: making a process blocks, and so does waiting for one.

use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{SetSockOpt, Shutdown, shutdown, sockopt};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use serde::Serialize;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{Notify, oneshot};

use super::protocol::{CONFIG, Config, FromSpawner, ToSpawner};
use super::{OUTER, SpawnerConfig, StartError};
use crate::packet::{self, Packet};
use crate::stage::{At, Stage, StageError};
use crate::sys::{descriptors, readiness};

/// The socket to one spawner.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: AsyncFd<Arc<OwnedFd>>,
    pid: i32,
    /// Sandboxes to be killed of which the spawner could not be told yet.
    unsaid: Mutex<Vec<u64>>,
    more_unsaid: Notify,
}

impl Connection {
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// Sends, waiting for room where there is none.
    pub(crate) async fn send<T: Serialize>(&self, message: &T, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let packet = Packet::of(message)?;
        self.socket
            .async_io(Interest::WRITABLE, |socket| packet.send(socket.as_fd(), fds))
            .await
    }

    /// Has a sandbox killed: now, or by [`Connection::say_unsaid`] when the queue is full.
    pub(crate) fn kill(&self, id: u64) {
        match packet::send(self.socket.get_ref().as_fd(), &ToSpawner::Kill { id }, &[]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.unsaid.lock().unwrap_or_else(PoisonError::into_inner).push(id);
                self.more_unsaid.notify_one();
            }
            // Said, or the spawner is gone, and its sandboxes with it.
            _ => {}
        }
    }

    /// Says what there was no room for, until the spawner is gone.
    pub(super) async fn say_unsaid(&self) {
        loop {
            self.more_unsaid.notified().await;
            let unsaid = std::mem::take(&mut *self.unsaid.lock().unwrap_or_else(PoisonError::into_inner));
            for id in unsaid {
                if self.send(&ToSpawner::Kill { id }, &[]).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Ends the socket, whoever still holds it: the spawner sees the end and goes.
    pub(super) fn close(&self) {
        // It may have gone before.
        let _ended = shutdown(self.socket.get_ref().as_raw_fd(), Shutdown::Both);
    }

    /// The next message; `None` at the end.
    pub(crate) async fn receive(&self) -> io::Result<Option<FromSpawner>> {
        let received = self
            .socket
            .async_io(Interest::READABLE, |socket| packet::receive(socket.as_fd()))
            .await?;
        Ok(received.map(|(message, _)| message))
    }
}

/// How long a spawner may take to go by itself, a little longer than it gives its last processes.
const PATIENCE: Duration = Duration::from_secs(6);

enum Order {
    Start(oneshot::Sender<io::Result<OwnedFd>>),
    Bury(Pid, Duration, oneshot::Sender<()>),
}

/// The thread that makes spawners.
#[derive(Debug)]
pub(super) struct Parent {
    orders: SyncSender<Order>,
}

impl Parent {
    /// `sightings` is what each spawner gets to tell by what its sandboxes see.
    ///
    /// # Errors
    /// When no thread can be made.
    pub(super) fn start(config: &SpawnerConfig, sightings: OwnedFd) -> io::Result<Self> {
        let (orders, received) = sync_channel(4);
        let entry = config.entry.clone();
        let program = config.program.clone().unwrap_or_else(|| "/proc/self/exe".into());
        let config = Config {
            mount_point: config.mount_point.clone(),
            layers: config.layers.clone(),
            files: config.files.clone(),
            tree: config.tree.clone(),
            subordinate: config.subordinate,
            switches: config.switches,
            watch: config.watch,
        };
        std::thread::Builder::new()
            .name("spawner-parent".into())
            .spawn(move || obey(&received, &program, &entry, &config, &sightings))?;
        Ok(Self { orders })
    }

    /// Makes a spawner and waits until it is ready.
    pub(super) async fn connect(&self) -> Result<Connection, StartError> {
        let (reply, started) = oneshot::channel();
        self.orders
            .try_send(Order::Start(reply))
            .map_err(|_| StartError::Silent)?;
        let socket = started
            .await
            .map_err(|_| StartError::Silent)?
            .map_err(StartError::Process)?;
        rustix::io::ioctl_fionbio(&socket, true).map_err(|e| StartError::Process(e.into()))?;
        let both = Interest::READABLE | Interest::WRITABLE;
        let socket = readiness::watch(Arc::new(socket), both).map_err(StartError::Process)?;
        let mut pid = None;
        let greeted = greet(&socket, &mut pid).await;
        match (greeted, pid) {
            (Ok(()), Some(pid)) => Ok(Connection {
                socket,
                pid: pid.as_raw(),
                unsaid: Mutex::default(),
                more_unsaid: Notify::new(),
            }),
            (greeted, pid) => {
                if let Some(pid) = pid {
                    self.bury(pid).await;
                }
                Err(greeted.err().unwrap_or(StartError::Silent))
            }
        }
    }

    /// Kills what is left of a spawner and waits until all of its processes are gone.
    pub(super) async fn bury(&self, spawner: Pid) {
        self.end(spawner, Duration::ZERO).await;
    }

    /// Waits for a spawner that was told to go, and kills it when it does not.
    pub(super) async fn see_off(&self, spawner: Pid) {
        self.end(spawner, PATIENCE).await;
    }

    async fn end(&self, spawner: Pid, patience: Duration) {
        let (reply, buried) = oneshot::channel();
        if self.orders.try_send(Order::Bury(spawner, patience, reply)).is_ok() {
            // An error means that the thread is gone, and every spawner with it.
            let _ended = buried.await;
        }
    }
}

/// Returns when `spawner`, a child of ours, has ended, or after `patience`.
fn wait_for_end(spawner: Pid, patience: Duration) {
    let Some(pid) = rustix::process::Pid::from_raw(spawner.as_raw()) else {
        return;
    };
    // A child that nobody has waited for yet: its number can't mean another process.
    if let Ok(pidfd) = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) {
        let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
        // An interruption only shortens the patience.
        let _ended = poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], timeout);
    }
}

/// Listens until the spawner is ready. The first process and the second speak through the same socket, and which one is
/// heard first is the scheduler's choice; a failure is followed by the end.
async fn greet(socket: &AsyncFd<Arc<OwnedFd>>, process: &mut Option<Pid>) -> Result<(), StartError> {
    let mut failure = StartError::Silent;
    let mut ready = false;
    while !(ready && process.is_some()) {
        let message = socket
            .async_io(Interest::READABLE, |fd| packet::receive(fd.as_fd()))
            .await;
        match message.map_err(StartError::Process)?.map(|(message, _)| message) {
            Some(FromSpawner::Started { pid }) => *process = Some(Pid::from_raw(pid)),
            Some(FromSpawner::Ready) => ready = true,
            Some(FromSpawner::Failed(stage)) => failure = stage.into(),
            _ => return Err(failure),
        }
    }
    Ok(())
}

fn obey(orders: &Receiver<Order>, program: &std::path::Path, entry: &str, config: &Config, sightings: &OwnedFd) {
    while let Ok(order) = orders.recv() {
        match order {
            Order::Start(reply) => {
                // The asker may have given up; the socket's end then ends the process.
                let _unheard = reply.send(start(program, entry, config, sightings));
            }
            Order::Bury(spawner, patience, reply) => {
                if !patience.is_zero() {
                    wait_for_end(spawner, patience);
                }
                // A child that nobody has waited for yet: its number can't mean another process.
                let _ended = kill(spawner, Signal::SIGKILL);
                let _reaped = waitid(Id::Pid(spawner), WaitPidFlag::WEXITED);
                let _unheard = reply.send(());
            }
        }
    }
}

fn start(program: &std::path::Path, entry: &str, config: &Config, sightings: &OwnedFd) -> io::Result<OwnedFd> {
    let (ours, theirs) = packet::pair()?;
    // Room for some hundred starts; more of them wait.
    let _smaller = sockopt::SndBuf.set(&ours, &(1 << 17));
    let mut file = std::fs::File::from(memfd_create(c"spawner", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(&serde_json::to_vec(config)?)?;
    #[expect(clippy::disallowed_methods, reason = "the one place that starts the spawner")]
    let mut command = Command::new(program);
    command
        .args([entry, OUTER])
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    descriptors::hand_over(&mut command, vec![theirs, file.into(), sightings.try_clone()?]);
    // The first process ends as soon as it has made the second.
    command.spawn()?.wait()?;
    Ok(ours)
}

/// Reads what [`start`] wrote; in the spawner.
pub(super) fn read_config() -> Result<Config, StageError> {
    let mut file = std::fs::File::from(descriptors::inherited(CONFIG).at(Stage::Message)?);
    let mut bytes = Vec::new();
    file.rewind()
        .and_then(|()| file.read_to_end(&mut bytes))
        .at(Stage::Message)?;
    // The second process, which the first becomes by exec, reads it again.
    std::mem::forget(file);
    serde_json::from_slice(&bytes).map_err(|_| StageError {
        stage: Stage::Message,
        errno: libc::EINVAL,
    })
}
