//! What a shelf keeps because it was asked for by number, of any revision: a floor under its instances that holds although nobody calls.

use std::time::Instant;

use functions::RevisionNumber;

use super::slot::Stage;
use super::{Command, InstanceId, KillCause, Shelf};
use crate::policy::{self, Scale};

/// A revision that keeps instances, and those that stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) revision: RevisionNumber,
    /// How many were asked for.
    pub(crate) wanted: u32,
    /// Those that are ready or being prepared, busy ones included.
    pub(crate) allocated: u32,
    /// Those of them that are ready.
    pub(crate) ready: u32,
    /// Starts fail so often that the next one waits.
    pub(crate) fails: bool,
}

impl Shelf {
    /// These revisions keep so many instances each from now on, live or not, as far as their maximum lets them; every other keeps none
    /// but its minimum. What was kept only for a larger number before goes at once, unless it has a call. `live` is the live one, so that
    /// no other is taken for it where nothing is known of that yet.
    pub(crate) fn keep(
        &mut self,
        now: Instant,
        live: RevisionNumber,
        wanted: &[(RevisionNumber, Scale, u32)],
        out: &mut Vec<Command>,
    ) {
        if self.closing {
            return;
        }
        self.live = Some(live);
        for (revision, scale, _) in wanted {
            let at = self.edition_at(*revision, *scale);
            self.editions[at].retired = false;
            self.removed_through = self.removed_through.filter(|last| last < revision);
        }
        for at in 0..self.editions.len() {
            let edition = &mut self.editions[at];
            let wanted = wanted.iter().find(|(revision, ..)| *revision == edition.number);
            let count = wanted.map_or(0, |(.., count)| *count);
            let fewer = std::mem::replace(&mut edition.kept, count).saturating_sub(count);
            for id in self.no_longer_kept(now, at, fewer) {
                self.kill(id, KillCause::Idle, out);
            }
            self.settle(now, at, out);
        }
        self.forget(now);
    }

    /// The revisions that keep some, and what stands of each.
    pub(crate) fn kept(&self, now: Instant) -> Vec<Kept> {
        let kept = self.editions.iter().filter(|edition| edition.kept > 0);
        kept.map(|edition| {
            let tally = self.tally(now, edition.number);
            Kept {
                revision: edition.number,
                wanted: edition.kept,
                allocated: tally.usable + tally.starting,
                ready: tally.usable,
                fails: edition.keeps_failing(),
            }
        })
        .collect()
    }

    /// At most `count` that may go and have no call: those idle for longest first, those being prepared last.
    fn no_longer_kept(&mut self, now: Instant, at: usize, count: u32) -> Vec<InstanceId> {
        let mut ids: Vec<_> = self.reapable(now, at).into_iter().map(|(_, id)| id).collect();
        let edition = &self.editions[at];
        let tally = self.tally(now, edition.number);
        let left = tally.usable.saturating_sub(ids.len() as u32);
        if edition.queue.is_empty() {
            let starting = self
                .slots
                .iter()
                .filter(|(_, slot)| slot.revision == edition.number && matches!(slot.stage, Stage::Starting { .. }));
            let mut starting: Vec<_> = starting.map(|(id, _)| *id).collect();
            starting.sort_unstable();
            // Those that are nearly ready stay, where some have to.
            starting.reverse();
            starting.truncate(policy::surplus(edition.keeps(), left + tally.starting) as usize);
            ids.append(&mut starting);
        }
        ids.truncate(count as usize);
        ids
    }
}
