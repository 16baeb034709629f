//! `reuse = "request"`: every call has an instance of its own.

use functions::Reuse;

use super::*;

fn desk() -> Desk {
    Desk::with(|scale| scale.reuse = Reuse::Request)
}

fn only_grant(commands: &[Command]) -> Grant {
    let granted = commands.iter().find_map(|command| match command {
        Command::Grant { grant, .. } => Some(*grant),
        _ => None,
    });
    granted.expect("somebody was served")
}

#[test]
fn an_instance_that_served_its_call_is_killed() {
    let mut desk = desk();
    desk.waits();
    assert_eq!(desk.took(), [start(0, 1, ColdReason::First)]);
    let held = only_grant(&desk.started(0));
    assert_eq!(
        desk.give_back(held),
        [kill(InstanceId(0), KillCause::Spent), start_ahead(1)],
        "the next one is started when nobody is in its way"
    );
    assert_eq!(desk.started(1), []);
    assert_eq!(desk.gone(0, ColdReason::Crashed), []);
    assert_eq!(desk.shelf.counts().ahead, 1);
}

#[test]
fn one_that_is_taken_is_replaced_after_the_call_or_when_that_is_long() {
    let mut desk = desk();
    desk.waits();
    desk.took();
    let first = only_grant(&desk.started(0));
    desk.give_back(first);
    desk.started(1);
    desk.gone(0, ColdReason::Crashed);
    for next in 1..20 {
        let held = desk.lane();
        assert_eq!((held.instance, held.kind), (InstanceId(next), GrantKind::Ahead));
        assert_eq!(desk.took(), [], "it has the processors for itself");
        let killed = kill(InstanceId(next), KillCause::Spent);
        if next % 2 == 0 {
            assert_eq!(desk.give_back(held), [killed, start_ahead(next + 1)]);
        } else {
            desk.pass(policy::SETTLE);
            assert_eq!(desk.tick(), [start_ahead(next + 1)]);
            assert_eq!(desk.give_back(held), [killed]);
        }
        desk.started(next + 1);
        desk.gone(next, ColdReason::Crashed);
    }
}

#[test]
fn beside_other_calls_it_is_replaced_at_once() {
    let mut desk = Desk::with(|scale| (scale.reuse, scale.ahead) = (Reuse::Request, functions::Ahead::Exactly(2)));
    desk.shelf.provision(desk.now, number(1), desk.scale, &mut desk.out);
    desk.took();
    desk.started(0);
    desk.started(1);
    desk.lane();
    assert_eq!(desk.took(), []);
    desk.lane();
    assert_eq!(desk.took(), [start_ahead(2)], "there is room for three");
}

#[test]
fn a_call_does_not_wait_for_a_lane_that_will_never_come_home() {
    let mut desk = desk();
    desk.waits();
    desk.took();
    desk.pass(MS * 500);
    let first = only_grant(&desk.started(0));
    desk.give_back(first);
    desk.started(1);
    desk.gone(0, ColdReason::Crashed);
    desk.lane();
    desk.pass(policy::SETTLE);
    assert_eq!(desk.tick(), [start_ahead(2)]);
    // Two wait: the instance under preparation is for the first, so another is started for the second.
    desk.waits();
    assert_eq!(desk.took(), []);
    desk.waits();
    assert_eq!(desk.took(), [start(3, 1, ColdReason::ScaleUp)]);
}

#[test]
fn with_room_for_one_the_next_call_waits_until_the_last_is_gone() {
    let mut desk = Desk::with(|scale| (scale.max, scale.reuse) = (1, Reuse::Request));
    desk.waits();
    desk.took();
    let held = only_grant(&desk.started(0));
    let waiter = desk.waits();
    assert_eq!(desk.took(), []);
    assert_eq!(desk.give_back(held), [kill(InstanceId(0), KillCause::Spent)]);
    assert_eq!(
        desk.gone(0, ColdReason::Crashed),
        [start(1, 1, ColdReason::Spent)],
        "that is no crash"
    );
    assert_eq!(desk.started(1), [grant(waiter, 1, GrantKind::Cold)]);
}
