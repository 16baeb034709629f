//! Counting what stands on a shelf.

use std::time::Instant;

use functions::RevisionNumber;

use super::slot::{Slot, Stage};
use super::{Condition, Counts, InstanceId, Shelf};
use crate::policy;

impl Shelf {
    /// Leases that are out and calls that wait.
    pub(crate) fn in_flight(&self) -> usize {
        self.leased as usize + self.editions.iter().map(|edition| edition.queue.len()).sum::<usize>()
    }

    /// Everything counted.
    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts {
            leased: self.leased,
            ..Counts::default()
        };
        for slot in self.slots.values() {
            match self.condition(slot) {
                Condition::Starting => counts.starting += 1,
                Condition::Ahead => counts.ahead += 1,
                Condition::Idle => counts.idle += 1,
                Condition::Frozen => counts.frozen += 1,
                Condition::Reclaimed => counts.reclaimed += 1,
                Condition::Busy => counts.busy += 1,
                Condition::Draining => counts.draining += 1,
                Condition::Dying => counts.dying += 1,
            }
        }
        counts.queued = self.editions.iter().map(|edition| edition.queue.len() as u32).sum();
        counts
    }

    /// One line for each instance: its number, revision, condition, leased lanes, and since when it is idle.
    pub(crate) fn roll(&self) -> Vec<(InstanceId, RevisionNumber, Condition, u32, Option<Instant>)> {
        let line = |(id, slot): (&InstanceId, &Slot)| {
            let condition = self.condition(slot);
            let rests = match condition {
                Condition::Ahead | Condition::Idle | Condition::Frozen | Condition::Reclaimed => true,
                Condition::Starting | Condition::Busy | Condition::Draining | Condition::Dying => false,
            };
            let idle = slot.idle_since().filter(|_| rests);
            (*id, slot.revision, condition, slot.leased(), idle)
        };
        let mut lines: Vec<_> = self.slots.iter().map(line).collect();
        lines.sort_unstable_by_key(|(id, ..)| *id);
        lines
    }

    /// The instances of a revision, as the policy counts them.
    pub(super) fn tally(&self, now: Instant, revision: RevisionNumber) -> policy::Tally {
        let mut tally = policy::Tally::default();
        for slot in self.slots.values().filter(|slot| slot.revision == revision) {
            match slot.stage {
                Stage::Starting { since, .. } => {
                    tally.starting += 1;
                    let age = now.saturating_duration_since(since);
                    if let Some(left) = policy::RAMP_WINDOW.checked_sub(age).filter(|left| !left.is_zero()) {
                        tally.fresh += 1;
                        tally.fresh_for = Some(tally.fresh_for.map_or(left, |least| least.min(left)));
                    }
                }
                Stage::Live(_) if slot.is_draining() => tally.draining += 1,
                Stage::Live(_) => {
                    tally.usable += 1;
                    tally.ahead += u32::from(!slot.ran());
                }
                Stage::Dying(_) => tally.dying += 1,
            }
        }
        tally
    }

    /// A busy instance of a retired revision drains, although it may still serve calls that wait for that revision.
    fn condition(&self, slot: &Slot) -> Condition {
        match slot.condition() {
            Condition::Busy if self.editions[self.edition_of(slot.revision)].retired => Condition::Draining,
            condition => condition,
        }
    }
}
