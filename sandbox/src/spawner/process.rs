//! Starting the spawner's process, and the socket to it.
//!
//! One thread of ours makes every spawner and waits for it: making a process blocks, and so does waiting for one.

use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{SetSockOpt, sockopt};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use serde::Serialize;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;

use super::protocol::{CONFIG, Config, FromSpawner};
use super::{OUTER, SpawnerConfig, StartError};
use crate::packet::{self, Packet};
use crate::stage::{At, Stage, StageError};
use crate::sys::{descriptors, readiness};

/// The socket to one spawner.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: AsyncFd<Arc<OwnedFd>>,
    pid: i32,
    pidfd: OwnedFd,
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

    /// Sends if there is room; a message that is lost this way must be one that can be done without.
    pub(crate) fn send_now<T: Serialize>(&self, message: &T) {
        let _no_room = packet::send(self.socket.get_ref().as_fd(), message, &[]);
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

enum Order {
    Start(oneshot::Sender<io::Result<OwnedFd>>),
    Bury(Arc<Connection>, oneshot::Sender<()>),
}

/// The thread that makes spawners.
#[derive(Debug)]
pub(super) struct Parent {
    orders: SyncSender<Order>,
}

impl Parent {
    /// # Errors
    /// When no thread can be made.
    pub(super) fn start(config: &SpawnerConfig) -> io::Result<Self> {
        let (orders, received) = sync_channel(4);
        let entry = config.entry.clone();
        let program = config.program.clone().unwrap_or_else(|| "/proc/self/exe".into());
        let config = Config {
            mount_point: config.mount_point.clone(),
            layers: config.layers.clone(),
            files: config.files.clone(),
            tree: config.tree.clone(),
            subordinate: config.subordinate,
        };
        std::thread::Builder::new()
            .name("spawner-parent".into())
            .spawn(move || obey(&received, &program, &entry, &config))?;
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
        let mut process = None;
        loop {
            let message = socket
                .async_io(Interest::READABLE, |fd| packet::receive(fd.as_fd()))
                .await;
            match message.map_err(StartError::Process)?.map(|(message, _)| message) {
                Some(FromSpawner::Started { pid }) => {
                    let known = rustix::process::Pid::from_raw(pid).ok_or(StartError::Silent)?;
                    // It is our child and not yet waited for, so the number can't mean another process.
                    let pidfd = rustix::process::pidfd_open(known, rustix::process::PidfdFlags::empty())
                        .map_err(|e| StartError::Process(e.into()))?;
                    process = Some((pid, pidfd));
                }
                Some(FromSpawner::Ready) => {
                    let (pid, pidfd) = process.ok_or(StartError::Silent)?;
                    return Ok(Connection { socket, pid, pidfd });
                }
                Some(FromSpawner::Failed(failure)) => return Err(failure.into()),
                _ => return Err(StartError::Silent),
            }
        }
    }

    /// Kills what is left of a spawner and waits until all of its processes are gone.
    pub(super) async fn bury(&self, connection: Arc<Connection>) {
        let (reply, buried) = oneshot::channel();
        if self.orders.try_send(Order::Bury(connection, reply)).is_ok() {
            // An error means that the thread is gone, and every spawner with it.
            let _ended = buried.await;
        }
    }
}

fn obey(orders: &Receiver<Order>, program: &std::path::Path, entry: &str, config: &Config) {
    while let Ok(order) = orders.recv() {
        match order {
            Order::Start(reply) => {
                // The asker may have given up; the socket's end then ends the process.
                let _unheard = reply.send(start(program, entry, config));
            }
            Order::Bury(connection, reply) => {
                let _ended = rustix::process::pidfd_send_signal(&connection.pidfd, rustix::process::Signal::KILL);
                let _reaped = waitid(Id::PIDFd(connection.pidfd.as_fd()), WaitPidFlag::WEXITED);
                let _unheard = reply.send(());
            }
        }
    }
}

fn start(program: &std::path::Path, entry: &str, config: &Config) -> io::Result<OwnedFd> {
    let (ours, theirs) = packet::pair()?;
    // Hundreds of starts may be asked for at once.
    let _smaller = sockopt::SndBuf.set(&ours, &(1 << 20));
    let mut file = std::fs::File::from(memfd_create(c"spawner", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(&serde_json::to_vec(config)?)?;
    #[expect(clippy::disallowed_methods, reason = "the one place that starts the spawner")]
    let mut command = Command::new(program);
    command
        .args([entry, OUTER])
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    descriptors::hand_over(&mut command, vec![theirs, file.into()]);
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
