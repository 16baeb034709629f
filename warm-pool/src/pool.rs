//! The pool as its callers see it.

use std::sync::Arc;
use std::time::Instant;

use functions::runtimes::HostRuntimes;
use functions::{BootId, FunctionName, Revision, RevisionNumber};
use prometheus::proto::MetricFamily;
use sandbox::Spawner;
use tokio::io::AsyncWrite;

use crate::deploy::build::{BuildError, build};
use crate::deploy::check::{CheckError, CheckReport, check};
use crate::driver::Driver;
use crate::driver::launcher::{Launcher, StartClass};
use crate::driver::sandboxed::Sandboxed;
use crate::egress::{Cidr, Egress};
use crate::fate::AcquireError;
use crate::lease::Lease;
use crate::log_tap::LogSink;
use crate::reclaim::Reclaim;
use crate::start::EvictScope;
use crate::view::{FunctionPoolView, KeptView};
use crate::watch::{Alerts, Rules, Watcher};

/// What a pool is made of.
pub struct PoolConfig {
    /// Who makes the sandboxes. Its residents must have `stdio` among them.
    pub spawner: Spawner,
    /// The interpreters that functions can use.
    pub runtimes: HostRuntimes,
    /// Where the output of functions goes.
    pub logs: Arc<dyn LogSink>,
    /// When the memory of instances that nobody calls is given back.
    pub reclaim: Reclaim,
    /// What is watched, and what is done about it. The spawner has to watch what these ask for: [`sandbox::SpawnerConfig::watch`].
    pub rules: Rules,
    /// Ranges of addresses that functions may reach although they are not public.
    pub egress_allow: Vec<Cidr>,
}

/// Who gets which sandbox. Clones share one pool; when the last one is dropped, every instance is killed.
#[derive(Clone)]
pub struct Pool {
    driver: Arc<Driver>,
}

impl Pool {
    /// A pool whose instances run in sandboxes. Needs a tokio runtime, in which everything it starts will run.
    pub fn start(config: PoolConfig) -> Pool {
        let watcher = Watcher::new(config.rules);
        let sightings = config.spawner.take_sightings();
        let launcher = Sandboxed::new(
            config.spawner,
            config.runtimes,
            config.logs.clone(),
            watcher.clone(),
            Egress::new(&config.egress_allow),
        );
        let driver = Driver::start(Arc::new(launcher), config.logs, config.reclaim, watcher, sightings);
        Pool { driver }
    }

    /// A pool over any launcher, which sends what functions print to `sink`. Needs a tokio runtime, in which everything it starts will run.
    pub fn with_launcher(launcher: Arc<dyn Launcher>, sink: Arc<dyn LogSink>) -> Pool {
        let watcher = Watcher::new(Rules::default());
        Pool {
            driver: Driver::start(launcher, sink, Reclaim::default(), watcher, None),
        }
    }

    /// The last alerts, and those to come.
    pub fn alerts(&self) -> &Alerts {
        &self.driver.watcher.alerts
    }

    /// The rules that are looked at, and those that are turned off.
    pub fn rules(&self) -> &Rules {
        self.driver.watcher.rules()
    }

    /// The right to send one invocation to an instance of `revision`. With a warm instance waiting this returns without waiting for
    /// anything; otherwise it waits, in the order of arrival, until a lane is free or an instance has started for it.
    ///
    /// Dropping the future takes the call out of the queue; a lease that was on its way goes back.
    ///
    /// # Errors
    /// See [`AcquireError`]. At `deadline`, and not before, the answer is [`AcquireError::Deadline`].
    pub async fn acquire(&self, revision: &Arc<Revision>, deadline: Instant) -> Result<Lease, AcquireError> {
        loop {
            let Some(fleet) = self.driver.fleet(&revision.name) else {
                return Err(AcquireError::Closing);
            };
            // A fleet that became empty meanwhile is out of the map already, so the next look finds another one.
            if let Ok(outcome) = fleet.acquire(revision, deadline).await {
                return outcome;
            }
        }
    }

    /// Says that `revision` is the live one: older revisions drain, and its minimum of instances is started and kept. To be called
    /// after each deploy, and for every live revision when the server starts. For a revision that keeps none without calls it costs
    /// nothing.
    pub fn provision(&self, revision: &Arc<Revision>) {
        let keeps = crate::fleet::scale_of(revision).keeps_some();
        loop {
            let fleet = match self.driver.find(&revision.name) {
                Some(fleet) => Some(fleet),
                None if keeps => self.driver.fleet(&revision.name),
                None => None,
            };
            match fleet {
                None => return,
                Some(fleet) => {
                    if fleet.provision(revision).is_ok() {
                        return;
                    }
                }
            }
        }
    }

    /// Says how many instances revisions of a function keep although nobody calls them, live or not: these, at most
    /// [`scale.max`](functions::Settings) each, and no others. A count of 0 is not to be in it. It holds beside the minimum of the `live`
    /// revision, of which the larger number counts, until it is said anew or the function is removed.
    pub fn keep(&self, live: &Revision, wanted: &[(Arc<Revision>, u32)]) {
        loop {
            let fleet = match self.driver.find(&live.name) {
                Some(fleet) => Some(fleet),
                None if wanted.is_empty() => None,
                None => self.driver.fleet(&live.name),
            };
            match fleet {
                None => return,
                Some(fleet) => {
                    if fleet.keep(live.number, wanted).is_ok() {
                        return;
                    }
                }
            }
        }
    }

    /// What stands of what [`keep`](Pool::keep) asked for.
    pub fn kept(&self, name: &FunctionName) -> Vec<KeptView> {
        self.driver.find(name).map(|fleet| fleet.kept()).unwrap_or_default()
    }

    /// Every revision but `keep`, and those of which [`keep`](Pool::keep) keeps some, drains: its idle instances go now, its busy ones
    /// when their calls are done, and calls that wait for it are still served. `None` says that the function was removed: new calls of
    /// what is known of it are refused, and its metrics end.
    pub fn retire(&self, name: &FunctionName, keep: Option<RevisionNumber>) {
        match keep {
            None => self.driver.remove(name),
            Some(_) => {
                if let Some(fleet) = self.driver.find(name) {
                    fleet.retire(keep);
                }
            }
        }
    }

    /// Kills instances of a function, also busy ones, whose callers then read [`Fate::Evicted`](crate::Fate::Evicted) in the obituary.
    /// Waits until nothing of them is left and returns their number. Calls that wait stay in the queue and get new instances.
    ///
    /// Dropping the future stops the waiting; the instances are killed all the same.
    pub async fn evict(&self, name: &FunctionName, scope: EvictScope) -> usize {
        if scope == EvictScope::All {
            self.driver.launcher.forget_prepared(name);
        }
        let gone: Vec<_> = self
            .driver
            .find_all(name)
            .iter()
            .flat_map(|fleet| fleet.evict(scope))
            .collect();
        for gone in &gone {
            gone.cancelled().await;
        }
        gone.len()
    }

    /// Whether instances could be started at this moment. `false` while the process that makes sandboxes is being restarted.
    pub fn is_up(&self) -> bool {
        self.driver.launcher.is_up()
    }

    /// Loads the handler of a revision in an ordinary sandbox of it, and kills that.
    ///
    /// # Errors
    /// [`CheckError`] says why the handler can't be loaded, with everything it printed.
    pub async fn check(&self, revision: &Revision) -> Result<CheckReport, CheckError> {
        check(self.driver.launcher.as_ref(), revision).await
    }

    /// Runs a build, a revision that `functions::runtimes::build` made, and writes its archive of at most `limit` bytes to
    /// `into`.
    ///
    /// # Errors
    /// [`BuildError`], with everything that it printed.
    pub async fn build(
        &self,
        revision: &Revision,
        limit: u64,
        into: &mut (impl AsyncWrite + Unpin),
    ) -> Result<(), BuildError> {
        build(self.driver.launcher.as_ref(), revision, limit, into).await
    }

    /// Shuts the pool down: new calls are refused, those in flight and in the queue may end until `deadline`, then everything is
    /// killed. Returns when nothing is left.
    pub async fn drain(&self, deadline: Instant) {
        self.driver.drain(deadline).await;
    }

    /// The instances and the queue of a function; `None` when it has neither. Reads files of the kernel for each instance, so async
    /// callers go through their blocking pool.
    pub fn describe(&self, name: &FunctionName) -> Option<FunctionPoolView> {
        self.driver.find(name).map(|fleet| fleet.describe())
    }

    /// The most bytes of memory that an instance ever had in use, what is cached and what lies in its `/tmp` included. `None` when it is gone,
    /// or nothing counts that. Reads a file of the kernel, so async callers go through their blocking pool.
    pub fn memory_peak(&self, name: &FunctionName, instance: BootId) -> Option<u64> {
        self.driver.find(name)?.memory_peak(instance)
    }

    /// How instances of `revision` are started, and why not otherwise.
    pub fn class(&self, revision: &Revision) -> StartClass {
        self.driver.launcher.class(revision)
    }

    /// All metrics of the pool, to be encoded together with the caller's own. Reads files of the kernel for each instance, so async
    /// callers go through their blocking pool.
    pub fn metrics(&self) -> Vec<MetricFamily> {
        self.driver.scrape()
    }
}
