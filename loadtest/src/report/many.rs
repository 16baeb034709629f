//! What bursts and churns are as a whole; their calls stand with the functions.

use serde::{Deserialize, Serialize};

use crate::start::Start;

/// The bursts of one function.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct BurstReport {
    /// Its name.
    pub(crate) function: String,
    /// Calls of each burst.
    pub(crate) calls: u32,
    /// The bursts, in their order.
    pub(crate) bursts: Vec<OneBurst>,
}

/// One burst.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct OneBurst {
    /// Replies below status 400.
    pub(crate) answered: u64,
    /// From the moment at which all were meant to leave to the last reply.
    pub(crate) span_ms: f64,
    /// The fastest reply.
    pub(crate) first_ms: Option<f64>,
    /// Replies whose `x-fn-start` says that a new process answered.
    pub(crate) new: u64,
    /// Different `x-fn-instance` among the replies.
    pub(crate) instances: u64,
    /// By how much the server's own counter of starts grew; null when its /metrics could not be read.
    pub(crate) started: Option<u64>,
}

/// A whole churn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ChurnReport {
    /// Of what: the functions, or a name for them.
    pub(crate) what: String,
    /// From the first eviction to the last reply.
    pub(crate) elapsed_s: f64,
    /// Calls in flight at once.
    pub(crate) connections: u32,
    /// Replies from new processes.
    pub(crate) cold_starts: u64,
    /// They, per second.
    pub(crate) per_s: f64,
    /// The same in the slowest tenth of the time; null with fewer than 100.
    pub(crate) slowest_tenth_per_s: Option<f64>,
    /// Whether they became slower, for each start type.
    pub(crate) drift: Vec<Drift>,
    /// What was counted before and after.
    pub(crate) growth: Vec<Growth>,
    /// What could not be counted, and why.
    pub(crate) unseen: Vec<String>,
}

/// The first and the last calls of one start type.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Drift {
    /// The start type.
    pub(crate) start: Start,
    /// How many calls 1 % is.
    pub(crate) calls: u64,
    /// The p99 of the first 1 %.
    pub(crate) first_p99_ms: f64,
    /// The p99 of the last 1 %.
    pub(crate) last_p99_ms: f64,
}

/// One thing that must not grow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Growth {
    /// What.
    pub(crate) what: String,
    /// Before the first cycle.
    pub(crate) before: u64,
    /// After the last, everything evicted again.
    pub(crate) after: u64,
}

impl Growth {
    /// After minus before.
    pub(crate) fn change(&self) -> i64 {
        i64::try_from(self.after).unwrap_or(i64::MAX) - i64::try_from(self.before).unwrap_or(i64::MAX)
    }
}
