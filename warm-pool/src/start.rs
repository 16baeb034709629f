//! The two words that say how an invocation found its instance: [`Start`] and, for a cold one, [`ColdReason`].
//!
//! Both are closed sets, so they can be header values and metric labels.

use serde::Serialize;

/// How an invocation found its instance; the value of `x-fn-start`.
///
/// `Warm` and `Thawed` ran an invocation before. Every other value is a cold start to the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// The instance ran an invocation before.
    Warm,
    /// The instance ran an invocation before and was frozen since.
    Thawed,
    /// The instance never ran one, and was ready before the call came, or its process ran already and only had to load the handler.
    Ahead,
    /// The instance was forked from the function's template for the call.
    Forked,
    /// The program was executed for the call in a sandbox that was ready.
    Pooled,
    /// Everything was made for the call.
    Cold,
}

impl Start {
    /// Every value, in the order of the ladder.
    pub const ALL: [Start; 6] = [
        Start::Warm,
        Start::Thawed,
        Start::Ahead,
        Start::Forked,
        Start::Pooled,
        Start::Cold,
    ];

    /// The word used in headers, metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Start::Warm => "warm",
            Start::Thawed => "thawed",
            Start::Ahead => "ahead",
            Start::Forked => "forked",
            Start::Pooled => "pooled",
            Start::Cold => "cold",
        }
    }

    /// Whether the function sees a process that never ran an invocation.
    pub fn is_cold(self) -> bool {
        !matches!(self, Start::Warm | Start::Thawed)
    }
}

impl std::fmt::Display for Start {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why an instance had to be started; the label `reason` of `fn_cold_starts_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ColdReason {
    /// No instance of the function has run since the server started.
    First,
    /// The last instance was idle for too long and was reaped.
    ScaledToZero,
    /// Other instances live, and they are busy.
    ScaleUp,
    /// The function ran before, but not in this revision.
    NewRevision,
    /// The last instance was evicted by an operator.
    Evicted,
    /// The last instance ended by itself, or broke the protocol.
    Crashed,
    /// The last instance was killed at a limit: time or memory.
    Limit,
    /// The instance waits for a call that has not come yet.
    Ahead,
    /// The last instance was killed because its caller left in the middle of an exchange.
    Abandoned,
    /// The last instance served its one call: the function has `reuse = "request"`.
    Spent,
    /// The last instance went because the host was short of memory.
    Pressure,
    /// The last instance was stopped by a rule of the operator.
    Rule,
}

impl ColdReason {
    /// Every value.
    pub const ALL: [ColdReason; 12] = [
        ColdReason::First,
        ColdReason::ScaledToZero,
        ColdReason::ScaleUp,
        ColdReason::NewRevision,
        ColdReason::Evicted,
        ColdReason::Crashed,
        ColdReason::Limit,
        ColdReason::Ahead,
        ColdReason::Abandoned,
        ColdReason::Spent,
        ColdReason::Pressure,
        ColdReason::Rule,
    ];

    /// The word used in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            ColdReason::First => "first",
            ColdReason::ScaledToZero => "scaled_to_zero",
            ColdReason::ScaleUp => "scale_up",
            ColdReason::NewRevision => "new_revision",
            ColdReason::Evicted => "evicted",
            ColdReason::Crashed => "crashed",
            ColdReason::Limit => "limit",
            ColdReason::Ahead => "ahead",
            ColdReason::Abandoned => "abandoned",
            ColdReason::Spent => "spent",
            ColdReason::Pressure => "pressure",
            ColdReason::Rule => "rule",
        }
    }
}

impl std::fmt::Display for ColdReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a process is started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// A call that waits for it.
    Call,
    /// A call that may come: nothing waits for this start, and it may do beforehand what the call would have to wait for.
    Ahead,
    /// A handler check or a build: it serves no call of the function, and nothing of it is kept.
    Check,
}

/// Why a lease does not go back to its shelf; the instance is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Poison {
    /// The invocation passed its deadline.
    Timeout,
    /// The instance sent something that the wire format does not allow.
    Protocol,
    /// The caller left before the exchange was finished.
    ClientGone,
    /// The instance closed its lane or ended.
    Exited,
    /// The lease was dropped in the middle of an exchange.
    Unfinished,
}

impl Poison {
    /// The word used in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Poison::Timeout => "timeout",
            Poison::Protocol => "protocol",
            Poison::ClientGone => "client_gone",
            Poison::Exited => "exited",
            Poison::Unfinished => "unfinished",
        }
    }

    /// Whether invocations on other lanes of the same instance may still be answered.
    pub(crate) fn spares_neighbours(self) -> bool {
        matches!(self, Poison::Timeout | Poison::ClientGone | Poison::Unfinished)
    }

    /// What the next start of the function says about it.
    pub(crate) fn reason(self) -> ColdReason {
        match self {
            Poison::Timeout => ColdReason::Limit,
            Poison::Protocol | Poison::Exited => ColdReason::Crashed,
            Poison::ClientGone | Poison::Unfinished => ColdReason::Abandoned,
        }
    }
}

/// What [`evict`](crate::Pool::evict) takes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvictScope {
    /// Every instance that ran an invocation, or runs one.
    Used,
    /// Those, and whatever was made or is being made for the function: instances that wait for their first invocation, those that
    /// are not ready yet, and its template.
    All,
}
