//! Owns what all functions share: the launcher, the timer, the log sink, the metrics, and the map from names to fleets.
//!
//! Lock order: a shard of a map, then a fleet's state, then the innermost ones (timer, record). A fleet never looks into the map
//! while its own state is locked.
//!
//! Dropping the driver ends the timer and kills every instance.

pub(crate) mod bring_up;
mod cells;
mod demotion;
mod host_memory;
pub mod launcher;
mod ledger;
pub(crate) mod life;
mod listens;
mod nursery;
mod parked;
pub mod quarantine;
mod refill;
mod relief;
pub(crate) mod sandboxed;
mod stock;
pub(crate) mod timer;
mod watching;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use functions::FunctionName;
use prometheus::proto::MetricFamily;
use sandbox::Sightings;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use self::launcher::{Launcher, Usage};
use self::quarantine::Quarantine;
use self::timer::Timer;
use crate::fleet::Fleet;
use crate::log_tap::LogSink;
use crate::metrics::{Metrics, Prepared, Record, Sample, scrape};
use crate::reclaim::{Reclaim, Reclaimer};
use crate::shelf::Counts;
use crate::watch::Watcher;

/// Starts of one revision that may compute at the same time, for each processor.
const RAMP_PER_PROCESSOR: usize = 2;
/// How long the last instances may take to be gone after they were killed, or asked to end: the longest `http.grace`, and some.
const LAST_PATIENCE: Duration = Duration::from_secs(15);

/// See the module's head.
pub(crate) struct Driver {
    pub(crate) launcher: Arc<dyn Launcher>,
    pub(crate) sink: Arc<dyn LogSink>,
    pub(crate) metrics: Metrics,
    pub(crate) timer: Arc<Timer>,
    pub(crate) runtime: Handle,
    /// Cancelled when the driver is dropped; parent of every fleet's token.
    pub(crate) stop: CancellationToken,
    /// Rings while the pool closes and a fleet has nothing in flight any more.
    pub(crate) quiet: Notify,
    pub(crate) ramp: u32,
    pub(crate) reclaim: Reclaim,
    pub(crate) reclaimer: Reclaimer,
    pub(crate) watcher: Arc<Watcher>,
    pub(crate) quarantine: Arc<Quarantine>,
    /// Functions that have an instance, a waiting call or a minimum.
    fleets: DashMap<FunctionName, Arc<Fleet>>,
    /// Functions that were called.
    records: DashMap<FunctionName, Arc<Record>>,
    /// Fleets of removed functions that finish their calls.
    removed: Mutex<Vec<Weak<Fleet>>>,
    closing: AtomicBool,
}

impl Driver {
    /// Starts the timer. Needs a tokio runtime, in which everything the pool starts will run.
    pub(crate) fn start(
        launcher: Arc<dyn Launcher>,
        sink: Arc<dyn LogSink>,
        reclaim: Reclaim,
        watcher: Arc<Watcher>,
        sightings: Option<Sightings>,
    ) -> Arc<Driver> {
        let processors = std::thread::available_parallelism().map_or(1, |count| count.get());
        let driver = Driver {
            watcher,
            quarantine: Arc::default(),
            reclaim,
            reclaimer: Reclaimer::new(launcher.clone()),
            launcher,
            sink,
            metrics: Metrics::new(),
            timer: Arc::default(),
            runtime: Handle::current(),
            stop: CancellationToken::new(),
            quiet: Notify::new(),
            ramp: u32::try_from(processors * RAMP_PER_PROCESSOR).unwrap_or(u32::MAX),
            fleets: DashMap::new(),
            records: DashMap::new(),
            removed: Mutex::default(),
            closing: AtomicBool::new(false),
        };
        let (timer, stop) = (driver.timer.clone(), driver.stop.clone());
        driver
            .runtime
            .spawn(async move { stop.run_until_cancelled(timer.run()).await });
        let driver = Arc::new(driver);
        let (watched, stop) = (Arc::downgrade(&driver), driver.stop.clone());
        driver
            .runtime
            .spawn(async move { stop.run_until_cancelled(relief::watch_memory(watched)).await });
        let (watched, stop) = (Arc::downgrade(&driver), driver.stop.clone());
        driver
            .runtime
            .spawn(async move { stop.run_until_cancelled(demotion::watch_templates(watched)).await });
        let (judging, stop) = (Arc::downgrade(&driver), driver.stop.clone());
        driver
            .runtime
            .spawn(async move { stop.run_until_cancelled(watching::judge(judging, sightings)).await });
        let told = Arc::downgrade(&driver);
        driver.launcher.announce_to(Box::new(move |name| {
            let fleet = told.upgrade().and_then(|driver| driver.find(name));
            if let Some(fleet) = fleet {
                fleet.prepared();
            }
        }));
        driver
    }

    /// The fleet of a function, if it has one.
    pub(crate) fn find(&self, name: &FunctionName) -> Option<Arc<Fleet>> {
        self.fleets.get(name).map(|fleet| fleet.value().clone())
    }

    /// Whether the function was called, and not removed since.
    pub(crate) fn remembers(&self, name: &FunctionName) -> bool {
        self.records.contains_key(name)
    }

    /// The fleet of a function, made when it has none. `None` while the pool closes.
    pub(crate) fn fleet(self: &Arc<Driver>, name: &FunctionName) -> Option<Arc<Fleet>> {
        if let Some(fleet) = self.find(name) {
            return Some(fleet);
        }
        match self.fleets.entry(name.clone()) {
            Entry::Occupied(entry) => Some(entry.get().clone()),
            Entry::Vacant(entry) => {
                // Whoever closes sets this first and visits the fleets afterwards, so none slips through.
                if self.closing.load(Ordering::SeqCst) {
                    return None;
                }
                let record = self
                    .records
                    .entry(name.clone())
                    .or_insert_with(|| Arc::new(self.metrics.record(name)));
                let fleet = Fleet::new(self, record.clone());
                Some(entry.insert(fleet).clone())
            }
        }
    }

    /// Forgets a fleet that has nothing.
    pub(crate) fn drop_if_empty(&self, name: &FunctionName) {
        self.fleets.remove_if(name, |_, fleet| fleet.drop_if_empty());
    }

    /// The function is gone for good: its fleet finishes what it has, and its metrics end.
    pub(crate) fn remove(&self, name: &FunctionName) {
        let fleet = self.fleets.remove(name).map(|(_, fleet)| fleet);
        if let Some((_, record)) = self.records.remove(name) {
            self.metrics.remove(&record);
        }
        self.launcher.forget(name);
        if let Some(fleet) = fleet {
            fleet.retire(None);
            let mut removed = self.removed.lock().expect("nothing panics under the lock");
            removed.retain(|old| old.strong_count() > 0);
            removed.push(Arc::downgrade(&fleet));
        }
    }

    /// The fleets of a name: the one in use, and those of removed functions of that name.
    pub(crate) fn find_all(&self, name: &FunctionName) -> Vec<Arc<Fleet>> {
        let removed = self.removed.lock().expect("nothing panics under the lock");
        let removed = removed
            .iter()
            .filter_map(Weak::upgrade)
            .filter(|fleet| fleet.record.name == *name);
        removed.chain(self.find(name)).collect()
    }

    /// Every fleet, those of removed functions included.
    pub(crate) fn all(&self) -> Vec<Arc<Fleet>> {
        let mut all: Vec<_> = self.fleets.iter().map(|fleet| fleet.value().clone()).collect();
        let removed = self.removed.lock().expect("nothing panics under the lock");
        all.extend(removed.iter().filter_map(Weak::upgrade));
        all
    }

    /// Lets no call in, waits for those that are in flight until `deadline`, then kills everything and waits until it is gone.
    pub(crate) async fn drain(&self, deadline: Instant) {
        self.closing.store(true, Ordering::SeqCst);
        let fleets = self.all();
        for fleet in &fleets {
            fleet.close();
        }
        let quiet = async {
            while fleets.iter().any(|fleet| fleet.in_flight() > 0) {
                self.quiet.notified().await;
            }
        };
        if tokio::time::timeout_at(deadline.into(), quiet).await.is_err() {
            let left: usize = fleets.iter().map(|fleet| fleet.in_flight()).sum();
            tracing::warn!(
                calls = left,
                "calls are cut off because they did not end before the deadline"
            );
        }
        let gone: Vec<_> = fleets.iter().flat_map(|fleet| fleet.shut()).collect();
        let buried = async {
            for gone in &gone {
                gone.cancelled().await;
            }
        };
        if tokio::time::timeout(LAST_PATIENCE, buried).await.is_err() {
            let left = gone.iter().filter(|gone| !gone.is_cancelled()).count();
            tracing::warn!(instances = left, "instances were killed and are not gone yet");
        }
    }

    /// Gathers all metrics of the pool. Reads files of the kernel for each instance.
    pub(crate) fn scrape(&self) -> Vec<MetricFamily> {
        let records: Vec<_> = self.records.iter().map(|record| record.value().clone()).collect();
        let sample = |record: Arc<Record>| {
            let nothing = Usage {
                memory_bytes: Some(0),
                memory_peak: None,
                pids: Some(0),
            };
            let (counts, usage, ahead_memory) = match self.find(&record.name) {
                Some(fleet) => (fleet.counts(), fleet.usage().unwrap_or(nothing), fleet.ahead_memory()),
                None => (Counts::default(), nothing, Some(0)),
            };
            let cpu = self.launcher.cpu(&record.name);
            Sample {
                record,
                counts,
                usage,
                ahead_memory,
                cpu,
            }
        };
        let samples: Vec<_> = records.into_iter().map(sample).collect();
        let prepared = Prepared {
            slots: self.launcher.slots_standing(),
            templates: self.launcher.templates_standing(),
            parked: self.launcher.parked_standing(),
        };
        let mut families = scrape(&self.metrics, &samples, prepared);
        families.extend(self.watcher.gather());
        families.extend(self.launcher.gather());
        families
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
