//! The shelf, one story at a time.

mod ahead;
mod burst;
mod frozen;
mod kept;
mod pristine;
mod reclaimed;

use super::*;
use crate::start::Purpose;

const MS: Duration = Duration::from_millis(1);

/// A shelf with a clock in the test's hand.
struct Desk {
    shelf: Shelf,
    now: Instant,
    scale: Scale,
    out: Vec<Command>,
}

impl Desk {
    fn new() -> Desk {
        Desk {
            shelf: Shelf::new(Past::default(), 4, Reclaim::default()),
            now: Instant::now(),
            scale: Scale {
                min: 0,
                max: 3,
                concurrency: 1,
                idle: MS * 60_000,
                queue: 10,
                ..Scale::default()
            },
            out: Vec::new(),
        }
    }

    /// On a host that can stop nobody.
    fn without_freezer(mut self) -> Desk {
        self.shelf.freezes_nobody();
        self
    }

    fn with(change: impl FnOnce(&mut Scale)) -> Desk {
        let mut desk = Desk::new();
        change(&mut desk.scale);
        desk
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    fn acquire_of(&mut self, revision: u64, patience: Duration) -> Acquired {
        self.shelf.acquire(
            self.now,
            number(revision),
            self.scale,
            self.now + patience,
            &mut self.out,
        )
    }

    fn acquire(&mut self) -> Acquired {
        self.acquire_of(1, MS * 30_000)
    }

    fn waits(&mut self) -> WaiterId {
        match self.acquire() {
            Acquired::Waits(waiter) => waiter,
            other => panic!("expected to wait, got {other:?}"),
        }
    }

    fn lane(&mut self) -> Grant {
        match self.acquire() {
            Acquired::Lane(grant) => grant,
            other => panic!("expected a lane, got {other:?}"),
        }
    }

    fn took(&mut self) -> Vec<Command> {
        std::mem::take(&mut self.out)
    }

    fn started(&mut self, id: u64) -> Vec<Command> {
        self.shelf.started(self.now, InstanceId(id), &mut self.out);
        self.took()
    }

    fn failed(&mut self, id: u64) -> Vec<Command> {
        self.shelf.start_failed(self.now, InstanceId(id), &mut self.out);
        self.took()
    }

    fn give_back(&mut self, grant: Grant) -> Vec<Command> {
        self.shelf
            .give_back(self.now, grant.instance, grant.lane, MS, &mut self.out);
        self.took()
    }

    fn poison(&mut self, grant: Grant, poison: Poison) -> Vec<Command> {
        self.shelf
            .poison(self.now, grant.instance, grant.lane, poison, &mut self.out);
        self.took()
    }

    fn gone(&mut self, id: u64, reason: ColdReason) -> Vec<Command> {
        self.shelf.gone(self.now, InstanceId(id), reason, &mut self.out);
        self.took()
    }

    fn tick(&mut self) -> Vec<Command> {
        self.shelf.tick(self.now, &mut self.out);
        self.took()
    }

    /// Starts an instance and brings its first lease home.
    fn warm(&mut self) -> InstanceId {
        self.waits();
        let started = self.took();
        let [Command::Start { instance, .. }] = started[..] else {
            panic!("{started:?}")
        };
        let granted = self.started(instance.0);
        let [Command::Grant { grant, .. }] = granted[..] else {
            panic!("{granted:?}")
        };
        assert_eq!(self.give_back(grant), []);
        instance
    }
}

fn number(revision: u64) -> RevisionNumber {
    RevisionNumber::new(revision).unwrap()
}

fn start(instance: u64, revision: u64, reason: ColdReason) -> Command {
    start_for(Purpose::Call, instance, revision, reason)
}

fn start_for(purpose: Purpose, instance: u64, revision: u64, reason: ColdReason) -> Command {
    Command::Start {
        instance: InstanceId(instance),
        revision: number(revision),
        purpose,
        reason,
    }
}

fn start_ahead(instance: u64) -> Command {
    start_for(Purpose::Ahead, instance, 1, ColdReason::Ahead)
}

fn kill(instance: InstanceId, cause: KillCause) -> Command {
    Command::Kill { instance, cause }
}

fn grant(waiter: WaiterId, instance: u64, kind: GrantKind) -> Command {
    Command::Grant {
        waiter,
        grant: Grant {
            instance: InstanceId(instance),
            lane: 0,
            kind,
        },
    }
}

#[test]
fn the_first_call_starts_and_the_second_is_warm() {
    let mut desk = Desk::new();
    let waiter = desk.waits();
    assert_eq!(desk.took(), [start(0, 1, ColdReason::First)]);
    let granted = desk.started(0);
    assert_eq!(granted, [grant(waiter, 0, GrantKind::Cold)]);
    let Command::Grant { grant, .. } = granted[0] else {
        unreachable!()
    };
    desk.give_back(grant);
    assert_eq!(desk.lane().kind, GrantKind::Warm);
    assert_eq!(desk.took(), []);
}

#[test]
fn a_lane_goes_from_hand_to_hand_in_the_order_of_arrival() {
    let mut desk = Desk::with(|scale| scale.max = 1);
    desk.warm();
    let held = desk.lane();
    let (first, second) = (desk.waits(), desk.waits());
    assert_eq!(desk.took(), []);
    assert_eq!(desk.give_back(held), [grant(first, 0, GrantKind::Warm)]);
    assert_eq!(desk.give_back(held), [grant(second, 0, GrantKind::Warm)]);
    assert_eq!(desk.give_back(held), []);
    assert_eq!(desk.shelf.counts().idle, 1);
}

#[test]
fn the_instance_used_last_is_used_next() {
    let mut desk = Desk::new();
    for _ in 0..3 {
        desk.waits();
    }
    assert_eq!(desk.took().len(), 3);
    let grants: Vec<_> = (0..3)
        .map(|id| match desk.started(id)[..] {
            [Command::Grant { grant, .. }] => grant,
            ref other => panic!("{other:?}"),
        })
        .collect();
    for at in [2, 0, 1] {
        desk.give_back(grants[at]);
    }
    assert_eq!(desk.lane().instance, InstanceId(1));
    assert_eq!(desk.lane().instance, InstanceId(0));
    assert_eq!(desk.lane().instance, InstanceId(2));
}

#[test]
fn a_burst_is_refused_only_beyond_what_may_run_and_wait() {
    let mut desk = Desk::with(|scale| scale.queue = 2);
    // Three that may run, and twice the queue, as nothing serves yet.
    for _ in 0..7 {
        desk.waits();
    }
    assert_eq!(desk.acquire(), Acquired::Refused(Refusal::QueueFull));
    let reasons: Vec<_> = desk
        .took()
        .into_iter()
        .map(|command| match command {
            Command::Start { reason, .. } => reason,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(reasons, [ColdReason::First, ColdReason::ScaleUp, ColdReason::ScaleUp]);
}

#[test]
fn idle_instances_are_reaped_and_the_next_start_says_so() {
    let mut desk = Desk::new().without_freezer();
    let instance = desk.warm();
    assert_eq!(desk.shelf.wake_by(), Some(desk.now + MS * 60_000));
    desk.pass(MS * 59_999);
    assert_eq!(desk.tick(), []);
    desk.pass(MS);
    assert_eq!(desk.tick(), [kill(instance, KillCause::Idle)]);
    assert!(!desk.shelf.is_empty());
    desk.gone(0, ColdReason::Crashed);
    assert!(desk.shelf.is_empty());
    let mut again = Desk {
        shelf: Shelf::new(desk.shelf.past(), 4, Reclaim::default()),
        ..desk
    };
    again.waits();
    assert_eq!(again.took(), [start(1, 1, ColdReason::ScaledToZero)]);
}

#[test]
fn a_busy_instance_is_never_idle() {
    let mut desk = Desk::new();
    desk.warm();
    let held = desk.lane();
    desk.pass(MS * 600_000);
    assert_eq!(desk.tick(), []);
    assert_eq!(desk.give_back(held), []);
    assert_eq!(desk.tick(), []);
}

#[test]
fn every_end_is_the_reason_of_the_next_start() {
    for (poison, reason) in [
        (Poison::Timeout, ColdReason::Limit),
        (Poison::Protocol, ColdReason::Crashed),
        (Poison::ClientGone, ColdReason::Abandoned),
        (Poison::Unfinished, ColdReason::Abandoned),
    ] {
        let mut desk = Desk::with(|scale| scale.max = 1);
        let instance = desk.warm();
        let held = desk.lane();
        assert_eq!(desk.poison(held, poison), [kill(instance, KillCause::Poisoned(poison))]);
        desk.waits();
        assert_eq!(desk.took(), [], "the maximum counts what is being torn down");
        assert_eq!(desk.gone(0, ColdReason::Crashed), [start(1, 1, reason)]);
    }
}

#[test]
fn an_exit_is_judged_by_how_it_ended() {
    let mut desk = Desk::new();
    desk.warm();
    let held = desk.lane();
    desk.poison(held, Poison::Exited);
    desk.gone(0, ColdReason::Limit);
    desk.waits();
    assert_eq!(desk.took(), [start(1, 1, ColdReason::Limit)]);
}

#[test]
fn an_instance_that_dies_idle_is_no_longer_granted() {
    let mut desk = Desk::new();
    desk.warm();
    desk.gone(0, ColdReason::Crashed);
    desk.waits();
    assert_eq!(desk.took(), [start(1, 1, ColdReason::Crashed)]);
}

#[test]
fn a_timeout_on_one_lane_lets_the_neighbour_finish() {
    let mut desk = Desk::with(|scale| scale.concurrency = 2);
    desk.warm();
    let (late, fine) = (desk.lane(), desk.lane());
    assert_eq!(late.instance, fine.instance);
    assert_eq!(desk.poison(late, Poison::Timeout), []);
    desk.waits();
    assert_eq!(desk.took(), [start(1, 1, ColdReason::ScaleUp)]);
    assert_eq!(
        desk.give_back(fine),
        [kill(fine.instance, KillCause::Poisoned(Poison::Timeout))]
    );
}

#[test]
fn a_protocol_error_kills_at_once() {
    let mut desk = Desk::with(|scale| scale.concurrency = 2);
    desk.warm();
    let (bad, fine) = (desk.lane(), desk.lane());
    assert_eq!(
        desk.poison(bad, Poison::Protocol),
        [kill(bad.instance, KillCause::Poisoned(Poison::Protocol))]
    );
    assert!(
        !desk
            .shelf
            .give_back(desk.now, fine.instance, fine.lane, MS, &mut desk.out)
    );
    assert_eq!(desk.shelf.in_flight(), 0);
}

#[test]
fn a_new_revision_drains_the_old_one() {
    let mut desk = Desk::new();
    desk.warm();
    let held = desk.lane();
    desk.waits();
    desk.took();
    let Acquired::Waits(new) = desk.acquire_of(2, MS * 1000) else {
        panic!()
    };
    assert_eq!(desk.took(), [start(2, 2, ColdReason::NewRevision)]);
    desk.shelf.retire(desk.now, Some(number(2)), &mut desk.out);
    assert_eq!(desk.took(), [], "one is busy and one is waited for");
    let granted = desk.give_back(held);
    assert!(
        matches!(granted[..], [Command::Grant { .. }]),
        "a call that waits for the old revision is still served"
    );
    assert_eq!(desk.started(2), [grant(new, 2, GrantKind::Cold)]);
    assert_eq!(desk.shelf.counts().draining, 1);
    assert_eq!(desk.give_back(held), [kill(InstanceId(0), KillCause::Retired)]);
    assert_eq!(
        desk.started(1),
        [kill(InstanceId(1), KillCause::Retired)],
        "nobody needs it any more"
    );
}

#[test]
fn a_revision_that_is_called_again_keeps_its_instance_beside_the_live_one() {
    let mut desk = Desk::new();
    desk.warm();
    let held = desk.lane();
    desk.shelf.retire(desk.now, Some(number(2)), &mut desk.out);
    assert_eq!(desk.shelf.counts().draining, 1);
    let Acquired::Waits(waiter) = desk.acquire_of(1, MS * 1000) else {
        panic!("its only instance is busy")
    };
    assert_eq!(desk.shelf.counts().draining, 0);
    assert!(desk.shelf.cancel_waiter(desk.now, waiter));
    desk.took();
    assert_eq!(desk.give_back(held), []);
    assert_eq!(desk.lane().kind, GrantKind::Warm);
}

#[test]
fn a_removed_function_refuses_and_a_later_deploy_is_first_again() {
    let mut desk = Desk::new();
    let instance = desk.warm();
    desk.shelf.retire(desk.now, None, &mut desk.out);
    assert_eq!(desk.took(), [kill(instance, KillCause::Retired)]);
    assert_eq!(desk.acquire(), Acquired::Refused(Refusal::Removed));
    assert!(matches!(desk.acquire_of(2, MS * 1000), Acquired::Waits(_)));
    assert_eq!(desk.took(), [start(1, 2, ColdReason::First)]);
}

#[test]
fn a_failed_start_refuses_who_waits_unless_another_lives() {
    let mut desk = Desk::with(|scale| scale.max = 2);
    let (first, second) = (desk.waits(), desk.waits());
    desk.took();
    let commands = desk.failed(0);
    assert!(commands.contains(&kill(InstanceId(0), KillCause::Failed)));
    assert!(
        !commands.iter().any(|command| matches!(command, Command::Refuse { .. })),
        "the other one still starts"
    );
    desk.gone(0, ColdReason::Crashed);
    let refused = desk.failed(1);
    // The replacement that was started meanwhile keeps hope alive.
    let still_starting = desk.shelf.counts().starting;
    assert_eq!(still_starting, 1, "{refused:?}");
    let refused = desk.failed(2);
    for waiter in [first, second] {
        let refusal = Command::Refuse {
            waiter,
            revision: number(1),
            refusal: Refusal::StartFailed,
        };
        assert!(refused.contains(&refusal), "{refused:?}");
    }
}

#[test]
fn after_five_failures_starts_pause_and_calls_learn_why_at_once() {
    let mut desk = Desk::with(|scale| scale.max = 1);
    for id in 0..5 {
        desk.waits();
        desk.took();
        desk.failed(id);
        desk.gone(id, ColdReason::Crashed);
    }
    assert_eq!(desk.acquire(), Acquired::Refused(Refusal::StartFailed));
    assert!(!desk.shelf.is_empty(), "the failures are remembered");
    desk.pass(MS * 100);
    desk.waits();
    assert_eq!(desk.took(), [start(5, 1, ColdReason::First)]);
    desk.failed(5);
    desk.gone(5, ColdReason::Crashed);
    desk.pass(MS * 100);
    assert_eq!(
        desk.acquire(),
        Acquired::Refused(Refusal::StartFailed),
        "the pause doubles"
    );
    desk.pass(policy::FAILURE_MEMORY);
    desk.tick();
    assert!(desk.shelf.is_empty());
}

#[test]
fn a_success_restores_the_budget() {
    let mut desk = Desk::with(|scale| scale.max = 1);
    for id in 0..4 {
        desk.waits();
        desk.failed(id);
        desk.gone(id, ColdReason::Crashed);
    }
    desk.took();
    desk.warm();
    desk.gone(4, ColdReason::Crashed);
    desk.waits();
    desk.failed(5);
    desk.gone(5, ColdReason::Crashed);
    desk.waits();
}

#[test]
fn eviction_kills_what_is_bound_and_waiters_get_new_ones() {
    let mut desk = Desk::with(|scale| scale.max = 2);
    desk.warm();
    desk.lane();
    let waiter = desk.waits();
    assert_eq!(desk.took(), [start(1, 1, ColdReason::ScaleUp)]);
    let evicted = desk.shelf.evict(desk.now, EvictScope::Used, &mut desk.out);
    assert_eq!(evicted, [InstanceId(0)]);
    assert_eq!(desk.took(), [kill(InstanceId(0), KillCause::Evicted)]);
    let evicted = desk.shelf.evict(desk.now, EvictScope::All, &mut desk.out);
    assert_eq!(evicted, [InstanceId(1)]);
    desk.took();
    assert_eq!(desk.gone(0, ColdReason::Evicted), [start(2, 1, ColdReason::Evicted)]);
    assert!(
        !desk.shelf.started(desk.now, InstanceId(1), &mut desk.out),
        "it is to be killed"
    );
    assert_eq!(desk.started(2), [grant(waiter, 2, GrantKind::Cold)]);
}

#[test]
fn one_that_is_condemned_gets_no_call_and_makes_room_when_it_is_forgotten() {
    let mut desk = Desk::with(|scale| scale.max = 1);
    desk.warm();
    let grant = desk.lane();
    desk.waits();
    let condemn = |desk: &mut Desk, id| {
        let cause = KillCause::Quarantined;
        desk.shelf.condemn(desk.now, InstanceId(id), cause, &mut desk.out)
    };
    assert!(condemn(&mut desk, 0) && !condemn(&mut desk, 0), "once");
    assert!(!condemn(&mut desk, 7), "nobody knows that one");
    assert_eq!(desk.took(), [kill(InstanceId(0), KillCause::Quarantined)]);
    // What is put aside is forgotten before it is gone.
    assert_eq!(desk.gone(0, ColdReason::Rule), [start(1, 1, ColdReason::Rule)]);
    assert!(!condemn(&mut desk, 1), "it is not up yet");
    // Its call ends later, and changes nothing.
    assert_eq!(desk.poison(grant, Poison::Timeout), []);
    assert_eq!(desk.gone(0, ColdReason::Limit), []);
    assert_eq!(desk.shelf.in_flight(), 1);
}

#[test]
fn the_minimum_is_started_kept_and_replaced() {
    let mut desk = Desk::with(|scale| scale.min = 2);
    desk.shelf.provision(desk.now, number(1), desk.scale, &mut desk.out);
    assert_eq!(
        desk.took(),
        [
            start_for(Purpose::Ahead, 0, 1, ColdReason::First),
            start_for(Purpose::Ahead, 1, 1, ColdReason::ScaleUp)
        ]
    );
    desk.started(0);
    desk.started(1);
    desk.pass(MS * 600_000);
    assert_eq!(desk.tick(), []);
    assert_eq!(desk.shelf.wake_by(), None);
    assert_eq!(desk.lane().kind, GrantKind::Ahead);
    assert_eq!(
        desk.gone(0, ColdReason::Crashed),
        [start_for(Purpose::Ahead, 2, 1, ColdReason::ScaleUp)]
    );
    desk.shelf.retire(desk.now, Some(number(2)), &mut desk.out);
    assert!(
        desk.took()
            .iter()
            .all(|command| matches!(command, Command::Kill { .. }))
    );
}

#[test]
fn whoever_left_the_queue_gets_nothing() {
    let mut desk = Desk::with(|scale| scale.max = 1);
    let (gone, stays) = (desk.waits(), desk.waits());
    desk.took();
    assert!(desk.shelf.cancel_waiter(desk.now, gone));
    assert!(!desk.shelf.cancel_waiter(desk.now, gone));
    assert_eq!(desk.started(0), [grant(stays, 0, GrantKind::Cold)]);
    assert!(!desk.shelf.cancel_waiter(desk.now, stays));
}

#[test]
fn a_waiter_past_its_deadline_is_skipped() {
    let mut desk = Desk::with(|scale| scale.max = 1);
    let Acquired::Waits(late) = desk.acquire_of(1, MS * 5) else {
        panic!()
    };
    let stays = desk.waits();
    desk.took();
    desk.pass(MS * 5);
    let refusal = Command::Refuse {
        waiter: late,
        revision: number(1),
        refusal: Refusal::Deadline,
    };
    assert_eq!(desk.started(0), [refusal, grant(stays, 0, GrantKind::Cold)]);
    assert_eq!(desk.acquire_of(1, Duration::ZERO), Acquired::Refused(Refusal::Deadline));
}

#[test]
fn with_no_queue_a_cold_function_still_starts() {
    let mut desk = Desk::with(|scale| (scale.queue, scale.max) = (0, 1));
    desk.waits();
    assert_eq!(desk.acquire(), Acquired::Refused(Refusal::QueueFull));
}

#[test]
fn a_closing_shelf_serves_who_waits_and_nobody_else() {
    let mut desk = Desk::with(|scale| scale.max = 1);
    desk.warm();
    let held = desk.lane();
    let waiter = desk.waits();
    desk.shelf.close();
    assert_eq!(desk.acquire(), Acquired::Refused(Refusal::Closing));
    assert_eq!(desk.give_back(held), [grant(waiter, 0, GrantKind::Warm)]);
    assert_eq!(desk.shelf.in_flight(), 1);
    desk.shelf.shut(&mut desk.out);
    assert_eq!(desk.took(), [kill(InstanceId(0), KillCause::Closing)]);
    assert_eq!(desk.give_back(held), []);
    assert_eq!(desk.shelf.in_flight(), 0);
}

#[test]
fn once_the_means_are_known_a_short_wait_is_preferred_to_a_start() {
    let mut desk = Desk::new();
    desk.waits();
    desk.took();
    desk.pass(MS * 20);
    let granted = desk.started(0);
    let [Command::Grant { grant: held, .. }] = granted[..] else {
        panic!("{granted:?}")
    };
    desk.give_back(held);
    desk.lane();
    let waiter = desk.waits();
    assert_eq!(desk.took(), [], "a call of one millisecond is on the way home");
    assert_eq!(desk.shelf.wake_by(), Some(desk.now + MS * 20));
    desk.pass(MS * 20);
    assert_eq!(desk.tick(), [start(1, 1, ColdReason::ScaleUp)]);
    assert_eq!(desk.started(1), [grant(waiter, 1, GrantKind::Cold)]);
}
