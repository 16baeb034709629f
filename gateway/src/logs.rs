//! What functions print, kept per function and handed out again.
//!
//! ```text
//! pool, exchange --> bounded queue --> one thread --> logs/NAME/current.jsonl (4 MiB) --> previous.jsonl
//!                        |                 |
//!                        +-- full: dropped +--> followers (a follower that is too slow misses lines, and is told)
//! ```
//!
//! Whoever records never waits: when the queue is full the line is dropped and counted. One thread owns all files, and
//! answers questions in the order in which lines came, so a question sees every line recorded before it. Nothing is synced to
//! disk: a crash of the machine may lose the last lines, a kill of the process only what is still queued. When the last
//! handle is dropped, the thread writes what is queued and ends.

mod file;
mod line;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};

use functions::FunctionName;
use tokio::sync::{broadcast, oneshot};

use file::LogFile;
pub use line::Line;

/// Lines that may wait for the thread.
const QUEUE_LINES: usize = 4096;
/// Bytes of text that may wait for the thread.
const QUEUE_BYTES: usize = 8 * 1024 * 1024;
/// Lines that a follower may lag behind.
const FOLLOW_LINES: usize = 1024;
/// Log files that are open at one time.
const OPEN_FILES: usize = 64;

/// A handle to the logs. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Logs {
    sender: SyncSender<Command>,
    queued: Arc<AtomicUsize>,
    dropped: Arc<AtomicU64>,
}

/// What of a function's log is asked for.
#[derive(Clone, Debug)]
pub struct Query {
    /// The function.
    pub function: FunctionName,
    /// Only lines of this request.
    pub request: Option<String>,
    /// At most this many of the newest lines.
    pub tail: usize,
}

/// The answer to a [`Query`].
#[derive(Debug)]
pub struct Answer {
    /// The lines, oldest first, as JSON without a line end.
    pub lines: Vec<String>,
    /// Every line of every function recorded after those.
    pub follow: broadcast::Receiver<Arc<Line>>,
}

enum Command {
    Record(Line),
    Ask(Query, oneshot::Sender<io::Result<Answer>>),
    Remove(FunctionName, oneshot::Sender<io::Result<()>>),
}

/// The thread that writes is gone.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// The thread ended: the server is stopping.
    #[error("the log writer has stopped")]
    Stopped,
    /// A file can't be read or removed.
    #[error("the log files can't be read or removed")]
    Files(#[source] io::Error),
}

impl Logs {
    /// Starts the writer; `dir` is made when it does not exist.
    pub fn open(dir: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let (sender, receiver) = sync_channel(QUEUE_LINES);
        let (queued, dropped) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicU64::new(0)));
        let writer = Writer {
            dir: dir.to_owned(),
            files: HashMap::new(),
            clock: 0,
            followers: broadcast::channel(FOLLOW_LINES).0,
            queued: queued.clone(),
            dropped: dropped.clone(),
        };
        std::thread::Builder::new().name("logs".to_owned()).spawn(move || writer.run(&receiver))?;
        Ok(Self { sender, queued, dropped })
    }

    /// Records a line, or drops it when the queue is full. Never waits.
    pub fn record(&self, line: Line) {
        let size = line.text.len();
        if self.queued.fetch_add(size, Ordering::Relaxed) + size > QUEUE_BYTES && size > 0 {
            self.queued.fetch_sub(size, Ordering::Relaxed);
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        match self.sender.try_send(Command::Record(line)) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.queued.fetch_sub(size, Ordering::Relaxed);
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// How many lines were dropped since the start, because the queue was full or the disk was.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// The newest lines of a function, and what follows them, without a gap and without a repetition.
    pub async fn ask(&self, query: Query) -> Result<Answer, LogsError> {
        let (sender, receiver) = oneshot::channel();
        self.send(Command::Ask(query, sender)).await?;
        receiver.await.map_err(|_| LogsError::Stopped)?.map_err(LogsError::Files)
    }

    /// Removes a function's log.
    pub async fn remove(&self, function: FunctionName) -> Result<(), LogsError> {
        let (sender, receiver) = oneshot::channel();
        self.send(Command::Remove(function, sender)).await?;
        receiver.await.map_err(|_| LogsError::Stopped)?.map_err(LogsError::Files)
    }

    async fn send(&self, command: Command) -> Result<(), LogsError> {
        // A question may wait for room in the queue, but not on a thread that serves requests.
        let sender = self.sender.clone();
        let sent = tokio::task::spawn_blocking(move || sender.send(command)).await;
        if matches!(sent, Ok(Ok(()))) { Ok(()) } else { Err(LogsError::Stopped) }
    }
}

/// The thread's state.
struct Writer {
    dir: PathBuf,
    files: HashMap<FunctionName, (u64, LogFile)>,
    /// Counts uses of files, so that the one unused for longest is closed.
    clock: u64,
    followers: broadcast::Sender<Arc<Line>>,
    queued: Arc<AtomicUsize>,
    dropped: Arc<AtomicU64>,
}

impl Writer {
    fn run(mut self, commands: &Receiver<Command>) {
        loop {
            let command = match commands.try_recv() {
                Ok(command) => command,
                Err(TryRecvError::Disconnected) => break,
                Err(TryRecvError::Empty) => {
                    // Nothing is waiting: now is the time to let readers of the files see everything.
                    self.flush();
                    match commands.recv() {
                        Ok(command) => command,
                        Err(_) => break,
                    }
                }
            };
            match command {
                Command::Record(line) => self.write(line),
                Command::Ask(query, reply) => {
                    let _ = reply.send(self.answer(&query));
                }
                Command::Remove(function, reply) => {
                    self.files.remove(&function);
                    let _ = reply.send(file::remove(&self.dir, &function));
                }
            }
        }
        self.flush();
    }

    fn write(&mut self, line: Line) {
        self.queued.fetch_sub(line.text.len(), Ordering::Relaxed);
        let written = self.file(&line.function).and_then(|file| file.append(&line.json()));
        if let Err(error) = written {
            // The file may hold half a line now; it is opened anew for the next one, which repairs that.
            self.files.remove(&line.function);
            if self.dropped.fetch_add(1, Ordering::Relaxed) == 0 {
                tracing::warn!(%error, function = %line.function, "a log line can't be written; further ones are only counted");
            }
        }
        // An error means that nobody follows.
        let _ = self.followers.send(Arc::new(line));
    }

    fn file(&mut self, function: &FunctionName) -> io::Result<&mut LogFile> {
        self.clock += 1;
        if !self.files.contains_key(function) {
            if self.files.len() >= OPEN_FILES {
                let oldest = self.files.iter().min_by_key(|(_, (used, _))| *used).map(|(name, _)| name.clone());
                if let Some((_, mut closing)) = oldest.and_then(|name| self.files.remove(&name)) {
                    closing.flush()?;
                }
            }
            self.files.insert(function.clone(), (0, LogFile::open(&self.dir, function)?));
        }
        let (used, file) = self.files.get_mut(function).expect("inserted above when it was missing");
        *used = self.clock;
        Ok(file)
    }

    fn answer(&mut self, query: &Query) -> io::Result<Answer> {
        if let Some((_, file)) = self.files.get_mut(&query.function) {
            file.flush()?;
        }
        let lines = file::tail(&self.dir, query)?;
        Ok(Answer { lines, follow: self.followers.subscribe() })
    }

    fn flush(&mut self) {
        let mut failed = Vec::new();
        for (name, (_, file)) in &mut self.files {
            if file.flush().is_err() {
                failed.push(name.clone());
            }
        }
        for name in failed {
            self.files.remove(&name);
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
