//! By which sockets the host and what runs in a sandbox find each other, though the sandbox's network is a loopback device.
//!
//! | who listens | where | how |
//! |---|---|---|
//! | the host | 127.0.0.1, a port of the plan | pid 1 makes the listener before the program is executed: [`Sandbox::take_listener`] |
//! | the host | an outlet of the plan: an address of 127.0.0.0/8 that a name has inside | the same: [`Sandbox::take_outlets`] |
//! | the function | 127.0.0.1, any port | pid 1 makes a socket, the host connects it: [`Sandbox::tcp_socket`] |
//! | the function | a path inside | a process of ours goes in and connects: [`Sandbox::connect_unix`] |
//!
//! When the function listens, wherever that is, pid 1 hears of it: [`Sandbox::listens`].
//!
//! A socket belongs to the network in which it was made, wherever it is used, so it is made inside and handed outward. No
//! socket of the host's network is ever handed in, and no path of a function is ever looked at from outside.
//!
//! TCP sockets come from pid 1: it is there, the wish names nothing that the function decides, and their memory is charged to
//! the sandbox. Connections come from a visitor that the spawner makes (see `child::visitor`), because a path is
//! the function's to decide: whoever follows it must have the function's rights and no other, and pid 1 has neither its user nor its
//! landlock rules, nor a way to get them.
//!
//! Each wish carries the socket through which it is answered, so answers can't be mixed up, a future that is dropped loses
//! nothing of others, and the end of the sandbox, of pid 1 or of the spawner is the end of that socket.
//!
//! What comes out of a sandbox is hostile. Whoever uses these sockets bounds how many connections it accepts, how long it waits and
//! how much it reads; reads without room for control messages, so that no descriptors arrive; and drops the sockets
//! when the sandbox is gone, as they keep its network, which has nothing in it any more, in the kernel's memory.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::sync::Semaphore;

use crate::child::slot::ToSlot;
use crate::packet;
use crate::sandbox::{Sandbox, SlotState, nonblocking};
use crate::spawner::protocol::ToSpawner;
use crate::stage::{Stage, StageError};
use crate::sys::readiness;

/// The most wishes of each kind that one sandbox has on the way; more of them wait for their turn.
const MOST: usize = 4;
/// The most bytes of a path: what `bind(2)` takes.
const LONGEST_PATH: usize = 107;

/// There is no socket.
#[derive(Debug, thiserror::Error)]
pub enum ReachError {
    /// The sandbox has ended, or is about to.
    #[error("the sandbox has ended")]
    Ended,
    /// Nothing is at that path. It may come yet.
    #[error("there is nothing at that path inside")]
    NotThere,
    /// A socket is there, and nobody listens to it. Somebody may yet.
    #[error("nobody listens to the socket at that path inside")]
    Refused,
    /// Too many connections wait to be accepted. It may pass.
    #[error("the queue of the socket inside is full")]
    Full,
    /// What is there is no stream socket.
    #[error("what is at that path inside is no stream socket")]
    NotASocket,
    /// The function itself could not connect to it either, by the modes of the socket or of a directory.
    #[error("the modes of the socket inside, or of a directory on the way, forbid to connect to it")]
    Forbidden,
    /// Links that lead nowhere, or through the links of a process in /proc, which are not followed.
    #[error("the links on the way to the socket inside lead in a circle, or through a process in /proc")]
    Links,
    /// A path that can't be asked for.
    #[error("{0:?} is not the absolute path of a socket of at most {LONGEST_PATH} bytes")]
    Path(String),
    /// A name in the path is longer than a file's name can be, or a link on the way leads to a path that is too long.
    #[error("the path, or one that a link on the way leads to, is too long")]
    TooLong,
    /// The spawner has no way into a cell: what was forked from a template makes TCP sockets, but is not connected to by a path,
    /// and a template does neither.
    #[error("what is in the cell of a template can't be reached in this way")]
    InCell,
    /// Where the kernel can't tell of calls, where somebody else's filter tells of them already, and in cells.
    #[error("calls of listen can't be heard of in this sandbox")]
    Untold,
    /// A step of ours failed.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// The path can't be looked up or connected to for another reason.
    #[error("the socket inside can't be connected to")]
    Other(#[source] io::Error),
    /// Sockets could not be made or received: the limit of open files of this process, most likely.
    #[error("no descriptors for another socket ({0}); raise the limit of open files (ulimit -n)")]
    Descriptors(#[source] io::Error),
}

/// What is answered to a wish.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// The socket is beside it.
    Made,
    /// Something listens, or is about to.
    Listens,
    /// Nobody hears whether something listens.
    Untold,
    /// A step of ours failed.
    Failed(StageError),
    /// The path leads to no socket that can be connected to; an errno.
    Unconnected(i32),
}

/// What a sandbox has on the way.
#[derive(Debug)]
pub(crate) struct Reach {
    sockets: Wishes,
    calls: Wishes,
    connections: Arc<Semaphore>,
}

impl Default for Reach {
    fn default() -> Self {
        Self {
            sockets: Wishes::at_a_time(MOST),
            calls: Wishes::at_a_time(1),
            connections: Arc::new(Semaphore::new(MOST)),
        }
    }
}

/// What pid 1 was asked for, of one kind.
#[derive(Debug)]
struct Wishes {
    turns: Semaphore,
    /// Answers that were asked for by those who gave up: the next one takes them.
    unheard: Mutex<Vec<Arc<OwnedFd>>>,
}

impl Wishes {
    fn at_a_time(most: usize) -> Self {
        Self {
            turns: Semaphore::new(most),
            unheard: Mutex::default(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<OwnedFd>>> {
        self.unheard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer to come. One that was not waited for is left to the next who wishes for the same.
struct Asked<'a> {
    wishes: &'a Wishes,
    answer: Option<Arc<OwnedFd>>,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.wishes.lock().extend(self.answer.take());
    }
}

impl Reach {
    /// It is a slot of a cell.
    pub(crate) fn lacks_connections(&self) {
        self.connections.close();
        self.calls.turns.close();
    }

    /// It is a cell.
    pub(crate) fn lacks_all(&self) {
        self.lacks_connections();
        self.sockets.turns.close();
    }
}

impl Sandbox {
    /// A TCP socket of the sandbox's network, unconnected, nonblocking and close-on-exec: connect it to 127.0.0.1 and a port on
    /// which the function listens. As many as are wanted, four are asked for at a time. A port of the range from which the kernel
    /// takes the other end (32768 to 60999, mostly) is a bad choice for a function: a socket may then be connected to itself.
    ///
    /// Pid 1 answers, which stands still while the sandbox is frozen, and so does this: thaw first, or stop waiting.
    /// Cancel safe: a socket that was asked for by a future that is dropped goes to the next who asks.
    ///
    /// # Errors
    /// [`ReachError::Ended`], also when that happens meanwhile; [`ReachError::Descriptors`]; [`ReachError::Stage`] when the
    /// sandbox's memory has no room for a socket.
    pub async fn tcp_socket(&self) -> Result<OwnedFd, ReachError> {
        let wishes = &self.reach().sockets;
        let _turn = wishes.turns.acquire().await.map_err(|_closed| ReachError::InCell)?;
        self.wish(wishes, &ToSlot::Socket).await?.socket()
    }

    /// Waits until something inside listens to a socket, whichever, or is about to: at once when that was so since the last time
    /// that this was answered. That it is told is a hint, and no proof. Whoever then connects tries more than once: the call may not be made
    /// yet, it may fail, and the socket may be another one.
    ///
    /// Pid 1 answers, so while the sandbox is frozen nothing is told. Cancel safe: what was not waited for is told to the next who
    /// asks, and those who ask at the same time are answered one after the other.
    ///
    /// # Errors
    /// [`ReachError::Untold`] where nobody hears of it: the only way to know is to try then. [`ReachError::Ended`], also when that
    /// happens meanwhile; [`ReachError::Descriptors`].
    pub async fn listens(&self) -> Result<(), ReachError> {
        let wishes = &self.reach().calls;
        let _turn = wishes.turns.acquire().await.map_err(|_closed| ReachError::Untold)?;
        match self.wish(wishes, &ToSlot::Listening).await?.0 {
            Answer::Listens => Ok(()),
            other => Err(other.error()),
        }
    }

    /// Asks pid 1, or waits for what somebody asked who gave up. The caller has a turn.
    async fn wish(&self, wishes: &Wishes, word: &ToSlot) -> Result<Answered, ReachError> {
        // A pid 1 whose spawner was lost may answer for a moment more.
        if self.has_ended() {
            return Err(ReachError::Ended);
        }
        let unheard = wishes.lock().pop();
        let answer = match unheard {
            Some(answer) => answer,
            None => {
                let (answer, theirs) = channel()?;
                packet::send(self.control(), word, &[theirs.as_fd()]).map_err(unsent)?;
                answer
            }
        };
        let mut asked = Asked {
            wishes,
            answer: Some(Arc::clone(&answer)),
        };
        let heard = hear(&self.state(), answer).await;
        asked.answer = None;
        heard
    }

    /// Connects to a unix stream socket at an absolute `path` inside, following links as the function would itself, with
    /// the rights of the function. The socket is nonblocking and close-on-exec. As many as are wanted, four are made at a time.
    ///
    /// It does not wait for the socket to appear, nor for room in its queue: [`ReachError::NotThere`], [`ReachError::Refused`]
    /// and [`ReachError::Full`] are what a program that is still starting answers. It works on a frozen sandbox too, where nobody
    /// accepts the connection until it is thawed. When the future is dropped the connection is closed as soon as it is made.
    ///
    /// Each try is a process of the spawner's for a moment: pause a little between two.
    ///
    /// # Errors
    /// [`ReachError`].
    pub async fn connect_unix(&self, path: &str) -> Result<OwnedFd, ReachError> {
        if !path.starts_with('/') || path.len() > LONGEST_PATH || path.contains('\0') {
            return Err(ReachError::Path(path.to_owned()));
        }
        let turn = Arc::clone(&self.reach().connections).acquire_owned();
        let turn = turn.await.map_err(|_closed| ReachError::InCell)?;
        let (state, connection) = (self.state(), self.connection());
        let wish = ToSpawner::Visit {
            id: self.id(),
            path: path.to_owned(),
        };
        // A task that ends in its own time, also when nobody waits for it any more: its turn is over when it was answered.
        let visit = tokio::spawn(async move {
            let _turn = turn;
            let (answer, theirs) = channel()?;
            let beside = [theirs.as_fd()];
            tokio::select! {
                sent = connection.send(&wish, &beside) => sent.map_err(unsent)?,
                _ = state.gone() => return Err(ReachError::Ended),
            }
            // Else the answer would never end.
            drop(theirs);
            hear(&state, answer).await?.socket()
        });
        // It does not panic, and ends early only with the runtime.
        visit.await.unwrap_or(Err(ReachError::Ended))
    }
}

/// An answer, and what was beside it.
struct Answered(Answer, Vec<OwnedFd>);

impl Answered {
    fn socket(mut self) -> Result<OwnedFd, ReachError> {
        match self.0 {
            // Without the socket there was no room for it here.
            Answer::Made => self
                .1
                .pop()
                .ok_or_else(|| ReachError::Descriptors(io::Error::from_raw_os_error(libc::EMFILE))),
            other => Err(other.error()),
        }
    }
}

impl Answer {
    /// What it means to somebody who waited for another one.
    fn error(self) -> ReachError {
        match self {
            Answer::Failed(failure) => failure.into(),
            Answer::Unconnected(errno) => unconnected(errno),
            Answer::Untold => ReachError::Untold,
            Answer::Made | Answer::Listens => ReachError::Stage(StageError {
                stage: Stage::Message,
                errno: libc::EPROTO,
            }),
        }
    }
}

async fn hear(state: &SlotState, answer: Arc<OwnedFd>) -> Result<Answered, ReachError> {
    let answer = readiness::watch(answer, Interest::READABLE).map_err(ReachError::Descriptors)?;
    let message = tokio::select! {
        biased;
        message = answer.async_io(Interest::READABLE, |fd| packet::receive::<Answer>(fd.as_fd())) => message,
        _ = state.gone() => return Err(ReachError::Ended),
    };
    match message.map_err(ReachError::Descriptors)? {
        None => Err(ReachError::Ended),
        Some((answer, beside)) => Ok(Answered(answer, beside)),
    }
}

/// Our end, through which the answer comes, and the one that goes with the wish.
fn channel() -> Result<(Arc<OwnedFd>, OwnedFd), ReachError> {
    let (answer, theirs) = packet::pair().map_err(ReachError::Descriptors)?;
    nonblocking(&answer).map_err(ReachError::Descriptors)?;
    Ok((Arc::new(answer), theirs))
}

fn unsent(error: io::Error) -> ReachError {
    match error.kind() {
        // The latter where it ended with a wish that it had not read.
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => ReachError::Ended,
        _ => ReachError::Descriptors(error),
    }
}

fn unconnected(errno: i32) -> ReachError {
    match errno {
        libc::ENOENT | libc::ENOTDIR => ReachError::NotThere,
        libc::ECONNREFUSED => ReachError::Refused,
        libc::EAGAIN => ReachError::Full,
        libc::ENOTSOCK | libc::EPROTOTYPE => ReachError::NotASocket,
        libc::EACCES | libc::EPERM => ReachError::Forbidden,
        libc::ELOOP => ReachError::Links,
        libc::ENAMETOOLONG => ReachError::TooLong,
        other => ReachError::Other(io::Error::from_raw_os_error(other)),
    }
}
