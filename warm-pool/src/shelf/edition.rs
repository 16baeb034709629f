//! What a shelf knows of one revision: its queue, its free instances, its failed starts and its means.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use functions::RevisionNumber;

use super::{Advice, InstanceId, WaiterId};
use crate::policy::{self, Mean, Need, Scale, Tally};

/// A call that waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiter {
    pub(super) id: WaiterId,
    pub(super) since: Instant,
    pub(super) deadline: Instant,
}

/// One revision on a shelf.
#[derive(Debug)]
pub(super) struct Edition {
    pub(super) number: RevisionNumber,
    pub(super) scale: Scale,
    /// It drains: nothing of it stays once its waiters are served.
    pub(super) retired: bool,
    /// It is live and keeps a number of instances although nobody calls.
    pub(super) provisioned: bool,
    /// Instances that it keeps although nobody calls, live or not, because that was asked for beside its settings.
    pub(super) kept: u32,
    pub(super) advice: Advice,
    /// How long after its last call an instance goes, at most `idle`.
    pub(super) stays_for: Duration,
    /// How long after its last call the memory of an instance is given back; `None` if it never is.
    pub(super) holds_for: Option<Duration>,
    /// Until when nothing is started ahead, so that the call that caused it comes first.
    hold: Option<Instant>,
    /// In the order of arrival.
    pub(super) queue: VecDeque<Waiter>,
    /// Usable instances with at least one free lane, the one used last at the end.
    pub(super) free: Vec<InstanceId>,
    /// How long a start takes.
    pub(super) start: Mean,
    /// How long a lease is out.
    pub(super) service: Mean,
    failures: u32,
    last_failure: Option<Instant>,
}

impl Edition {
    pub(super) fn new(number: RevisionNumber, scale: Scale) -> Edition {
        Edition {
            number,
            scale,
            retired: false,
            provisioned: false,
            kept: 0,
            advice: Advice::default(),
            stays_for: scale.idle,
            holds_for: None,
            hold: None,
            queue: VecDeque::new(),
            free: Vec::new(),
            start: Mean::default(),
            service: Mean::default(),
            failures: 0,
            last_failure: None,
        }
    }

    /// How many instances stay although nobody calls.
    pub(super) fn keeps(&self) -> u32 {
        let least = if self.provisioned { self.scale.min } else { 0 };
        least.max(self.kept)
    }

    /// Whether it stays on the shelf although nothing of it may stand at the moment.
    pub(super) fn stays(&self) -> bool {
        self.provisioned || self.kept > 0
    }

    pub(super) fn enqueue(&mut self, id: WaiterId, since: Instant, deadline: Instant) {
        self.queue.push_back(Waiter { id, since, deadline });
    }

    /// Takes a waiter out of the queue. Returns whether it was there.
    pub(super) fn cancel(&mut self, id: WaiterId) -> bool {
        // Numbers only grow and waiters join at the end, so the queue is sorted.
        match self.queue.binary_search_by_key(&id, |waiter| waiter.id) {
            Ok(at) => self.queue.remove(at).is_some(),
            Err(_) => false,
        }
    }

    /// Takes out the waiters whose deadline has passed.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<WaiterId> {
        let mut expired = Vec::new();
        self.queue.retain(|waiter| {
            let late = waiter.deadline <= now;
            if late {
                expired.push(waiter.id);
            }
            !late
        });
        expired
    }

    /// Nothing is started ahead for a moment. Calls that come meanwhile do not make that longer.
    pub(super) fn hold(&mut self, now: Instant) {
        if self.held_until(now).is_none() {
            self.hold = Some(now + policy::SETTLE);
        }
    }

    /// A call has ended. Returns whether anything was held back for it.
    pub(super) fn release(&mut self) -> bool {
        self.hold.take().is_some()
    }

    /// Until when nothing is started ahead.
    pub(super) fn held_until(&self, now: Instant) -> Option<Instant> {
        self.hold.filter(|until| *until > now)
    }

    /// Whether the last start failed.
    pub(super) fn fails(&self) -> bool {
        self.failures > 0
    }

    /// Whether the next start waits because too many failed in a row.
    pub(super) fn keeps_failing(&self) -> bool {
        policy::backoff(self.failures).is_some()
    }

    /// A start failed.
    pub(super) fn failed(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.last_failure = Some(now);
    }

    /// A start succeeded, so earlier failures are forgotten.
    pub(super) fn forgive(&mut self) {
        self.failures = 0;
        self.last_failure = None;
    }

    /// How much of the pause after failed starts is left.
    pub(super) fn paused(&self, now: Instant) -> Option<Duration> {
        let until = self.last_failure? + policy::backoff(self.failures)?;
        until.checked_duration_since(now).filter(|left| !left.is_zero())
    }

    /// Until when the failures must not be forgotten, or a caller could retry without end by waiting a little.
    pub(super) fn remembers_until(&self) -> Option<Instant> {
        Some(self.last_failure? + policy::FAILURE_MEMORY)
    }

    /// What the policy looks at.
    pub(super) fn need(&self, now: Instant, tally: &Tally, ramp: u32) -> Need {
        let covered = tally.starting as usize * usize::from(self.scale.concurrency);
        let uncovered = self.queue.get(covered);
        Need {
            waiting: self.queue.len(),
            uncovered_for: uncovered.map_or(Duration::ZERO, |waiter| now.saturating_duration_since(waiter.since)),
            keeps: self.keeps(),
            pause: self.paused(now),
            start: self.start,
            service: self.service,
            ramp,
        }
    }
}
