//! What a shelf starts: instances for calls that wait, those that are kept, and those that wait ahead of their first call.

use std::time::Instant;

use functions::RevisionNumber;

use super::slot::{Slot, Stage};
use super::{Advice, Command, InstanceId, Shelf};
use crate::policy::{self, Outlook};
use crate::start::{ColdReason, Purpose};

impl Shelf {
    /// Says what is known of `revision` outside. It counts until something else is said.
    pub(crate) fn advise(&mut self, now: Instant, revision: RevisionNumber, advice: Advice, out: &mut Vec<Command>) {
        let Some(at) = self.editions.iter().position(|edition| edition.number == revision) else {
            return;
        };
        let edition = &mut self.editions[at];
        if edition.advice != advice {
            edition.advice = advice;
            // What starts took says nothing of starts of another kind.
            edition.start = policy::Mean::default();
            self.judge_idleness(at);
            self.settle(now, at, out);
        }
    }

    /// A call took an instance that never ran one.
    pub(super) fn took_a_new_one(&mut self, now: Instant, at: usize, out: &mut Vec<Command>) {
        self.past.arrivals.found_none(now);
        if self.hold_back(now, at) {
            self.wake(now + policy::SETTLE);
        } else {
            self.start_what_is_needed(now, at, out);
        }
    }

    /// A call was given what may have to be replaced: not at once, so that it has the processors for itself. Where each call needs a new
    /// instance that counts only for one that is alone: beside others it has no processor for itself, and they are short of instances.
    /// Returns whether anything is held back.
    pub(super) fn hold_back(&mut self, now: Instant, at: usize) -> bool {
        let held = self.leased <= 1 || !self.editions[at].scale.pristine();
        if held {
            self.editions[at].hold(now);
        } else {
            self.editions[at].release();
        }
        held
    }

    /// Whether the last call is so young that instances may wait ahead because of it.
    pub(super) fn called_lately(&self, now: Instant) -> bool {
        let last = self.past.arrivals.last();
        last.is_some_and(|last| now.saturating_duration_since(last) < policy::WINDOW)
    }

    /// How many instances of an edition are to wait that never ran a call.
    pub(super) fn ahead_wanted(&mut self, now: Instant, at: usize) -> u32 {
        let edition = &self.editions[at];
        let live = self
            .live
            .or_else(|| self.editions.iter().map(|edition| edition.number).max());
        let arrivals = &self.past.arrivals;
        let outlook = Outlook {
            serves: !self.closing && !edition.retired && live == Some(edition.number),
            fails: edition.fails(),
            pressed: self.pressed,
            provisioned: edition.provisioned,
            quiet_for: arrivals.last().map(|last| now.saturating_duration_since(last)),
            cold_rate: arrivals.cold_rate(now),
            start: edition.start.get(),
            forks: edition.advice.forks,
        };
        let (wanted, holds_for) = policy::ahead(&edition.scale, &outlook);
        if let Some(left) = holds_for {
            self.wake(now + left);
        }
        wanted
    }

    /// Starts what an edition needs now, and asks to be woken when that may change by itself.
    pub(super) fn start_what_is_needed(&mut self, now: Instant, at: usize, out: &mut Vec<Command>) {
        let wanted_ahead = self.ahead_wanted(now, at);
        let edition = &self.editions[at];
        let waiting = edition.queue.len();
        if waiting == 0 && !edition.stays() && wanted_ahead == 0 {
            return;
        }
        let tally = self.tally(now, edition.number);
        let starts = policy::starts(&edition.scale, &tally, &edition.need(now, &tally, self.ramp));
        let missing = policy::missing(&edition.scale, &tally, waiting, starts.now, self.ramp, wanted_ahead);
        let paused = edition.paused(now).map(|pause| now + pause);
        let held = edition.held_until(now).max(paused).filter(|_| missing > 0);
        if let Some(pause) = starts.ask_again {
            self.wake(now + pause);
        }
        let purpose = if waiting > 0 { Purpose::Call } else { Purpose::Ahead };
        for _ in 0..starts.now {
            let reason = self.reason_to_start(self.editions[at].number);
            self.start(now, at, purpose, reason, out);
        }
        match held {
            Some(until) => self.wake(until),
            None => {
                for _ in 0..missing {
                    self.start(now, at, Purpose::Ahead, ColdReason::Ahead, out);
                }
            }
        }
    }

    fn start(&mut self, now: Instant, at: usize, purpose: Purpose, reason: ColdReason, out: &mut Vec<Command>) {
        let revision = self.editions[at].number;
        let instance = InstanceId(self.past.next_instance);
        self.past.next_instance += 1;
        self.slots.insert(instance, Slot::starting(revision, now));
        out.push(Command::Start {
            instance,
            revision,
            purpose,
            reason,
        });
    }

    fn reason_to_start(&self, revision: RevisionNumber) -> ColdReason {
        let alive = |slot: &Slot| slot.revision == revision && !matches!(slot.stage, Stage::Dying(_));
        if self.slots.values().any(alive) {
            return ColdReason::ScaleUp;
        }
        match self.past.revision {
            None => ColdReason::First,
            Some(last) if last != revision => ColdReason::NewRevision,
            Some(_) => self.past.ended.unwrap_or(ColdReason::Crashed),
        }
    }
}
