//! One function at run time: its shelf, its live instances and the calls that wait, behind one lock.
//!
//! Every event follows one pattern: lock, tell the shelf, turn its commands into actions while still locked, unlock, act. So
//! decisions never wait for anything, and what may wait or call back (waking a caller, killing, spawning a task) never happens under
//! the lock.
//!
//! A fleet that is dropped kills its instances.

mod action;
mod look;
mod wait;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use functions::{Ahead, Keep, Revision, RevisionNumber};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::channel::Channel;
use crate::driver::Driver;
use crate::driver::launcher::Ending;
use crate::fate::{AcquireError, Fate, StartFailure};
use crate::instance::Instance;
use crate::lease::{Lease, Phases};
use crate::metrics::Record;
use crate::policy::Scale;
use crate::shelf::{Acquired, Advice, Grant, GrantKind, InstanceId, KillCause, Past, Refusal, Shelf, WaiterId};
use crate::start::{EvictScope, Poison, Start};
use crate::watch::Event;

type Outcome = Result<Lease, AcquireError>;

/// See the module's head.
pub(crate) struct Fleet {
    me: Weak<Fleet>,
    driver: Weak<Driver>,
    pub(crate) record: Arc<Record>,
    /// Cancelled when the fleet is dropped; parent of the token of each instance.
    stop: CancellationToken,
    state: Mutex<State>,
}

struct State {
    shelf: Shelf,
    members: HashMap<InstanceId, Member>,
    waiting: HashMap<WaiterId, Waiting>,
    /// Those that the shelf knows.
    revisions: Vec<Arc<Revision>>,
    /// The last failed start of each revision.
    failures: Vec<(RevisionNumber, Arc<StartFailure>)>,
    /// When the timer ticks this fleet next.
    alarm: Option<Instant>,
    closing: bool,
    /// Taken out of the driver's map because it was empty; nobody may put anything in.
    dropped: bool,
}

/// An instance in any stage of its life.
struct Member {
    cancel: CancellationToken,
    gone: CancellationToken,
    live: Option<Live>,
    /// In quarantine: the shelf has forgotten it.
    kept: bool,
}

struct Live {
    instance: Arc<Instance>,
    /// Those that are not leased.
    channels: Vec<Option<Channel>>,
}

struct Waiting {
    caller: oneshot::Sender<Outcome>,
    since: Instant,
}

/// The answer of a fleet that is not in use any more: look for its successor.
pub(crate) struct Dropped;

/// What the settings of a revision say about its instances.
pub(crate) fn scale_of(revision: &Revision) -> Scale {
    let settings = &revision.settings;
    let (min, ahead) = match settings.scale.keep {
        Keep::Nothing => (0, Ahead::Exactly(0)),
        Keep::Auto => (settings.scale.min, settings.scale.ahead),
    };
    Scale {
        min,
        ahead,
        reuse: settings.reuse,
        max: settings.scale.max.max(1),
        concurrency: settings.concurrency.max(1),
        idle: settings.idle.duration(),
        queue: settings.queue,
    }
}

impl Fleet {
    pub(crate) fn new(driver: &Arc<Driver>, record: Arc<Record>) -> Arc<Fleet> {
        let past = record.past.lock().expect("nothing panics under the lock").clone();
        Arc::new_cyclic(|me| Fleet {
            me: me.clone(),
            driver: Arc::downgrade(driver),
            record,
            stop: driver.stop.child_token(),
            state: Mutex::new(State {
                shelf: Shelf::new(past, driver.ramp, driver.reclaim),
                members: HashMap::new(),
                waiting: HashMap::new(),
                revisions: Vec::new(),
                failures: Vec::new(),
                alarm: None,
                closing: false,
                dropped: false,
            }),
        })
    }

    /// A lease for one call. See [`crate::Pool::acquire`].
    pub(crate) async fn acquire(
        self: Arc<Fleet>,
        revision: &Arc<Revision>,
        deadline: Instant,
    ) -> Result<Outcome, Dropped> {
        let wait = match self.ask(revision, deadline) {
            Ok(Ok(wait)) => wait,
            Ok(Err(outcome)) => return Ok(outcome),
            Err(dropped) => return Err(dropped),
        };
        Ok(wait.outcome(deadline).await)
    }

    fn ask(
        self: &Arc<Fleet>,
        revision: &Arc<Revision>,
        deadline: Instant,
    ) -> Result<Result<wait::Wait, Outcome>, Dropped> {
        let mut state = self.lock();
        if state.dropped {
            return Err(Dropped);
        }
        let now = Instant::now();
        let mut commands = Vec::new();
        let acquired = state
            .shelf
            .acquire(now, revision.number, scale_of(revision), deadline, &mut commands);
        match acquired {
            Acquired::Lane(grant) => {
                let mut lease = self.lease(&mut state, grant, Duration::ZERO, now);
                // What it took may have to be replaced, now or at a time that the shelf asks to be woken at.
                self.act_on(state, commands);
                lease.thaw();
                self.record.queue.observe(0.0);
                Ok(Err(Ok(lease)))
            }
            Acquired::Refused(refusal) => {
                let refused = state.refusal(revision.number, refusal);
                self.act_on(state, commands);
                Ok(Err(Err(refused)))
            }
            Acquired::Waits(waiter) => {
                let (caller, outcome) = oneshot::channel();
                state.waiting.insert(waiter, Waiting { caller, since: now });
                state.remember(revision);
                self.act_on(state, commands);
                self.advise(revision);
                Ok(Ok(wait::Wait::new(self.clone(), waiter, outcome)))
            }
        }
    }

    /// A caller left. Returns whether it was still waiting.
    fn cancel(&self, waiter: WaiterId) -> bool {
        let mut state = self.lock();
        let waited = state.shelf.cancel_waiter(Instant::now(), waiter);
        // The sender is dropped after the lock is free: a caller may be woken by it.
        let _caller = state.waiting.remove(&waiter);
        self.act_on(state, Vec::new());
        waited
    }

    /// An instance is ready. `false` when it is not wanted any more.
    pub(crate) fn started(&self, instance: Arc<Instance>, channels: Vec<Channel>) -> bool {
        let (id, reason, startup) = (instance.id, instance.reason, instance.startup);
        let revision = instance.revision.clone();
        let mut state = self.lock();
        let Some(member) = state.members.get_mut(&id) else {
            return false;
        };
        member.live = Some(Live {
            instance,
            channels: channels.into_iter().map(Some).collect(),
        });
        let mut commands = Vec::new();
        let accepted = state.shelf.started(Instant::now(), id, &mut commands);
        self.act_on(state, commands);
        if let Some(driver) = self.driver.upgrade().filter(|_| accepted) {
            driver.metrics.started(&self.record, reason, &startup);
            self.advise(&revision);
        }
        accepted
    }

    /// An instance did not become ready. `gone` follows.
    pub(crate) fn start_failed(&self, id: InstanceId, revision: &Revision, failure: StartFailure) {
        let called_off = matches!(failure, StartFailure::CalledOff);
        if !called_off {
            tracing::warn!(
                function = %revision.name,
                revision = %revision.number,
                instance = %id,
                error = &failure as &dyn std::error::Error,
                "an instance did not become ready"
            );
        }
        if let StartFailure::Died(fate) = failure {
            self.tell_of_crash(revision, fate);
        }
        let mut state = self.lock();
        if !called_off {
            state.failures.retain(|(number, _)| *number != revision.number);
            state.failures.push((revision.number, Arc::new(failure)));
        }
        let mut commands = Vec::new();
        state.shelf.start_failed(Instant::now(), id, &mut commands);
        self.act_on(state, commands);
    }

    /// Nothing of an instance is left.
    pub(crate) fn gone(&self, id: InstanceId, revision: &Revision, fate: Fate, ending: Option<&Ending>) {
        if let Some(ending) = ending {
            self.record.oom_kills.inc_by(ending.oom_kills);
            if ending.oom_kills > 0 {
                self.tell(revision, Event::OutOfMemory);
            }
            if ending.pids_hits > 0 {
                self.tell(revision, Event::PidsLimit(ending.pids_hits));
            }
        }
        self.tell_of_crash(revision, fate);
        let mut state = self.lock();
        let member = state.members.remove(&id);
        let mut commands = Vec::new();
        state.shelf.gone(Instant::now(), id, fate.reason(), &mut commands);
        self.act_on(state, commands);
        drop(member);
    }

    fn tell_of_crash(&self, revision: &Revision, fate: Fate) {
        if matches!(fate, Fate::Exited(_) | Fate::Signalled(_)) {
            self.tell(revision, Event::Crash(fate.to_string()));
        }
    }

    /// A call ran out of time.
    pub(crate) fn timed_out(&self, revision: &Revision) {
        self.tell(revision, Event::Timeout);
    }

    fn tell(&self, revision: &Revision, event: Event) {
        if let Some(driver) = self.driver.upgrade() {
            driver.watcher.tell(revision, None, event);
        }
    }

    /// Tells the shelf what the launcher can do for a revision at this moment.
    pub(crate) fn advise(&self, revision: &Revision) {
        let Some(driver) = self.driver.upgrade() else { return };
        let advice = Advice {
            forks: driver.launcher.forks(revision),
        };
        let mut state = self.lock();
        let mut commands = Vec::new();
        state
            .shelf
            .advise(Instant::now(), revision.number, advice, &mut commands);
        self.act_on(state, commands);
    }

    /// Something was prepared for the function, or lost.
    pub(crate) fn prepared(&self) {
        let revisions = self.lock().revisions.clone();
        for revision in revisions {
            self.advise(&revision);
        }
    }

    /// What is known of its calls; `None` while one is there, or instances are kept without calls.
    pub(crate) fn past_if_at_leisure(&self) -> Option<Past> {
        let state = self.lock();
        state.shelf.is_at_leisure().then(|| state.shelf.past())
    }

    /// A lease ended with its channel clean.
    pub(crate) fn give_back(&self, id: InstanceId, lane_number: u8, channel: Channel, held: Duration) {
        let mut state = self.lock();
        // The channel has to be in its place before the shelf may grant it.
        let place = state
            .members
            .get_mut(&id)
            .and_then(|member| member.live.as_mut())
            .and_then(|live| live.channels.get_mut(usize::from(lane_number)));
        let mut unwanted = match place {
            Some(place) => place.replace(channel),
            None => Some(channel),
        };
        let mut commands = Vec::new();
        if !state
            .shelf
            .give_back(Instant::now(), id, lane_number, held, &mut commands)
        {
            let live = state.members.get_mut(&id).and_then(|member| member.live.as_mut());
            unwanted = live
                .and_then(|live| live.channels[usize::from(lane_number)].take())
                .or(unwanted);
        }
        self.act_on(state, commands);
        drop(unwanted);
    }

    /// A lease ended in the middle of an exchange.
    pub(crate) fn poison(&self, id: InstanceId, lane_number: u8, poison: Poison) {
        let mut state = self.lock();
        let mut commands = Vec::new();
        state
            .shelf
            .poison(Instant::now(), id, lane_number, poison, &mut commands);
        self.act_on(state, commands);
    }

    /// See [`crate::Pool::provision`].
    pub(crate) fn provision(&self, revision: &Arc<Revision>) -> Result<(), Dropped> {
        let mut state = self.lock();
        if state.dropped {
            return Err(Dropped);
        }
        let mut commands = Vec::new();
        state.remember(revision);
        state
            .shelf
            .provision(Instant::now(), revision.number, scale_of(revision), &mut commands);
        self.act_on(state, commands);
        self.advise(revision);
        Ok(())
    }

    /// See [`crate::Pool::keep`].
    pub(crate) fn keep(&self, live: RevisionNumber, wanted: &[(Arc<Revision>, u32)]) -> Result<(), Dropped> {
        let mut state = self.lock();
        if state.dropped {
            return Err(Dropped);
        }
        let numbers: Vec<_> = wanted
            .iter()
            .map(|(revision, count)| (revision.number, scale_of(revision), *count))
            .collect();
        let mut commands = Vec::new();
        state.shelf.keep(Instant::now(), live, &numbers, &mut commands);
        for (revision, _) in wanted {
            state.remember(revision);
        }
        self.act_on(state, commands);
        for (revision, _) in wanted {
            self.advise(revision);
        }
        Ok(())
    }

    /// See [`crate::Pool::retire`].
    pub(crate) fn retire(&self, keep: Option<RevisionNumber>) {
        let mut state = self.lock();
        let mut commands = Vec::new();
        state.shelf.retire(Instant::now(), keep, &mut commands);
        self.act_on(state, commands);
    }

    /// Kills instances and returns what tells when they are gone.
    pub(crate) fn evict(&self, scope: EvictScope) -> Vec<CancellationToken> {
        let mut state = self.lock();
        let mut commands = Vec::new();
        let ids = state.shelf.evict(Instant::now(), scope, &mut commands);
        let gone = ids
            .iter()
            .filter_map(|id| state.members.get(id))
            .map(|member| member.gone.clone())
            .collect();
        self.act_on(state, commands);
        gone
    }

    /// Ends one that a rule applies to. It gets no call any more; who has one is told when it ends. With [`KillCause::Quarantined`] it is stopped and
    /// kept for a while first, and has no place on the shelf. `false` when it is on its way out already.
    pub(crate) fn condemn(&self, instance: &Instance, cause: KillCause) -> bool {
        let now = Instant::now();
        let mut state = self.lock();
        let mut commands = Vec::new();
        let condemned = state.shelf.condemn(now, instance.id, cause, &mut commands);
        if condemned && cause == KillCause::Quarantined {
            state
                .shelf
                .gone(now, instance.id, Fate::Condemned.reason(), &mut commands);
            if let Some(member) = state.members.get_mut(&instance.id) {
                member.kept = true;
            }
        }
        self.act_on(state, commands);
        condemned
    }

    /// Says whether the host is short of memory.
    pub(crate) fn press(&self, pressed: bool) {
        let mut state = self.lock();
        let mut commands = Vec::new();
        state.shelf.press(Instant::now(), pressed, &mut commands);
        self.act_on(state, commands);
    }

    /// Something that was prepared for the function was let go, as it is not called any more: what is idle goes too.
    pub(crate) fn let_idle_go(&self) {
        self.prepared();
        let mut state = self.lock();
        let mut commands = Vec::new();
        state.shelf.let_idle_go(Instant::now(), &mut commands);
        self.act_on(state, commands);
    }

    /// Kills those of `chosen` that have no call and are not kept for good. Returns their number.
    pub(crate) fn relieve(&self, chosen: &[InstanceId]) -> usize {
        let mut state = self.lock();
        let mut commands = Vec::new();
        let gone = state.shelf.relieve(Instant::now(), chosen, &mut commands);
        self.act_on(state, commands);
        gone
    }

    /// Lets no new call in. From now on the driver is told when nothing is in flight any more.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closing = true;
        state.shelf.close();
        self.act_on(state, Vec::new());
    }

    /// Leases that are out and calls that wait.
    pub(crate) fn in_flight(&self) -> usize {
        self.lock().shelf.in_flight()
    }

    /// Refuses who waits, kills every instance, and returns what tells when they are gone.
    pub(crate) fn shut(&self) -> Vec<CancellationToken> {
        let mut state = self.lock();
        let mut commands = Vec::new();
        state.shelf.shut(&mut commands);
        let gone = state.members.values().map(|member| member.gone.clone()).collect();
        let kept = state.members.values().filter(|member| member.kept);
        let kept: Vec<_> = kept.map(|member| member.cancel.clone()).collect();
        self.act_on(state, commands);
        for kept in kept {
            kept.cancel();
        }
        gone
    }

    /// Time passed.
    pub(crate) fn tick(&self) {
        self.prepared();
        let mut state = self.lock();
        state.alarm = None;
        let mut commands = Vec::new();
        state.shelf.tick(Instant::now(), &mut commands);
        self.act_on(state, commands);
    }

    /// Marks an empty fleet as not in use. Called with the driver's map locked.
    pub(crate) fn drop_if_empty(&self) -> bool {
        let mut state = self.lock();
        if !state.shelf.is_empty() {
            return false;
        }
        state.dropped = true;
        *self.record.past.lock().expect("nothing panics under the lock") = state.shelf.past();
        true
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics under the lock")
    }

    fn lease(self: &Arc<Fleet>, state: &mut State, grant: Grant, waited: Duration, now: Instant) -> Lease {
        let live = state
            .members
            .get_mut(&grant.instance)
            .and_then(|member| member.live.as_mut())
            .expect("the shelf grants lanes of live instances only");
        let channel = live.channels[usize::from(grant.lane)]
            .take()
            .expect("the shelf grants a lane once");
        let startup = &live.instance.startup;
        let (start, phases) = match grant.kind {
            GrantKind::Warm => (
                Start::Warm,
                Phases {
                    queue: waited,
                    ..Phases::default()
                },
            ),
            GrantKind::Thawed { .. } => (
                Start::Thawed,
                Phases {
                    queue: waited,
                    ..Phases::default()
                },
            ),
            GrantKind::Ahead => (
                Start::Ahead,
                Phases {
                    queue: waited,
                    ..Phases::default()
                },
            ),
            GrantKind::Cold => (startup.start, Phases::split(waited, startup.sandbox, startup.init)),
        };
        Lease {
            fleet: self.clone(),
            instance: live.instance.clone(),
            channel: Some(channel),
            lane_number: grant.lane,
            frozen: match grant.kind {
                GrantKind::Thawed { turn } => Some(turn),
                _ => None,
            },
            start,
            reason: (grant.kind == GrantKind::Cold).then_some(live.instance.reason),
            phases,
            since: now,
        }
    }
}

impl State {
    /// The time to set the timer to, if it has to ring earlier than it does.
    fn new_alarm(&mut self) -> Option<Instant> {
        let wanted = self.shelf.wake_by()?;
        if self.alarm.is_some_and(|set| set <= wanted) {
            return None;
        }
        self.alarm = Some(wanted);
        self.alarm
    }

    fn remember(&mut self, revision: &Arc<Revision>) {
        if self.revisions.iter().any(|known| known.number == revision.number) {
            return;
        }
        self.revisions.retain(|known| self.shelf.knows(known.number));
        self.failures.retain(|(number, _)| self.shelf.knows(*number));
        self.revisions.push(revision.clone());
    }

    fn refusal(&self, revision: RevisionNumber, refusal: Refusal) -> AcquireError {
        match refusal {
            Refusal::QueueFull => AcquireError::QueueFull,
            Refusal::Deadline => AcquireError::Deadline,
            Refusal::Closing => AcquireError::Closing,
            Refusal::Removed => AcquireError::Removed,
            Refusal::StartFailed => {
                let failure = self.failures.iter().find(|(number, _)| *number == revision);
                AcquireError::StartFailed(
                    failure.map_or_else(|| Arc::new(StartFailure::CalledOff), |(_, failure)| failure.clone()),
                )
            }
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
