//! One instance as the shelf sees it: a stage and lanes.

use std::time::Instant;

use functions::RevisionNumber;

use super::{GrantKind, KillCause};

/// What an instance does, as people see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// It is being prepared.
    Starting,
    /// It waits for its first call.
    Ahead,
    /// It ran a call and waits for the next one.
    Idle,
    /// The same, and its processes are stopped until then.
    Frozen,
    /// The same, and its memory was given back to the host.
    Reclaimed,
    /// It has at least one call.
    Busy,
    /// It finishes its calls and takes no more.
    Draining,
    /// It is being torn down.
    Dying,
}

impl Condition {
    /// Every value.
    pub const ALL: [Condition; 8] = [
        Condition::Starting,
        Condition::Ahead,
        Condition::Idle,
        Condition::Frozen,
        Condition::Reclaimed,
        Condition::Busy,
        Condition::Draining,
        Condition::Dying,
    ];

    /// The word used as the label `state` of `fn_instances`.
    pub fn as_str(self) -> &'static str {
        match self {
            Condition::Starting => "starting",
            Condition::Ahead => "ahead",
            Condition::Idle => "idle",
            Condition::Frozen => "frozen",
            Condition::Reclaimed => "reclaimed",
            Condition::Busy => "busy",
            Condition::Draining => "draining",
            Condition::Dying => "dying",
        }
    }
}

/// Where an instance is in its life.
#[derive(Debug)]
pub(super) enum Stage {
    Starting {
        since: Instant,
    },
    Live(Lanes),
    /// The owner was told to kill it.
    Dying(KillCause),
}

/// The lanes of a live instance.
#[derive(Debug)]
pub(super) struct Lanes {
    /// Those that can be leased, the one used last at the end.
    free: Vec<u8>,
    /// Leases that are out. A poisoned lane is neither free nor leased.
    leased: u32,
    /// Whether it was ever leased.
    ran: bool,
    idle_since: Instant,
    rest: Rest,
    /// How often it was frozen and thawed. See [`Command::Freeze`](super::Command::Freeze).
    turn: u64,
    draining: Option<KillCause>,
}

/// What was ordered for one without a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// It runs.
    Awake,
    /// It stands still since this time.
    Frozen(Instant),
    /// The same, and its memory was given back.
    Reclaimed,
    /// It stands still, and its memory could not be given back.
    Holding,
}

/// One instance.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) revision: RevisionNumber,
    pub(super) stage: Stage,
}

impl Slot {
    pub(super) fn starting(revision: RevisionNumber, since: Instant) -> Slot {
        Slot {
            revision,
            stage: Stage::Starting { since },
        }
    }

    /// An instance that can be leased.
    pub(super) fn ready(revision: RevisionNumber, lanes: u8, now: Instant) -> Slot {
        // In reverse, so that lane 0 is leased first.
        let free = (0..lanes).rev().collect();
        let lanes = Lanes {
            free,
            leased: 0,
            ran: false,
            idle_since: now,
            rest: Rest::Awake,
            turn: 0,
            draining: None,
        };
        Slot {
            revision,
            stage: Stage::Live(lanes),
        }
    }

    /// Leases a lane; the last part says whether more are free. `None` when none is.
    pub(super) fn lease(&mut self) -> Option<(u8, GrantKind, bool)> {
        let Stage::Live(lanes) = &mut self.stage else {
            return None;
        };
        let lane = lanes.free.pop()?;
        let kind = match (std::mem::replace(&mut lanes.rest, Rest::Awake), lanes.ran) {
            (Rest::Awake, true) => GrantKind::Warm,
            (Rest::Awake, false) => GrantKind::Ahead,
            _ => {
                lanes.turn += 1;
                GrantKind::Thawed { turn: lanes.turn }
            }
        };
        lanes.ran = true;
        lanes.leased += 1;
        Some((lane, kind, !lanes.free.is_empty()))
    }

    /// A lane is free again. `false` when the instance is not live any more.
    pub(super) fn take_home(&mut self, lane: u8, now: Instant) -> bool {
        let Stage::Live(lanes) = &mut self.stage else {
            return false;
        };
        debug_assert!(!lanes.free.contains(&lane), "a lane came home twice");
        lanes.free.push(lane);
        lanes.leased -= 1;
        lanes.idle_since = now;
        true
    }

    /// It is to be frozen; returns the turn.
    pub(super) fn freeze(&mut self, now: Instant) -> Option<u64> {
        let Stage::Live(lanes) = &mut self.stage else {
            return None;
        };
        lanes.rest = Rest::Frozen(now);
        lanes.turn += 1;
        Some(lanes.turn)
    }

    /// What was to be done in this turn, or in any, could not be.
    pub(super) fn not_frozen(&mut self, turn: Option<u64>) {
        if let Stage::Live(lanes) = &mut self.stage
            && turn.is_none_or(|turn| turn == lanes.turn)
        {
            lanes.rest = Rest::Awake;
        }
    }

    /// Since when it stands still, if nobody wanted its memory yet.
    pub(super) fn frozen_since(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Live(Lanes {
                rest: Rest::Frozen(since),
                ..
            }) => Some(*since),
            _ => None,
        }
    }

    /// Its memory is to be given back; returns the turn in which it was frozen. `None` when that was tried already, or it runs.
    pub(super) fn reclaim(&mut self) -> Option<u64> {
        match &mut self.stage {
            Stage::Live(lanes) if matches!(lanes.rest, Rest::Frozen(_)) => {
                lanes.rest = Rest::Reclaimed;
                Some(lanes.turn)
            }
            _ => None,
        }
    }

    /// What was to be given back in this turn could not be.
    pub(super) fn not_reclaimed(&mut self, turn: u64) {
        if let Stage::Live(lanes) = &mut self.stage
            && lanes.turn == turn
            && lanes.rest == Rest::Reclaimed
        {
            lanes.rest = Rest::Holding;
        }
    }

    /// A leased lane will not come home. `false` when the instance is not live any more.
    pub(super) fn lose(&mut self, _lane: u8) -> bool {
        let Stage::Live(lanes) = &mut self.stage else {
            return false;
        };
        lanes.leased -= 1;
        true
    }

    /// No new lease; the instance is killed for `cause` when those that are out have ended.
    pub(super) fn drain(&mut self, cause: KillCause) {
        if let Stage::Live(lanes) = &mut self.stage {
            lanes.draining.get_or_insert(cause);
        }
    }

    pub(super) fn drain_cause(&self) -> Option<KillCause> {
        match &self.stage {
            Stage::Live(lanes) => lanes.draining,
            _ => None,
        }
    }

    pub(super) fn is_draining(&self) -> bool {
        self.drain_cause().is_some()
    }

    pub(super) fn leased(&self) -> u32 {
        match &self.stage {
            Stage::Live(lanes) => lanes.leased,
            _ => 0,
        }
    }

    /// Whether it ran a call, or runs one.
    pub(super) fn ran(&self) -> bool {
        matches!(&self.stage, Stage::Live(lanes) if lanes.ran)
    }

    /// Whether it is live and has no call.
    pub(super) fn is_unused(&self) -> bool {
        matches!(&self.stage, Stage::Live(lanes) if lanes.leased == 0)
    }

    pub(super) fn idle_since(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Live(lanes) => Some(lanes.idle_since),
            _ => None,
        }
    }

    pub(super) fn condition(&self) -> Condition {
        match &self.stage {
            Stage::Starting { .. } => Condition::Starting,
            Stage::Live(lanes) if lanes.draining.is_some() => Condition::Draining,
            Stage::Live(lanes) if lanes.leased > 0 => Condition::Busy,
            Stage::Live(lanes) if !lanes.ran => Condition::Ahead,
            Stage::Live(lanes) => match lanes.rest {
                Rest::Awake => Condition::Idle,
                Rest::Frozen(_) | Rest::Holding => Condition::Frozen,
                Rest::Reclaimed => Condition::Reclaimed,
            },
            Stage::Dying(_) => Condition::Dying,
        }
    }
}
