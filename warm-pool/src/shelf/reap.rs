//! What a shelf stops and lets go because nobody calls.

use std::collections::HashMap;
use std::time::Instant;

use super::slot::Slot;
use super::{Command, Condition, InstanceId, KillCause, Shelf};
use crate::policy::{self, Step};

impl Shelf {
    /// Stops those that have been idle for long enough, as long as the host can.
    pub(super) fn freeze_idle(&mut self, now: Instant, at: usize, out: &mut Vec<Command>) {
        let revision = self.editions[at].number;
        if !self.freezes {
            return;
        }
        let mut next: Option<Instant> = None;
        for (id, slot) in &mut self.slots {
            if slot.revision != revision || slot.condition() != Condition::Idle {
                continue;
            }
            let Some(due) = slot.idle_since().map(|since| since + policy::FROZEN_AFTER) else {
                continue;
            };
            if due > now {
                next = Some(next.map_or(due, |next| next.min(due)));
            } else if let Some(turn) = slot.freeze(now) {
                out.push(Command::Freeze { instance: *id, turn });
            }
        }
        if let Some(next) = next {
            self.wake(next);
        }
    }

    /// Gives the memory of those back that stand still for long enough, and stay for long enough. They are those of a minimum, mostly, and those
    /// of functions with a long `idle`.
    pub(super) fn reclaim_frozen(&mut self, now: Instant, at: usize, out: &mut Vec<Command>) {
        let Some(holds_for) = self.editions[at].holds_for else {
            return;
        };
        let revision = self.editions[at].number;
        let leaving: HashMap<_, _> = self.reapable(now, at).into_iter().map(|(due, id)| (id, due)).collect();
        let mut next: Option<Instant> = None;
        for (id, slot) in &mut self.slots {
            let (Some(called), Some(frozen)) = (slot.idle_since(), slot.frozen_since()) else {
                continue;
            };
            if slot.revision != revision {
                continue;
            }
            // It is frozen by somebody else, who has to be done with that.
            let due = (called + holds_for).max(frozen + policy::RECLAIMED_AFTER_FREEZING);
            let leaves_soon = |leaves: &Instant| *leaves < due.max(now) + policy::RECLAIMED_FOR;
            if leaving.get(id).is_some_and(leaves_soon) {
                continue;
            }
            if due > now {
                next = Some(next.map_or(due, |next| next.min(due)));
            } else if let Some(turn) = slot.reclaim() {
                out.push(Command::Reclaim { instance: *id, turn });
            }
        }
        if let Some(next) = next {
            self.wake(next);
        }
    }

    /// The memory of the instance could not be given back. It is not tried again before it was called again.
    pub(crate) fn not_reclaimed(&mut self, id: InstanceId, turn: u64) {
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.not_reclaimed(turn);
        }
    }

    /// No instance can be frozen on this host.
    pub(crate) fn freezes_nobody(&mut self) {
        self.freezes = false;
        for slot in self.slots.values_mut() {
            slot.not_frozen(None);
        }
    }

    /// The instance could not be frozen in this turn; it is tried again later.
    pub(crate) fn not_frozen(&mut self, id: InstanceId, turn: u64) {
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.not_frozen(Some(turn));
        }
    }

    /// Reaps those that have been idle for too long, the longest first.
    pub(super) fn reap_idle(&mut self, now: Instant, at: usize, out: &mut Vec<Command>) {
        for (due, id) in self.reapable(now, at) {
            if due > now {
                self.wake(due);
                return;
            }
            self.kill(id, KillCause::Idle, out);
        }
    }

    /// The time at which the instance that has been idle longest may go, unless the minimum needs it.
    pub(super) fn first_idle_deadline(&mut self, now: Instant, at: usize) -> Option<Instant> {
        self.reapable(now, at).first().map(|(due, _)| *due)
    }

    /// Decides anew how long an instance stays after its last call, and its memory. Earlier than `idle` only where a template makes the next start
    /// a fork.
    pub(super) fn judge_idleness(&mut self, at: usize) {
        let edition = &mut self.editions[at];
        edition.stays_for = match edition.start.get().filter(|_| edition.advice.forks) {
            Some(saves) => {
                let step = Step {
                    memory: policy::OWN_MEMORY,
                    saves,
                };
                policy::stays_for(self.past.arrivals.gaps(), step, edition.scale.idle)
            }
            None => edition.scale.idle,
        };
        let bound = self.reclaim.after();
        edition.holds_for = bound.map(|bound| policy::memory_stays_for(self.past.arrivals.gaps(), bound));
    }

    /// Those that may go, and when: all that are idle but the minimum, and but those that are to wait ahead.
    pub(super) fn reapable(&mut self, now: Instant, at: usize) -> Vec<(Instant, InstanceId)> {
        let mut wanted_ahead = self.ahead_wanted(now, at) as usize;
        let edition = &self.editions[at];
        let (revision, stays_for) = (edition.number, edition.stays_for);
        let spare = policy::surplus(edition.keeps(), self.tally(now, revision).usable) as usize;
        let due = |(id, slot): (&InstanceId, &Slot)| Some((slot.idle_since()? + stays_for, *id));
        let of = |condition| {
            let own =
                move |(_, slot): &(&InstanceId, &Slot)| slot.revision == revision && slot.condition() == condition;
            let mut those: Vec<_> = self.slots.iter().filter(own).filter_map(due).collect();
            those.sort_unstable();
            those
        };
        let (mut idle, mut ahead) = (of(Condition::Idle), of(Condition::Ahead));
        idle.append(&mut of(Condition::Frozen));
        idle.append(&mut of(Condition::Reclaimed));
        while wanted_ahead > 0 && ahead.pop().is_some() {
            wanted_ahead -= 1;
        }
        idle.append(&mut ahead);
        idle.sort_unstable();
        idle.truncate(spare);
        idle
    }
}
