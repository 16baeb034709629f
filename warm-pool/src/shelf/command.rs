//! The words a shelf is spoken to with, and answers in.

use functions::RevisionNumber;

use super::slot::Condition;
use crate::policy::Arrivals;
use crate::start::{ColdReason, Poison, Purpose};

/// The number of an instance, unique within its function while the server runs; the function's template has the
/// largest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(transparent)]
pub struct InstanceId(pub(crate) u64);

impl InstanceId {
    /// What the template of a function is numbered, in logs.
    pub const TEMPLATE: InstanceId = InstanceId(u64::MAX);
}

impl std::fmt::Display for InstanceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a waiting call, unique within its function while the server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct WaiterId(pub(crate) u64);

/// A lane of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) instance: InstanceId,
    pub(crate) lane: u8,
    pub(crate) kind: GrantKind,
}

/// What the instance of a grant had done before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GrantKind {
    /// It ran an invocation.
    Warm,
    /// The same, and was frozen since. It is to be thawed before the lane is used.
    Thawed { turn: u64 },
    /// It waited for its first one.
    Ahead,
    /// It became ready while the call waited.
    Cold,
}

/// Why a call gets no instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// As many calls wait already as may.
    QueueFull,
    /// The call's deadline passed.
    Deadline,
    /// The start it waited for failed and nothing else lives, or starts fail so often that none is tried now.
    StartFailed,
    /// The pool is shutting down.
    Closing,
    /// The function was removed.
    Removed,
}

/// What the owner has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Prepare an instance, then report `started` or `start_failed`.
    Start {
        instance: InstanceId,
        revision: RevisionNumber,
        /// What it is for.
        purpose: Purpose,
        /// Why.
        reason: ColdReason,
    },
    /// Hand a lane to a waiter.
    Grant { waiter: WaiterId, grant: Grant },
    /// Tell a waiter that it gets none.
    Refuse {
        waiter: WaiterId,
        revision: RevisionNumber,
        refusal: Refusal,
    },
    /// Stop the processes of an instance, unless it was thawed in a later turn already: deeds may overtake each other. To be
    /// followed by `not_frozen` if that can't be done.
    Freeze { instance: InstanceId, turn: u64 },
    /// Give the memory of an instance back to the host, unless it was thawed since that turn. To be followed by `not_reclaimed` if
    /// that can't be done.
    Reclaim { instance: InstanceId, turn: u64 },
    /// Kill an instance, then report `gone`.
    Kill { instance: InstanceId, cause: KillCause },
}

/// Why an instance is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KillCause {
    /// Idle for too long.
    Idle,
    /// A newer revision is live, or the function was removed.
    Retired,
    /// An operator evicted it.
    Evicted,
    /// The host is short of memory.
    Pressure,
    /// It served its one call.
    Spent,
    /// A lease was poisoned.
    Poisoned(Poison),
    /// It failed to become ready.
    Failed,
    /// The pool is shutting down.
    Closing,
    /// A rule applied to it.
    Condemned,
    /// The same, and it is kept for a while before.
    Quarantined,
}

impl KillCause {
    /// Whether the instance did nothing wrong, and nobody waits for what it holds: it may end by itself.
    pub(crate) fn is_gentle(self) -> bool {
        matches!(self, KillCause::Idle | KillCause::Retired | KillCause::Closing)
    }

    pub(super) fn reason(self) -> Option<ColdReason> {
        match self {
            KillCause::Idle => Some(ColdReason::ScaledToZero),
            KillCause::Retired => Some(ColdReason::NewRevision),
            KillCause::Evicted => Some(ColdReason::Evicted),
            KillCause::Pressure => Some(ColdReason::Pressure),
            KillCause::Spent => Some(ColdReason::Spent),
            KillCause::Poisoned(poison) => Some(poison.reason()),
            KillCause::Condemned | KillCause::Quarantined => Some(ColdReason::Rule),
            KillCause::Failed | KillCause::Closing => None,
        }
    }
}

/// The answer to [`Shelf::acquire`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acquired {
    /// Here is a lane.
    Lane(Grant),
    /// The call waits under this number.
    Waits(WaiterId),
    /// No.
    Refused(Refusal),
}

/// What stays known of a function when it has no instance any more.
#[derive(Clone, Debug, Default)]
pub(crate) struct Past {
    /// The revision of the last instance that became ready.
    pub(crate) revision: Option<RevisionNumber>,
    /// How the last instance ended, as the reason of the next start.
    pub(crate) ended: Option<ColdReason>,
    /// What is known of its calls.
    pub(crate) arrivals: Arrivals,
    pub(super) next_instance: u64,
}

/// Counts over the whole shelf.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Instances being prepared.
    pub starting: u32,
    /// Instances that wait for their first call.
    pub ahead: u32,
    /// Instances that ran a call and wait for the next one.
    pub idle: u32,
    /// Those among them that are stopped until then, and not counted there.
    pub frozen: u32,
    /// Those among these whose memory was given back to the host, and not counted there.
    pub reclaimed: u32,
    /// Instances with at least one call.
    pub busy: u32,
    /// Instances that finish their calls and take no more.
    pub draining: u32,
    /// Instances being torn down.
    pub dying: u32,
    /// Calls that wait for an instance.
    pub queued: u32,
    /// Leases that are out.
    pub leased: u32,
}

impl Counts {
    /// Instances in that condition.
    pub(crate) fn of(&self, condition: Condition) -> u32 {
        match condition {
            Condition::Starting => self.starting,
            Condition::Ahead => self.ahead,
            Condition::Idle => self.idle,
            Condition::Frozen => self.frozen,
            Condition::Reclaimed => self.reclaimed,
            Condition::Busy => self.busy,
            Condition::Draining => self.draining,
            Condition::Dying => self.dying,
        }
    }
}
