//! Instances that wait for their first call.

use functions::Ahead;

use super::*;

/// Until nobody called for so long that nothing waits ahead any more.
const LONG: Duration = policy::WINDOW;

impl Desk {
    fn advise(&mut self, forks: bool) -> Vec<Command> {
        let advice = Advice { forks };
        self.shelf.advise(self.now, number(1), advice, &mut self.out);
        self.took()
    }

    fn evict(&mut self, scope: EvictScope) -> Vec<InstanceId> {
        self.shelf.evict(self.now, scope, &mut self.out)
    }
}

/// One used instance, 0, and one that waits ahead, 1.
fn with_one_ahead() -> Desk {
    let mut desk = Desk::new();
    desk.warm();
    assert_eq!(desk.advise(true), [start_ahead(1)]);
    assert_eq!(desk.started(1), []);
    desk
}

#[test]
fn without_a_template_nothing_waits_ahead() {
    let mut desk = Desk::new();
    desk.warm();
    assert_eq!(desk.tick(), []);
    assert_eq!(desk.advise(false), []);
    assert_eq!(desk.shelf.counts().starting, 0);
}

#[test]
fn one_waits_beside_the_used_ones_while_calls_come() {
    let mut desk = with_one_ahead();
    assert_eq!((desk.shelf.counts().ahead, desk.shelf.counts().idle), (1, 1));
    let warm = desk.lane();
    assert_eq!(
        (warm.instance, warm.kind),
        (InstanceId(0), GrantKind::Warm),
        "who ran one goes first"
    );
    let new = desk.lane();
    assert_eq!((new.instance, new.kind), (InstanceId(1), GrantKind::Ahead));
    assert_eq!(desk.took(), [], "the call on its way has the processor for itself");
    assert_eq!(desk.give_back(new), [start_ahead(2)]);
    assert_eq!(desk.started(2), []);
    assert_eq!(desk.give_back(warm), []);
}

#[test]
fn a_call_that_goes_on_does_not_keep_the_next_from_waiting() {
    let mut desk = with_one_ahead();
    desk.lane();
    desk.lane();
    assert_eq!(desk.shelf.wake_by(), Some(desk.now + policy::SETTLE));
    desk.pass(policy::SETTLE);
    assert_eq!(desk.tick(), [start_ahead(2)]);
}

#[test]
fn nothing_is_started_ahead_while_a_call_waits() {
    let mut desk = Desk::new();
    desk.waits();
    assert_eq!(desk.took(), [start(0, 1, ColdReason::First)]);
    assert_eq!(desk.advise(true), []);
    let granted = desk.started(0);
    let [Command::Grant { grant, .. }] = granted[..] else {
        panic!("{granted:?}")
    };
    assert_eq!(desk.give_back(grant), [start_ahead(1)]);
}

#[test]
fn a_call_takes_what_is_being_prepared_ahead() {
    let mut desk = Desk::new();
    desk.warm();
    desk.lane();
    desk.advise(true);
    let waiter = desk.waits();
    assert_eq!(desk.took(), [], "it is started already");
    assert_eq!(desk.started(1), [grant(waiter, 1, GrantKind::Cold)]);
}

#[test]
fn what_waits_goes_when_nobody_called_for_long() {
    let mut desk = with_one_ahead();
    desk.pass(MS * 60_000);
    assert_eq!(desk.tick(), [kill(InstanceId(0), KillCause::Idle)]);
    desk.gone(0, ColdReason::Crashed);
    desk.pass(LONG - MS * 60_001);
    assert_eq!(desk.tick(), []);
    desk.pass(MS);
    assert_eq!(desk.tick(), [kill(InstanceId(1), KillCause::Idle)]);
    desk.gone(1, ColdReason::Crashed);
    assert!(desk.shelf.is_empty());
}

#[test]
fn a_warm_call_after_a_long_time_brings_it_back() {
    let mut desk = Desk::with(|scale| scale.idle = LONG * 2).without_freezer();
    desk.warm();
    desk.advise(true);
    desk.started(1);
    desk.pass(LONG);
    assert_eq!(desk.tick(), []);
    desk.pass(LONG - MS);
    desk.tick();
    let held = desk.lane();
    assert_eq!(held.kind, GrantKind::Warm);
    desk.gone(1, ColdReason::Crashed);
    assert_eq!(desk.give_back(held), [start_ahead(2)]);
}

#[test]
fn a_number_waits_from_the_deploy_on() {
    let mut desk = Desk::with(|scale| scale.ahead = Ahead::Exactly(2));
    desk.shelf.provision(desk.now, number(1), desk.scale, &mut desk.out);
    assert_eq!(desk.took(), [start_ahead(0), start_ahead(1)]);
    desk.started(0);
    desk.started(1);
    desk.pass(LONG * 3);
    assert_eq!(desk.tick(), []);
    let held = desk.lane();
    assert_eq!(desk.give_back(held), [start_ahead(2)], "a used one is not ahead");
    desk.shelf.retire(desk.now, Some(number(2)), &mut desk.out);
    assert!(
        desk.took()
            .iter()
            .all(|command| matches!(command, Command::Kill { .. }))
    );
}

#[test]
fn the_maximum_counts_those_that_wait() {
    let mut desk = Desk::with(|scale| (scale.max, scale.ahead) = (2, Ahead::Exactly(5)));
    desk.waits();
    desk.took();
    let granted = desk.started(0);
    let [Command::Grant { grant, .. }] = granted[..] else {
        panic!("{granted:?}")
    };
    assert_eq!(desk.give_back(grant), [start_ahead(1)]);
    assert_eq!(desk.tick(), []);
}

#[test]
fn eviction_of_the_used_leaves_what_waits() {
    let mut desk = with_one_ahead();
    assert_eq!(desk.evict(EvictScope::Used), [InstanceId(0)]);
    desk.took();
    desk.gone(0, ColdReason::Evicted);
    assert_eq!(desk.lane().kind, GrantKind::Ahead);
}

#[test]
fn eviction_of_all_leaves_nothing_and_starts_nothing() {
    let mut desk = with_one_ahead();
    assert_eq!(desk.evict(EvictScope::All), [InstanceId(0), InstanceId(1)]);
    let killed = [InstanceId(0), InstanceId(1)].map(|id| kill(id, KillCause::Evicted));
    assert_eq!(desk.took(), killed);
    desk.gone(0, ColdReason::Evicted);
    desk.gone(1, ColdReason::Evicted);
    assert!(desk.shelf.is_empty());
}

#[test]
fn a_handler_that_can_not_be_loaded_is_not_started_ahead() {
    let mut desk = Desk::new();
    desk.warm();
    assert_eq!(desk.advise(true), [start_ahead(1)]);
    assert_eq!(desk.failed(1), [kill(InstanceId(1), KillCause::Failed)]);
    assert_eq!(desk.gone(1, ColdReason::Crashed), []);
}

#[test]
fn only_the_live_revision_waits_ahead() {
    let mut desk = with_one_ahead();
    let revision_two = desk.scale;
    desk.shelf.provision(desk.now, number(2), revision_two, &mut desk.out);
    desk.took();
    desk.gone(0, ColdReason::Crashed);
    desk.gone(1, ColdReason::Crashed);
    // A call that was on its way when the deploy came.
    assert!(matches!(desk.acquire_of(1, MS * 1000), Acquired::Waits(_)));
    desk.took();
    assert_eq!(desk.advise(true), []);
    let granted = desk.started(2);
    let [Command::Grant { grant, .. }] = granted[..] else {
        panic!("{granted:?}")
    };
    assert_eq!(desk.give_back(grant), []);
}

/// Calls the function every five minutes, until the shelf knows that; one instance ran and is idle. The last start took 2 ms if
/// it was a fork, the first one 400 ms.
fn seldom_called(forks: bool) -> Desk {
    let mut desk = Desk::with(|scale| (scale.ahead, scale.idle, scale.max) = (Ahead::Exactly(0), LONG, 1));
    desk.waits();
    desk.took();
    desk.pass(MS * 400);
    let granted = desk.started(0);
    let [Command::Grant { grant, .. }] = granted[..] else {
        panic!("{granted:?}")
    };
    desk.give_back(grant);
    desk.advise(forks);
    if forks {
        desk.shelf
            .gone(desk.now, InstanceId(0), ColdReason::Crashed, &mut desk.out);
        desk.took();
        desk.waits();
        let started = desk.took();
        desk.advise(true);
        let [Command::Start { instance, .. }] = started[..] else {
            panic!("{started:?}")
        };
        desk.pass(MS * 2);
        let granted = desk.started(instance.0);
        let [Command::Grant { grant, .. }] = granted[..] else {
            panic!("{granted:?}")
        };
        desk.give_back(grant);
    }
    for _ in 0..6 {
        desk.pass(MS * 300_000);
        let held = match desk.acquire() {
            Acquired::Lane(held) => held,
            _ => {
                let started = desk.took();
                let [Command::Start { instance, .. }] = started[..] else {
                    panic!("{started:?}")
                };
                let granted = desk.started(instance.0);
                let [Command::Grant { grant, .. }] = granted[..] else {
                    panic!("{granted:?}")
                };
                grant
            }
        };
        desk.give_back(held);
    }
    desk
}

#[test]
fn what_a_fork_replaces_goes_early_when_the_next_call_is_far() {
    let mut desk = seldom_called(true).without_freezer();
    assert_eq!(desk.tick(), []);
    let due = desk.shelf.wake_by().unwrap();
    assert!(due < desk.now + MS * 60_000, "long before idle");
    desk.now = due;
    assert!(matches!(
        desk.tick()[..],
        [Command::Kill {
            cause: KillCause::Idle,
            ..
        }]
    ));
}

#[test]
fn without_a_template_an_instance_stays_for_all_of_idle() {
    let mut desk = seldom_called(false).without_freezer();
    assert_eq!(desk.tick(), []);
    assert_eq!(desk.shelf.wake_by(), Some(desk.now + LONG));
    desk.pass(LONG - MS);
    assert_eq!(desk.tick(), []);
}
