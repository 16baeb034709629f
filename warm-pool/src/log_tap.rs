//! Reads what an instance prints, always, so that no function ever waits for somebody to read its log.
//!
//! A tap owns the read end of the instance's one log pipe. A task reads it whenever something is there; at the end of an
//! invocation the lease reads what is left without waiting, before the attribution changes. Both do so under one lock, so lines keep
//! their order. The task ends when the last writer has closed the pipe; dropping the tap does not end it earlier.
//!
//! Lines belong to the request in flight when the instance has one lane, and to none otherwise. Of each invocation at most
//! [`INVOCATION_LIMIT`] bytes are reported, then one line `[truncated]`; the rest is read, counted and thrown away.

mod lines;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use functions::BootId;
use functions::{FunctionName, RevisionNumber};
use nix::fcntl::{FcntlArg, fcntl};
use prometheus::IntCounter;
use tokio::net::unix::pipe::Receiver;

use self::lines::{Lines, shown};
use crate::shelf::InstanceId;

/// Bytes of one invocation that are reported: 1 MiB.
pub const INVOCATION_LIMIT: u64 = 1 << 20;

const READ_AT_ONCE: usize = 8 << 10;

/// One line of a function's output.
#[derive(Clone, Copy, Debug)]
pub struct LogRecord<'a> {
    /// The function that printed it.
    pub function: &'a FunctionName,
    /// Its revision.
    pub revision: RevisionNumber,
    /// The instance's number within the function.
    pub instance: InstanceId,
    /// The instance's boot id; `None` while the handler is being loaded.
    pub boot_id: Option<BootId>,
    /// The request in flight; `None` between invocations and for instances that run several at once.
    pub request_id: Option<&'a str>,
    /// When it was read.
    pub at: SystemTime,
    /// The line without its end, at most 16 KiB of what was printed, with control characters escaped.
    pub text: &'a str,
}

/// Where the lines go.
pub trait LogSink: Send + Sync + 'static {
    /// Takes one line. Called in order for each instance, under the tap's lock and on the request path: it must not wait.
    fn record(&self, record: &LogRecord<'_>);
}

/// Whose log it is.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) function: FunctionName,
    pub(crate) revision: RevisionNumber,
    pub(crate) instance: InstanceId,
    /// Whether lines can be attributed to the request in flight: the instance has one lane.
    pub(crate) attributes: bool,
}

/// See the module's head.
#[derive(Clone)]
pub(crate) struct LogTap {
    tap: Arc<Tap>,
}

struct Tap {
    pipe: Receiver,
    /// The most that can be in the pipe, so that a drain ends although somebody goes on writing.
    capacity: usize,
    source: Source,
    sink: Arc<dyn LogSink>,
    dropped: IntCounter,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    boot_id: Option<BootId>,
    request: Option<Arc<str>>,
    lines: Lines,
    /// Bytes reported since the last invocation began.
    reported: u64,
    truncated: bool,
    chunk: Vec<u8>,
}

/// What one read of the pipe found.
enum Found {
    Bytes(usize),
    Nothing,
    End,
}

impl LogTap {
    /// Takes over the non-blocking read end of a pipe and starts the task that reads it. Needs a tokio runtime.
    pub(crate) fn open(
        pipe: OwnedFd,
        source: Source,
        sink: Arc<dyn LogSink>,
        dropped: IntCounter,
    ) -> io::Result<LogTap> {
        let capacity = fcntl(&pipe, FcntlArg::F_GETPIPE_SZ)
            .ok()
            .and_then(|size| usize::try_from(size).ok());
        let tap = Arc::new(Tap {
            pipe: Receiver::from_owned_fd(pipe)?,
            capacity: capacity.unwrap_or(64 << 10),
            source,
            sink,
            dropped,
            state: Mutex::default(),
        });
        tokio::spawn(read_always(tap.clone()));
        Ok(LogTap { tap })
    }

    /// Lines name this process from now on.
    pub(crate) fn ready(&self, boot_id: BootId) {
        self.drain_into(|state| {
            state.boot_id = Some(boot_id);
            state.begin(None);
        });
    }

    /// An invocation begins: lines belong to it from now on.
    pub(crate) fn begin(&self, request_id: &str) {
        let request = self.tap.source.attributes.then(|| Arc::from(request_id));
        self.tap.lock().begin(request);
    }

    /// An invocation ended and everything it printed is in the pipe: reads that, then lines belong to nobody.
    pub(crate) fn end(&self) {
        self.drain_into(|state| state.request = None);
    }

    /// Reads what is in the pipe, without waiting.
    pub(crate) fn drain(&self) {
        self.drain_into(|_| ());
    }

    fn drain_into(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.tap.lock();
        let mut left = self.tap.capacity;
        while left > 0
            && let Found::Bytes(count) = self.tap.read_once(&mut state, read_now)
        {
            left = left.saturating_sub(count);
        }
        self.tap.flush(&mut state);
        change(&mut state);
    }
}

impl State {
    fn begin(&mut self, request: Option<Arc<str>>) {
        self.request = request;
        self.reported = 0;
        self.truncated = false;
    }
}

impl Tap {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("a log sink does not panic")
    }

    /// Reads once and reports the lines that are complete. `read` is a read that does not wait.
    fn read_once(&self, state: &mut State, read: impl FnOnce(&Receiver, &mut [u8]) -> io::Result<usize>) -> Found {
        let mut chunk = std::mem::take(&mut state.chunk);
        chunk.resize(READ_AT_ONCE, 0);
        let found = match read(&self.pipe, &mut chunk) {
            Ok(0) => Found::End,
            Ok(count) => Found::Bytes(count),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Found::Nothing
            }
            Err(_) => Found::End,
        };
        if let Found::Bytes(count) = found {
            self.accept(state, &chunk[..count]);
        }
        state.chunk = chunk;
        found
    }

    fn accept(&self, state: &mut State, bytes: &[u8]) {
        let left = usize::try_from(INVOCATION_LIMIT - state.reported).unwrap_or(usize::MAX);
        let (taken, dropped) = bytes.split_at(bytes.len().min(left));
        state.reported += taken.len() as u64;
        let mut lines = std::mem::take(&mut state.lines);
        lines.push(taken, |line| self.report(state, &shown(line)));
        state.lines = lines;
        if !dropped.is_empty() {
            self.dropped.inc_by(dropped.len() as u64);
            if !state.truncated {
                self.flush(state);
                self.report(state, "[truncated]");
                state.truncated = true;
            }
        }
    }

    fn flush(&self, state: &mut State) {
        let mut lines = std::mem::take(&mut state.lines);
        lines.flush(|line| self.report(state, &shown(line)));
        state.lines = lines;
    }

    fn report(&self, state: &State, text: &str) {
        self.sink.record(&LogRecord {
            function: &self.source.function,
            revision: self.source.revision,
            instance: self.source.instance,
            boot_id: state.boot_id,
            request_id: state.request.as_deref(),
            at: SystemTime::now(),
            text,
        });
    }
}

/// Asks the kernel itself: the runtime learns of new bytes only when it polls the next time, which is after the end of the
/// invocation was read.
fn read_now(pipe: &Receiver, chunk: &mut [u8]) -> io::Result<usize> {
    nix::unistd::read(pipe, chunk).map_err(io::Error::from)
}

async fn read_always(tap: Arc<Tap>) {
    while let Ok(()) = tap.pipe.readable().await {
        let found = tap.read_once(&mut tap.lock(), |pipe, chunk| pipe.try_read(chunk));
        match found {
            // Others get their turn even when a function prints without end.
            Found::Bytes(_) => tokio::task::yield_now().await,
            Found::Nothing => {}
            Found::End => break,
        }
    }
    let mut state = tap.lock();
    tap.flush(&mut state);
}
