//! Decides how many instances a revision should have, when a start is worth it and when an instance may go.
//!
//! Everything here is a pure function of numbers: no clock is read, and what is kept are estimates that the caller holds.
//!
//! | file | answers |
//! |---|---|
//! | `scaling` | how many instances are started for calls that wait, and when |
//! | `ahead` | how many instances wait that never ran a call |
//! | `arrivals` | what is known of the calls of a function |
//! | `gaps` | how long it is left alone between two of them |
//! | `ladder` | how long an instance that nobody calls stays on each rung |
//! | `pressure` | when memory is short |
//! | `eviction` | who goes first then |
//! | `poisson` | how many of something are enough |
//! | `slots` | how many slots and parked processes stand ahead, and how long a template serves |

mod ahead;
mod arrivals;
mod eviction;
mod gaps;
mod ladder;
mod poisson;
mod pressure;
mod scaling;
mod slots;

use std::time::Duration;

use functions::{Ahead, Reuse};

pub(crate) use self::ahead::{Outlook, SETTLE, START_GUESS, WINDOW, ahead, missing};
pub(crate) use self::arrivals::Arrivals;
pub(crate) use self::eviction::{Candidate, GreedyDual};
pub(crate) use self::ladder::{
    FROZEN_AFTER, OWN_MEMORY, RECLAIMED_AFTER_FREEZING, RECLAIMED_FOR, Step, fits_into_swap, memory_stays_for,
    stays_for, template_stays_for,
};
pub(crate) use self::pressure::pressure;
pub(crate) use self::scaling::{FAILURE_MEMORY, Need, RAMP_WINDOW, Tally, backoff, queue_bound, starts, surplus};
pub(crate) use self::slots::{
    ARRIVALS_SEEN_FOR, DEATHS_FORGIVEN, FORKS_OF_A_TEMPLATE, LIFE_OF_A_PARKED, LIFE_OF_A_TEMPLATE, MOST_OF_A_CELL,
    PARKED_KEPT_FOR, cell_slots_ahead, parked_ahead, slots_ahead,
};

/// What a revision's settings say about its instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scale {
    /// Instances kept while nobody calls. 0 when the function keeps nothing.
    pub(crate) min: u32,
    /// The most instances at once, those that are still being torn down included. At least 1.
    pub(crate) max: u32,
    /// Invocations at once in one instance, which is its number of lanes. At least 1.
    pub(crate) concurrency: u8,
    /// How long an instance may wait for a call before it goes.
    pub(crate) idle: Duration,
    /// Calls that may wait once no instance can be added.
    pub(crate) queue: u32,
    /// Instances that wait for their first call. None when the function keeps nothing.
    pub(crate) ahead: Ahead,
    /// What an instance does after a call.
    pub(crate) reuse: Reuse,
}

impl Scale {
    /// Whether instances are kept although nobody calls.
    pub(crate) fn keeps_some(&self) -> bool {
        self.min > 0 || matches!(self.ahead, Ahead::Exactly(1..))
    }

    /// Whether an instance serves one call and no other.
    pub(crate) fn pristine(&self) -> bool {
        self.reuse == Reuse::Request
    }
}

#[cfg(test)]
impl Default for Scale {
    fn default() -> Scale {
        Scale {
            min: 0,
            max: 16,
            concurrency: 1,
            idle: Duration::from_secs(60),
            queue: 100,
            ahead: Ahead::Auto,
            reuse: Reuse::Instance,
        }
    }
}

/// A running mean that forgets: each sample counts an eighth.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mean(Option<Duration>);

impl Mean {
    /// Adds one sample. The first one is taken as it is.
    pub(crate) fn add(&mut self, sample: Duration) {
        self.0 = Some(match self.0 {
            None => sample,
            Some(mean) => mean - mean / 8 + sample / 8,
        });
    }

    /// The mean, or `None` before the first sample.
    pub(crate) fn get(self) -> Option<Duration> {
        self.0
    }
}
