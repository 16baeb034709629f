//! What a shelf lets go when the host is short of memory.

use std::time::{Duration, Instant};

use super::{Command, InstanceId, KillCause, Shelf};
use crate::policy;

/// Instances of a shelf that may go, and what is known of their function.
#[derive(Debug)]
pub(crate) struct Spares {
    /// Each with how long a start of its revision takes.
    pub(crate) instances: Vec<(InstanceId, Duration)>,
    /// When the function was last called.
    pub(crate) called: Option<Instant>,
    /// Calls lately.
    pub(crate) frequency: f64,
}

impl Shelf {
    /// Says whether the host is short of memory. While it is, nothing waits ahead but what was asked for by number.
    pub(crate) fn press(&mut self, now: Instant, pressed: bool, out: &mut Vec<Command>) {
        // What was let go comes back with the next call of its function, not all at once.
        if std::mem::replace(&mut self.pressed, pressed) == pressed || !pressed {
            return;
        }
        for at in 0..self.editions.len() {
            self.settle(now, at, out);
        }
    }

    /// Those that could go: whoever has no call, but for the minimum.
    pub(crate) fn spares(&mut self, now: Instant) -> Spares {
        let mut instances = Vec::new();
        for at in 0..self.editions.len() {
            let start = self.editions[at].start.get().unwrap_or(policy::START_GUESS);
            let those = self.reapable(now, at);
            instances.extend(those.into_iter().map(|(_, id)| (id, start)));
        }
        Spares {
            instances,
            called: self.past.arrivals.last(),
            frequency: self.past.arrivals.frequency(now),
        }
    }

    /// Kills who has no call, but for the minimum: its template goes, which it would hold on to.
    pub(crate) fn let_idle_go(&mut self, now: Instant, out: &mut Vec<Command>) {
        for at in 0..self.editions.len() {
            for (_, id) in self.reapable(now, at) {
                self.kill(id, KillCause::Idle, out);
            }
            self.settle(now, at, out);
        }
    }

    /// Kills those of `chosen` that still could go, and returns their number.
    pub(crate) fn relieve(&mut self, now: Instant, chosen: &[InstanceId], out: &mut Vec<Command>) -> usize {
        let mut spares = self.spares(now).instances;
        spares.retain(|(id, _)| chosen.contains(id));
        for (id, _) in &spares {
            self.kill(*id, KillCause::Pressure, out);
        }
        for at in 0..self.editions.len() {
            self.settle(now, at, out);
        }
        spares.len()
    }
}
