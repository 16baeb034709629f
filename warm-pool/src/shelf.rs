//! Who waits and who runs, for one function: a state machine without I/O, clock or thread.
//!
//! Events come in as method calls with the time as an argument; what has to happen comes out as [`Command`]s, in the order in
//! which it has to happen. The owner keeps the shelf behind one lock, so the count of calls in flight and the decision to
//! reap an instance can't disagree.
//!
//! ```text
//!                 started                lanes leased = 0
//!   Starting -----------------> Idle <----------------------> Busy
//!      |                         |  grant          give_back   |
//!      | start_failed, evict     | reap, evict, retire         | retire, gentle poison, `reuse = "request"`
//!      |                         |                             v
//!      |                         |                          Draining   (takes no new calls, kept for those it has)
//!      v                         v                             |
//!    Dying <---------------------+-----------------------------+   last lane home, poison, evict
//!      |
//!      | gone
//!      v
//!    (removed)
//! ```
//!
//! A waiter is in exactly one queue until it gets its one outcome: [`Command::Grant`], [`Command::Refuse`], or being taken out by
//! [`Shelf::cancel_waiter`]. While a revision has waiters none of its usable instances has a free lane.
//!
//! Instances are counted per revision: during a deploy the old revision drains beside the new one.

mod census;
mod command;
mod edition;
mod kept;
mod reap;
mod relief;
#[cfg(test)]
mod simulation;
mod slot;
mod supply;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use functions::RevisionNumber;

pub(crate) use self::command::{Acquired, Command, Grant, GrantKind, KillCause, Past, Refusal, WaiterId};
pub use self::command::{Counts, InstanceId};
use self::edition::Edition;
pub(crate) use self::relief::Spares;
pub use self::slot::Condition;
use self::slot::{Slot, Stage};
use crate::policy::{self, Arrivals, Scale};
use crate::reclaim::Reclaim;
use crate::start::{ColdReason, EvictScope, Poison};

/// What is asked for and what is known outside of a shelf about one revision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Advice {
    /// Whether instances are forked from a template that is ready.
    pub(crate) forks: bool,
}

/// The state of one function. See the module's head.
#[derive(Debug)]
pub(crate) struct Shelf {
    slots: HashMap<InstanceId, Slot>,
    /// One for each revision that has an instance, a waiter, a number to keep or a failure to remember. Mostly one.
    editions: Vec<Edition>,
    past: Past,
    /// The revision that was provisioned last.
    live: Option<RevisionNumber>,
    next_waiter: u64,
    leased: u32,
    ramp: u32,
    closing: bool,
    /// The host is short of memory.
    pressed: bool,
    /// The host can freeze, as far as is known.
    freezes: bool,
    reclaim: Reclaim,
    removed_through: Option<RevisionNumber>,
    wake_by: Option<Instant>,
}

impl Shelf {
    /// An empty shelf; `ramp` is the number of starts of one revision that may compute at the same time, at least 1.
    pub(crate) fn new(past: Past, ramp: u32, reclaim: Reclaim) -> Shelf {
        Shelf {
            slots: HashMap::new(),
            editions: Vec::new(),
            past,
            live: None,
            next_waiter: 0,
            leased: 0,
            ramp: ramp.max(1),
            closing: false,
            pressed: false,
            freezes: true,
            reclaim,
            removed_through: None,
            wake_by: None,
        }
    }

    /// A call wants an instance of `revision` before `deadline`.
    pub(crate) fn acquire(
        &mut self,
        now: Instant,
        revision: RevisionNumber,
        scale: Scale,
        deadline: Instant,
        out: &mut Vec<Command>,
    ) -> Acquired {
        if self.closing {
            return Acquired::Refused(Refusal::Closing);
        }
        if self.removed_through.is_some_and(|last| revision <= last) {
            return Acquired::Refused(Refusal::Removed);
        }
        if deadline <= now {
            return Acquired::Refused(Refusal::Deadline);
        }
        let at = self.edition_at(revision, scale);
        // A version that was published is called although another revision is live. Its instances are kept like all that are called.
        self.editions[at].retired = false;
        if !self.called_lately(now) {
            // Nothing waits ahead, or not for long. What is to be started for that is looked at when this call is answered.
            self.hold_back(now, at);
        }
        if self.past.arrivals.called(now) {
            self.judge_idleness(at);
        }
        if let Some(grant) = self.lease_free_lane(at) {
            if grant.kind == GrantKind::Ahead {
                self.took_a_new_one(now, at, out);
            }
            return Acquired::Lane(grant);
        }
        self.past.arrivals.found_none(now);
        let tally = self.tally(now, revision);
        let edition = &mut self.editions[at];
        if tally.usable + tally.starting == 0 && edition.paused(now).is_some() {
            return Acquired::Refused(Refusal::StartFailed);
        }
        if edition.queue.len() >= policy::queue_bound(&edition.scale, &tally) {
            return Acquired::Refused(Refusal::QueueFull);
        }
        let waiter = WaiterId(self.next_waiter);
        self.next_waiter += 1;
        edition.enqueue(waiter, now, deadline);
        self.start_what_is_needed(now, at, out);
        Acquired::Waits(waiter)
    }

    /// A caller left. Returns whether it was still waiting; `false` means that its outcome is already on the way.
    pub(crate) fn cancel_waiter(&mut self, now: Instant, waiter: WaiterId) -> bool {
        let waited = self.editions.iter_mut().any(|edition| edition.cancel(waiter));
        self.forget(now);
        waited
    }

    /// An instance became ready. `false` when it is to be killed meanwhile, for which the command came before.
    pub(crate) fn started(&mut self, now: Instant, id: InstanceId, out: &mut Vec<Command>) -> bool {
        let Some(Slot {
            revision,
            stage: Stage::Starting { since },
        }) = self.slots.get(&id)
        else {
            return false;
        };
        let (revision, since) = (*revision, *since);
        self.past.revision = Some(revision);
        self.past.ended = None;
        let at = self.edition_of(revision);
        let edition = &mut self.editions[at];
        self.slots
            .insert(id, Slot::ready(revision, edition.scale.concurrency, now));
        edition.start.add(now.saturating_duration_since(since));
        edition.forgive();
        // Instances that ran a call are taken first: what they have loaded is worth keeping, and who never ran one keeps its worth.
        edition.free.insert(0, id);
        self.serve(now, at, out);
        self.settle(now, at, out);
        true
    }

    /// An instance could not become ready. It is torn down; `gone` follows.
    pub(crate) fn start_failed(&mut self, now: Instant, id: InstanceId, out: &mut Vec<Command>) {
        let Some(slot) = self.slots.get(&id) else { return };
        if !matches!(slot.stage, Stage::Starting { .. }) {
            return;
        }
        let revision = slot.revision;
        self.kill(id, KillCause::Failed, out);
        let at = self.edition_of(revision);
        self.editions[at].failed(now);
        let tally = self.tally(now, revision);
        if tally.usable + tally.starting == 0 {
            self.refuse_all(at, Refusal::StartFailed, out);
        }
        self.settle(now, at, out);
    }

    /// A lease came home with its lane clean after `held`. Returns whether the lane stays with the instance; the owner closes
    /// it otherwise.
    pub(crate) fn give_back(
        &mut self,
        now: Instant,
        id: InstanceId,
        lane: u8,
        held: Duration,
        out: &mut Vec<Command>,
    ) -> bool {
        self.leased -= 1;
        let Some(slot) = self.slots.get_mut(&id) else {
            return false;
        };
        if !slot.take_home(lane, now) {
            return false;
        }
        let revision = slot.revision;
        let draining = slot.drain_cause();
        let at = self.edition_of(revision);
        let edition = &mut self.editions[at];
        edition.service.add(held);
        let held_back = edition.release();
        let draining = draining.or(edition.scale.pristine().then_some(KillCause::Spent));
        if draining.is_none() {
            if !edition.free.contains(&id) {
                edition.free.push(id);
            }
            self.serve(now, at, out);
        }
        let unused = self.slots[&id].is_unused();
        // What is killed below makes room first.
        if held_back && !(unused && draining.is_some()) {
            self.start_what_is_needed(now, at, out);
        }
        if unused {
            if let Some(cause) = draining {
                self.kill(id, cause, out);
                self.settle(now, at, out);
            } else if self.editions[at].retired {
                self.settle(now, at, out);
            } else {
                let idle = self.editions[at].stays_for;
                self.wake(now + idle);
                self.freeze_idle(now, at, out);
            }
        }
        true
    }

    /// A lease ended in the middle of an exchange. The instance is killed, at once or when its other calls have ended.
    pub(crate) fn poison(&mut self, now: Instant, id: InstanceId, lane: u8, poison: Poison, out: &mut Vec<Command>) {
        self.leased -= 1;
        let Some(slot) = self.slots.get_mut(&id) else { return };
        if !slot.lose(lane) {
            return;
        }
        let revision = slot.revision;
        // What may end by itself otherwise may not after this.
        let harsh = slot.drain_cause().filter(|cause| !cause.is_gentle());
        let cause = harsh.unwrap_or(KillCause::Poisoned(poison));
        let spared = slot.leased() > 0 && poison.spares_neighbours();
        if spared {
            slot.drain(cause);
        }
        let at = self.edition_of(revision);
        self.editions[at].release();
        if spared {
            self.editions[at].free.retain(|free| *free != id);
        } else {
            self.kill(id, cause, out);
        }
        self.settle(now, at, out);
    }

    /// An instance is gone with everything in it. `reason` says how it ended if it was not killed.
    pub(crate) fn gone(&mut self, now: Instant, id: InstanceId, reason: ColdReason, out: &mut Vec<Command>) {
        let Some(slot) = self.slots.remove(&id) else { return };
        let at = self.edition_of(slot.revision);
        self.editions[at].free.retain(|free| *free != id);
        match slot.stage {
            Stage::Dying(KillCause::Poisoned(Poison::Exited)) | Stage::Live(_) => self.past.ended = Some(reason),
            Stage::Starting { .. } | Stage::Dying(_) => {}
        }
        self.settle(now, at, out);
        self.forget(now);
    }

    /// `revision` is live: it keeps its minimum from now on, and every other revision drains, but those that keep a number of their own.
    pub(crate) fn provision(&mut self, now: Instant, revision: RevisionNumber, scale: Scale, out: &mut Vec<Command>) {
        self.retire(now, Some(revision), out);
        if self.closing {
            return;
        }
        let at = self.edition_at(revision, scale);
        self.live = Some(revision);
        self.editions[at].provisioned = scale.keeps_some();
        self.editions[at].retired = false;
        self.settle(now, at, out);
        self.forget(now);
    }

    /// Every revision but `keep`, and those that keep a number of their own, drains: idle instances go at once, busy ones when their calls
    /// are done. Calls that wait for an old revision are still served. `None` means that the function was removed.
    pub(crate) fn retire(&mut self, now: Instant, keep: Option<RevisionNumber>, out: &mut Vec<Command>) {
        match keep {
            Some(number) => self.removed_through = self.removed_through.filter(|last| *last < number),
            None => {
                let last = self
                    .editions
                    .iter()
                    .map(|edition| edition.number)
                    .chain(self.past.revision)
                    .max();
                self.removed_through = self.removed_through.max(last);
                self.live = None;
                self.past.revision = None;
                self.past.ended = None;
                self.past.arrivals = Arrivals::default();
            }
        }
        for at in 0..self.editions.len() {
            let edition = &mut self.editions[at];
            if keep.is_none() {
                edition.kept = 0;
            }
            let other = Some(edition.number) != keep;
            edition.provisioned &= !other;
            edition.retired = other && edition.kept == 0;
            if other {
                self.settle(now, at, out);
            }
        }
        self.forget(now);
    }

    /// Kills instances now, busy ones too, and returns them. Waiters stay and get new ones. With [`EvictScope::All`] the function
    /// starts over: nothing waits ahead until it is called again, unless that was asked for by number.
    pub(crate) fn evict(&mut self, now: Instant, scope: EvictScope, out: &mut Vec<Command>) -> Vec<InstanceId> {
        let chosen = |slot: &Slot| match slot.stage {
            Stage::Live(_) => scope == EvictScope::All || slot.ran(),
            Stage::Starting { .. } => scope == EvictScope::All,
            Stage::Dying(_) => false,
        };
        let mut ids: Vec<_> = self
            .slots
            .iter()
            .filter(|(_, slot)| chosen(slot))
            .map(|(id, _)| *id)
            .collect();
        ids.sort_unstable();
        if scope == EvictScope::All {
            self.past.arrivals = Arrivals::default();
            for at in 0..self.editions.len() {
                self.editions[at].advice = Advice::default();
                self.judge_idleness(at);
            }
        }
        for id in &ids {
            self.kill(*id, KillCause::Evicted, out);
        }
        for at in 0..self.editions.len() {
            self.settle(now, at, out);
        }
        ids
    }

    /// Kills one that has come up, now, for `cause`. `false` when it is not there, or dies already.
    pub(crate) fn condemn(&mut self, now: Instant, id: InstanceId, cause: KillCause, out: &mut Vec<Command>) -> bool {
        let Some(slot) = self.slots.get(&id).filter(|slot| matches!(slot.stage, Stage::Live(_))) else {
            return false;
        };
        let revision = slot.revision;
        self.kill(id, cause, out);
        let at = self.edition_of(revision);
        self.settle(now, at, out);
        true
    }

    /// No new call is let in; those that wait are still served.
    pub(crate) fn close(&mut self) {
        self.closing = true;
        for edition in &mut self.editions {
            edition.provisioned = false;
            edition.kept = 0;
        }
    }

    /// Refuses every waiter and kills every instance.
    pub(crate) fn shut(&mut self, out: &mut Vec<Command>) {
        self.close();
        for at in 0..self.editions.len() {
            self.refuse_all(at, Refusal::Closing, out);
        }
        let living = |slot: &Slot| !matches!(slot.stage, Stage::Dying(_));
        let ids: Vec<_> = self
            .slots
            .iter()
            .filter(|(_, slot)| living(slot))
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            self.kill(id, KillCause::Closing, out);
        }
    }

    /// Time passed: expired waiters are refused, idle instances reaped, missing ones started.
    pub(crate) fn tick(&mut self, now: Instant, out: &mut Vec<Command>) {
        self.wake_by = None;
        for at in 0..self.editions.len() {
            let edition = &mut self.editions[at];
            for waiter in edition.expire(now) {
                out.push(Command::Refuse {
                    waiter,
                    revision: edition.number,
                    refusal: Refusal::Deadline,
                });
            }
            self.reap_idle(now, at, out);
            self.freeze_idle(now, at, out);
            self.reclaim_frozen(now, at, out);
            self.settle(now, at, out);
        }
        self.forget(now);
    }

    /// When [`Shelf::tick`] has something to do at the latest, if nothing happens before. Deadlines of waiters are not in it: each
    /// waiting call holds its own timer and calls [`Shelf::cancel_waiter`].
    pub(crate) fn wake_by(&self) -> Option<Instant> {
        self.wake_by
    }

    /// Whether nothing is left but [`Shelf::past`].
    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty() && self.editions.is_empty() && self.leased == 0
    }

    /// Whether no call is there and no instance is kept without one.
    pub(crate) fn is_at_leisure(&self) -> bool {
        let in_use = |edition: &Edition| edition.stays() || !edition.queue.is_empty();
        self.leased == 0 && !self.editions.iter().any(in_use)
    }

    /// What a later shelf of the same function has to know.
    pub(crate) fn past(&self) -> Past {
        self.past.clone()
    }

    /// Whether the shelf still knows `revision`.
    pub(crate) fn knows(&self, revision: RevisionNumber) -> bool {
        self.editions.iter().any(|edition| edition.number == revision)
    }

    fn edition_of(&self, revision: RevisionNumber) -> usize {
        self.editions
            .iter()
            .position(|edition| edition.number == revision)
            .expect("an edition stays while it has an instance or a waiter")
    }

    fn edition_at(&mut self, revision: RevisionNumber, scale: Scale) -> usize {
        match self.editions.iter().position(|edition| edition.number == revision) {
            // The settings of a revision never change, so only a new edition needs them.
            Some(at) => at,
            None => {
                self.editions.push(Edition::new(revision, scale));
                let at = self.editions.len() - 1;
                self.judge_idleness(at);
                at
            }
        }
    }

    /// The instance used last goes first, so that what is too many stays idle and can be reaped.
    fn lease_free_lane(&mut self, at: usize) -> Option<Grant> {
        let free = &mut self.editions[at].free;
        let id = *free.last()?;
        let slot = self.slots.get_mut(&id).expect("a free instance has a slot");
        let (lane, kind, more) = slot.lease().expect("an instance on the free list has a free lane");
        if !more {
            free.pop();
        }
        self.leased += 1;
        Some(Grant {
            instance: id,
            lane,
            kind,
        })
    }

    /// Hands free lanes to waiters, the oldest first. Those whose deadline has passed are refused on the way.
    fn serve(&mut self, now: Instant, at: usize, out: &mut Vec<Command>) {
        while !self.editions[at].free.is_empty() {
            let edition = &mut self.editions[at];
            let Some(waiter) = edition.queue.pop_front() else {
                return;
            };
            if waiter.deadline <= now {
                let (waiter, revision) = (waiter.id, edition.number);
                out.push(Command::Refuse {
                    waiter,
                    revision,
                    refusal: Refusal::Deadline,
                });
                continue;
            }
            let mut grant = self.lease_free_lane(at).expect("the free list is not empty");
            if grant.kind == GrantKind::Ahead {
                grant.kind = GrantKind::Cold;
                self.hold_back(now, at);
            }
            out.push(Command::Grant {
                waiter: waiter.id,
                grant,
            });
        }
    }

    /// Brings an edition to rest after an event: starts what its waiters need, and lets a retired one go.
    fn settle(&mut self, now: Instant, at: usize, out: &mut Vec<Command>) {
        self.start_what_is_needed(now, at, out);
        let edition = &self.editions[at];
        if !edition.retired || !edition.queue.is_empty() {
            if let Some(idle) = self.first_idle_deadline(now, at) {
                self.wake(idle.max(now));
            }
            return;
        }
        let revision = edition.number;
        let unneeded = |slot: &Slot| slot.revision == revision && slot.is_unused();
        let ids: Vec<_> = self
            .slots
            .iter()
            .filter(|(_, slot)| unneeded(slot))
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            self.kill(id, KillCause::Retired, out);
        }
    }

    fn kill(&mut self, id: InstanceId, cause: KillCause, out: &mut Vec<Command>) {
        let slot = self.slots.get_mut(&id).expect("only instances with a slot are killed");
        let was_ready = matches!(slot.stage, Stage::Live(_));
        slot.stage = Stage::Dying(cause);
        let revision = slot.revision;
        if let Some(reason) = cause.reason().filter(|_| was_ready) {
            self.past.ended = Some(reason);
        }
        let at = self.edition_of(revision);
        self.editions[at].free.retain(|free| *free != id);
        out.push(Command::Kill { instance: id, cause });
    }

    fn refuse_all(&mut self, at: usize, refusal: Refusal, out: &mut Vec<Command>) {
        let edition = &mut self.editions[at];
        let revision = edition.number;
        out.extend(edition.queue.drain(..).map(|waiter| Command::Refuse {
            waiter: waiter.id,
            revision,
            refusal,
        }));
    }

    /// Drops editions that hold nothing.
    fn forget(&mut self, now: Instant) {
        let mut wake_by = self.wake_by;
        let slots = &self.slots;
        self.editions.retain(|edition| {
            let in_use = edition.stays()
                || !edition.queue.is_empty()
                || slots.values().any(|slot| slot.revision == edition.number);
            let remembered = edition.remembers_until().filter(|until| *until > now);
            if let Some(until) = remembered.filter(|_| !in_use) {
                wake_by = Some(wake_by.map_or(until, |earlier| earlier.min(until)));
            }
            in_use || remembered.is_some()
        });
        self.wake_by = wake_by;
    }

    fn wake(&mut self, at: Instant) {
        self.wake_by = Some(self.wake_by.map_or(at, |earlier| earlier.min(at)));
    }
}
