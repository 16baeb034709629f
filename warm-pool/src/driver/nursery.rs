//! One template that stands, with slots of its cell that wait for its forks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use functions::Revision;
use prometheus::IntCounter;
use sandbox::{Cell, CellSlot, Holdings, LaunchError, Obituary, Plan, Sandbox};
use serde::Deserialize;
use tokio::sync::Notify;

use super::bring_up::init_time;
use super::cells::Cells;
use super::stock::{Stands, Stock};
use crate::log_tap::{LogTap, Source};
use crate::policy::{FORKS_OF_A_TEMPLATE, LIFE_OF_A_TEMPLATE, MOST_OF_A_CELL, cell_slots_ahead};
use crate::shelf::InstanceId;
use crate::watch::Watcher;

/// How often the number of slots is looked at without anybody having taken one.
const LOOK: Duration = Duration::from_secs(5);
/// The pause after a slot could not be built.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// How long a template may take to hear of a slot, or to fork: one that takes longer answers nobody any more.
const PATIENCE: Duration = Duration::from_secs(10);

/// See the module's head.
pub(super) struct Nursery {
    cell: Arc<Cell>,
    stock: Mutex<Stock<CellSlot>>,
    taken: Notify,
    /// Forks that were ordered, and those that it says it made.
    forks: AtomicU64,
    made: AtomicU64,
    since: Instant,
    /// How long it took to make.
    raised_in: Duration,
    _log: LogTap,
    _watched: Watched,
}

/// A template that is watched, until this is dropped.
struct Watched {
    watcher: Arc<Watcher>,
    id: u64,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.watcher.close(self.id);
    }
}

/// Why a template is not kept any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// It has forked often, or is old.
    DoneItsTime,
    /// It ended by itself, said nonsense, or does not answer.
    Died,
}

/// What a template says.
#[derive(Deserialize)]
#[serde(untagged)]
enum Word {
    /// The function is loaded; the first files that this wrote.
    Ready {
        #[serde(rename = "ready")]
        _ready: bool,
        written: Vec<String>,
    },
    /// It can't be loaded.
    Failed { failed: String },
    /// It forked into a slot, or failed with the negative of this error.
    Forked {
        #[serde(rename = "forked")]
        _slot: u64,
        pid: i64,
    },
}

impl Stands for CellSlot {
    fn stands(&self) -> bool {
        CellSlot::stands(self)
    }
}

/// Initialises a template.
///
/// # Errors
/// Why the function has none, as a sentence for its owner.
pub(super) async fn raise(cells: &Cells, revision: &Revision, plan: &Plan) -> Result<Nursery, String> {
    let began = Instant::now();
    let slots = revision.settings.scale.max.saturating_add(MOST_OF_A_CELL as u32);
    let raised = cells.spawner.cell(plan, slots).await;
    let mut cell = raised.map_err(|error| error.to_string())?;
    let log = cell.take_log().ok_or("it has no log")?;
    let source = Source {
        function: revision.name.clone(),
        revision: revision.number,
        instance: InstanceId::TEMPLATE,
        attributes: false,
    };
    let dropped = IntCounter::new("dropped", "Lines of one template").map_err(|error| error.to_string())?;
    let log = LogTap::open(log, source, cells.sink.clone(), dropped).map_err(|error| error.to_string())?;
    cells.ledger.open(&revision.name, cell.base(), Duration::ZERO);
    cells.watcher.open(revision, cell.base());
    let watched = Watched {
        watcher: cells.watcher.clone(),
        id: cell.id(),
    };
    let word = tokio::time::timeout(init_time(revision), cell.word()).await;
    log.drain();
    let written = match word {
        Err(_) => return Err("it is not initialised within the time for that".to_owned()),
        Ok(None) => return Err("its template ended while it was initialised".to_owned()),
        Ok(Some(bytes)) => match serde_json::from_slice(&bytes) {
            Ok(Word::Ready { written, .. }) => written,
            Ok(Word::Failed { failed }) => return Err(format!("its template can't be initialised: {failed}")),
            Ok(Word::Forked { .. }) | Err(_) => return Err("its template said something unexpected".to_owned()),
        },
    };
    let holdings = cell.inspect().await.map_err(|error| error.to_string())?;
    match unfit(&holdings, &written) {
        Some(why) => Err(why),
        None => Ok(Nursery {
            cell: Arc::new(cell),
            stock: Mutex::new(Stock::new(cell_slots_ahead)),
            taken: Notify::new(),
            forks: AtomicU64::new(0),
            made: AtomicU64::new(0),
            since: Instant::now(),
            raised_in: began.elapsed(),
            _log: log,
            _watched: watched,
        }),
    }
}

/// Why a template with such holdings must not be forked.
fn unfit(holdings: &Holdings, written: &[String]) -> Option<String> {
    if holdings.threads != 1 {
        return Some(format!(
            "{} threads run after its import, and forks would lack them",
            holdings.threads
        ));
    }
    // Harmless, however often it is open.
    if let Some(open) = holdings.descriptors.iter().find(|target| *target != "/dev/null") {
        return Some(format!("its import leaves {open} open, which forks would share"));
    }
    if let Some(shared) = holdings.shared.first() {
        return Some(format!("its import maps {shared} to write in, which forks would share"));
    }
    let file = written.first()?;
    Some(format!(
        "its import writes {file} to /tmp or /dev/shm, which forks would lack"
    ))
}

impl Nursery {
    /// A fork in a slot of its own, with the cell that it lives in.
    pub(super) async fn fork(&self, rehearse: bool) -> Result<(Sandbox, Arc<Cell>), LaunchError> {
        let standing = self.lock().take(Instant::now());
        self.taken.notify_one();
        let slot = match standing {
            Some(slot) => slot,
            None => self.slot().await?,
        };
        // Counted first: the answer may be faster than this.
        self.forks.fetch_add(1, Ordering::Relaxed);
        let forked = slot.fork(rehearse);
        if forked.is_err() {
            self.forks.fetch_sub(1, Ordering::Relaxed);
        }
        Ok((forked?, self.cell.clone()))
    }

    async fn slot(&self) -> Result<CellSlot, LaunchError> {
        let slot = tokio::time::timeout(PATIENCE, self.cell.slot()).await;
        slot.unwrap_or_else(|_| {
            // A slot stands when the template can be told of it: this one hears nothing.
            self.cell.base().kill();
            Err(LaunchError::Killed(Obituary::default()))
        })
    }

    /// Bytes that the template holds; `None` where nothing counts them. Reads a file of the kernel.
    pub(super) fn memory(&self) -> Option<u64> {
        self.cell.base().usage().memory_bytes
    }

    /// How long it took to make.
    pub(super) fn raised_in(&self) -> Duration {
        self.raised_in
    }

    /// Keeps slots standing until the template has done its time, is gone or of no use.
    pub(super) async fn keep(&self) -> Ending {
        tokio::select! {
            () = self.listen() => Ending::Died,
            () = self.watch() => Ending::Died,
            ending = self.refill() => ending,
        }
    }

    /// Returns when the template is of no use any more. It is foreign code: what it says is counted, and the first nonsense is
    /// the last.
    async fn listen(&self) {
        while let Some(word) = self.cell.word().await {
            match serde_json::from_slice(&word) {
                Ok(Word::Forked { pid: 1.., .. }) => {
                    let made = self.made.fetch_add(1, Ordering::Relaxed) + 1;
                    if made > self.forks.load(Ordering::Relaxed) {
                        tracing::warn!(cell = self.cell.id(), "a template claims forks that nobody ordered");
                        return;
                    }
                }
                Ok(Word::Forked { pid, .. }) => {
                    let error = std::io::Error::from_raw_os_error(i32::try_from(-pid).unwrap_or_default());
                    tracing::warn!(cell = self.cell.id(), %error, "a template could not fork");
                    return;
                }
                _ => {
                    tracing::warn!(cell = self.cell.id(), "a template said something unexpected");
                    return;
                }
            }
        }
    }

    /// Returns when an order to fork was not answered in time.
    async fn watch(&self) {
        loop {
            let ordered = self.forks.load(Ordering::Relaxed);
            tokio::time::sleep(PATIENCE).await;
            if self.made.load(Ordering::Relaxed) < ordered {
                tracing::warn!(cell = self.cell.id(), "a template does not fork any more");
                return;
            }
        }
    }

    async fn refill(&self) -> Ending {
        loop {
            if self.forks.load(Ordering::Relaxed) >= FORKS_OF_A_TEMPLATE || self.since.elapsed() >= LIFE_OF_A_TEMPLATE {
                return Ending::DoneItsTime;
            }
            let (missing, surplus) = self.lock().balance(Instant::now());
            drop(surplus);
            if missing == 0 {
                // Either way the numbers are looked at anew.
                let _passed = tokio::time::timeout(LOOK, self.taken.notified()).await;
                continue;
            }
            let pause = self.lock().pause(Instant::now());
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
                continue;
            }
            let began = Instant::now();
            match self.slot().await {
                Ok(slot) => self.lock().add(slot, Instant::now(), began.elapsed()),
                Err(error) => {
                    tracing::warn!(cell = self.cell.id(), %error, "no slot could be built for a fork");
                    tokio::time::sleep(AFTER_FAILURE).await;
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Stock<CellSlot>> {
        self.stock.lock().expect("nothing panics under the lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_that_holds_what_forks_would_share_or_lack_is_unfit_and_says_why() {
        let fit = Holdings {
            threads: 1,
            descriptors: vec!["/dev/null".to_owned()],
            shared: Vec::new(),
        };
        assert_eq!(unfit(&fit, &[]), None);
        let says = |holdings: &Holdings, written: &[String], what: &str| {
            assert!(unfit(holdings, written).is_some_and(|why| why.contains(what)), "{what}");
        };
        says(
            &Holdings {
                threads: 3,
                ..fit.clone()
            },
            &[],
            "3 threads",
        );
        let open = Holdings {
            descriptors: vec!["/dev/null".to_owned(), "socket:[7]".to_owned()],
            ..fit.clone()
        };
        says(&open, &[], "socket:[7] open");
        let shared = Holdings {
            shared: vec!["/dev/zero".to_owned()],
            ..fit.clone()
        };
        says(&shared, &[], "maps /dev/zero");
        says(&fit, &["cache".to_owned()], "writes cache");
    }
}
