//! What all parts of the pool share of the watch: whose each sandbox is, the queue of what happened, and the counters.
//!
//! Everybody tells and nobody waits: the queue is bounded, and what it has no room for is counted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use functions::{FunctionName, Revision, Runtime};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntCounterVec, Opts, Registry};
use sandbox::{Sandbox, Sight, Sighting, Watch};
use tokio::sync::{Notify, mpsc};

use super::alerts::{Alert, Alerts};
use super::event::{Event, Happening, Kind};
use super::judge::Judge;
use super::rules::{Action, Rule, Rules};
use crate::metrics;

/// What happened and is not judged yet.
const QUEUE: usize = 1024;
/// Sightings of sandboxes that nobody has named yet: a program may execute another before its start was reported.
const EARLY: usize = 1024;
/// How long such a sighting waits to be named.
const UNNAMED: Duration = Duration::from_secs(5);
/// How long a sandbox that is gone is still known, for what was seen of it last.
const REMEMBERED: Duration = Duration::from_secs(5);

/// Whose a sandbox is.
struct Subject {
    function: FunctionName,
    runtime: Runtime,
    sandbox: Weak<Sandbox>,
}

struct Known {
    subject: Subject,
    closed: Option<Instant>,
}

/// What is told to the task that judges.
pub(crate) enum Told {
    /// Something happened.
    Happened(Happening),
    /// The function was removed.
    Removed(FunctionName),
}

/// See the module's head.
pub(crate) struct Watcher {
    rules: Arc<Rules>,
    pub(crate) alerts: Alerts,
    queue: mpsc::Sender<Told>,
    /// Until the task takes it.
    told: Mutex<Option<mpsc::Receiver<Told>>>,
    known: Mutex<HashMap<u64, Known>>,
    early: Mutex<Vec<(Instant, Sighting)>>,
    /// Rings when a sandbox is named of which something was seen before.
    pub(crate) named: Notify,
    registry: Registry,
    events: IntCounterVec,
    raised: IntCounterVec,
    dropped: IntCounter,
}

impl Watcher {
    pub(crate) fn new(rules: Rules) -> Arc<Self> {
        let (queue, told) = mpsc::channel(QUEUE);
        let counter = |name, help, labels: &[&str]| {
            IntCounterVec::new(Opts::new(name, help), labels).expect("names and labels are valid")
        };
        let watcher = Self {
            rules: Arc::new(rules),
            alerts: Alerts::default(),
            queue,
            told: Mutex::new(Some(told)),
            known: Mutex::default(),
            early: Mutex::default(),
            named: Notify::new(),
            registry: Registry::new(),
            events: counter(
                metrics::WATCH_EVENTS,
                "Events of instances that were watched.",
                &["event"],
            ),
            raised: counter(
                metrics::ALERTS,
                "Times that a rule applied.",
                &["rule", "severity", "function"],
            ),
            dropped: IntCounter::new(
                metrics::WATCH_DROPPED,
                "Events of instances that were not judged, as there were too many.",
            )
            .expect("the name is valid"),
        };
        let register = |collector: Box<dyn prometheus::core::Collector>| {
            watcher
                .registry
                .register(collector)
                .expect("no two metrics share a name");
        };
        register(Box::new(watcher.events.clone()));
        register(Box::new(watcher.raised.clone()));
        register(Box::new(watcher.dropped.clone()));
        for kind in Kind::ALL {
            watcher.events.with_label_values(&[kind.as_str()]);
        }
        Arc::new(watcher)
    }

    /// What is to be told of the sandboxes of a revision.
    pub(crate) fn watch_of(&self, revision: &Revision) -> Watch {
        self.rules.watch_of(&revision.name, revision.settings.runtime)
    }

    /// A judge of its rules.
    pub(crate) fn judge(&self) -> Judge {
        Judge::new(self.rules.clone())
    }

    /// What is told from now on; `None` at the second call.
    pub(crate) fn take_told(&self) -> Option<mpsc::Receiver<Told>> {
        lock(&self.told).take()
    }

    /// From now on the sandbox is that of a function.
    pub(crate) fn open(&self, revision: &Revision, sandbox: &Arc<Sandbox>) {
        let known = Known {
            subject: Subject {
                function: revision.name.clone(),
                runtime: revision.settings.runtime,
                sandbox: Arc::downgrade(sandbox),
            },
            closed: None,
        };
        let now = Instant::now();
        let mut all = lock(&self.known);
        all.retain(|_, known| known.closed.is_none_or(|closed| now - closed < REMEMBERED));
        all.insert(sandbox.id(), known);
        drop(all);
        let waits = lock(&self.early)
            .iter()
            .any(|(_, sighting)| sighting.sandbox == sandbox.id());
        if waits {
            self.named.notify_one();
        }
    }

    /// It is gone.
    pub(crate) fn close(&self, sandbox: u64) {
        if let Some(known) = lock(&self.known).get_mut(&sandbox) {
            known.closed.get_or_insert_with(Instant::now);
        }
    }

    /// The sandbox of that number, while it lives.
    pub(crate) fn sandbox(&self, id: u64) -> Option<Arc<Sandbox>> {
        lock(&self.known).get(&id)?.subject.sandbox.upgrade()
    }

    /// Tells what happened to something of a function.
    pub(crate) fn tell(&self, revision: &Revision, sandbox: Option<u64>, event: Event) {
        self.put(Told::Happened(Happening {
            function: revision.name.clone(),
            runtime: revision.settings.runtime,
            sandbox,
            event,
        }));
    }

    /// The function was removed: its series end, and what was counted of it is forgotten.
    pub(crate) fn removed(&self, function: &FunctionName) {
        self.end_series(function);
        self.put(Told::Removed(function.clone()));
    }

    /// Drops what was counted of a function: once when it is removed, and once when nothing that had happened before is judged any more.
    pub(crate) fn end_series(&self, function: &FunctionName) {
        for rule in self.rules.all() {
            let labels = [&rule.name, rule.severity.as_str(), function.as_str()];
            // A series that was never opened can't be dropped, which is as good.
            let _ = self.raised.remove_label_values(&labels);
        }
    }

    fn put(&self, told: Told) {
        if self.queue.try_send(told).is_err() {
            self.dropped.inc();
        }
    }

    /// What a sighting says of which function. One whose sandbox is not named yet waits for [`Watcher::named_since`].
    pub(crate) fn happenings(&self, sighting: Sighting) -> Vec<Happening> {
        match self.named(&sighting) {
            Some(happenings) => happenings,
            None => {
                let mut early = lock(&self.early);
                if early.len() < EARLY {
                    early.push((Instant::now(), sighting));
                } else {
                    self.dropped.inc();
                }
                Vec::new()
            }
        }
    }

    /// What had waited for its name. What waited too long is of nobody: of a check, a build, or a sandbox that did not come up.
    pub(crate) fn named_since(&self) -> Vec<Happening> {
        let early = std::mem::take(&mut *lock(&self.early));
        let (now, mut happenings) = (Instant::now(), Vec::new());
        let mut left = Vec::new();
        for (at, sighting) in early {
            match self.named(&sighting) {
                Some(found) => happenings.extend(found),
                None if now - at < UNNAMED => left.push((at, sighting)),
                None => self.dropped.inc(),
            }
        }
        lock(&self.early).splice(0..0, left);
        happenings
    }

    fn named(&self, sighting: &Sighting) -> Option<Vec<Happening>> {
        let known = lock(&self.known);
        let Subject { function, runtime, .. } = &known.get(&sighting.sandbox)?.subject;
        let happening = |event| Happening {
            function: function.clone(),
            runtime: *runtime,
            sandbox: Some(sighting.sandbox),
            event,
        };
        let mut happenings = Vec::with_capacity(2);
        if sighting.missed > 0 {
            self.dropped.inc_by(sighting.missed);
            happenings.push(happening(Event::Missed(sighting.missed)));
        }
        happenings.push(happening(match &sighting.sight {
            Sight::Exec { path } => Event::Exec(path.clone()),
            Sight::Connect { peer } => Event::Connect(peer.clone()),
            Sight::Refused { number } => Event::Refused(Sight::call(*number)),
            // A later kind of sight than this was built with.
            _ => return Some(happenings),
        }));
        Some(happenings)
    }

    /// Judges what happened, has `act` done what the rules ask for, and tells people.
    pub(crate) fn judged(
        &self,
        judge: &mut Judge,
        happening: &Happening,
        mut act: impl FnMut(Action) -> (Option<String>, &'static str),
    ) {
        self.events.with_label_values(&[happening.event.kind().as_str()]).inc();
        for verdict in judge.judge(Instant::now(), happening) {
            let Rule {
                name, severity, action, ..
            } = verdict.rule;
            let labels = [name.as_str(), severity.as_str(), happening.function.as_str()];
            self.raised.with_label_values(&labels).inc();
            let told = match (verdict.told, action) {
                (None, Action::Alert) => continue,
                (told, _) => told,
            };
            let (instance, done) = act(*action);
            let Some(untold) = told else { continue };
            self.alerts.tell(Alert {
                time: jiff::Timestamp::now(),
                number: 0,
                rule: name.clone(),
                severity: *severity,
                action: *action,
                done,
                function: happening.function.clone(),
                runtime: happening.runtime,
                instance,
                event: happening.event.kind(),
                detail: happening.event.detail(),
                untold,
            });
        }
    }

    /// The rules.
    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }

    pub(crate) fn gather(&self) -> Vec<MetricFamily> {
        self.registry.gather()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
