//! Instances that are stopped while nobody calls.

use super::*;
use crate::policy::FROZEN_AFTER;

fn freeze(id: u64, turn: u64) -> Command {
    Command::Freeze {
        instance: InstanceId(id),
        turn,
    }
}

/// A shelf with one instance that was called once.
fn called() -> Desk {
    let mut desk = Desk::new();
    let waiter = desk.waits();
    desk.took();
    let grants = desk.started(0);
    let [Command::Grant { waiter: served, grant }] = grants[..] else {
        panic!("{grants:?}");
    };
    assert_eq!(served, waiter);
    assert_eq!(desk.give_back(grant), []);
    desk
}

#[test]
fn who_is_not_called_is_stopped_and_the_next_call_continues_it() {
    let mut desk = called();
    assert_eq!(desk.shelf.wake_by(), Some(desk.now + FROZEN_AFTER));
    desk.pass(FROZEN_AFTER);
    assert_eq!(desk.tick(), [freeze(0, 1)]);
    assert_eq!((desk.shelf.counts().idle, desk.shelf.counts().frozen), (0, 1));
    assert_eq!(desk.tick(), [], "once");
    let grant = desk.lane();
    assert_eq!(grant.kind, GrantKind::Thawed { turn: 2 });
    assert_eq!(desk.give_back(grant), []);
    assert_eq!(desk.lane().kind, GrantKind::Warm);
}

#[test]
fn who_is_called_again_in_time_is_not_stopped() {
    let mut desk = called();
    desk.pass(FROZEN_AFTER / 2);
    let grant = desk.lane();
    desk.give_back(grant);
    desk.pass(FROZEN_AFTER / 2);
    assert_eq!(desk.tick(), []);
    desk.pass(FROZEN_AFTER / 2);
    assert_eq!(desk.tick(), [freeze(0, 1)]);
}

#[test]
fn who_is_stopped_goes_at_the_same_time() {
    let mut desk = called();
    let last = desk.now;
    desk.pass(FROZEN_AFTER);
    desk.tick();
    assert_eq!(desk.shelf.wake_by(), Some(last + desk.scale.idle));
    desk.now = last + desk.scale.idle;
    assert_eq!(
        desk.tick(),
        [Command::Kill {
            instance: InstanceId(0),
            cause: KillCause::Idle
        }]
    );
}

#[test]
fn a_host_that_can_not_stop_them_is_asked_once() {
    let mut desk = called();
    desk.pass(FROZEN_AFTER);
    desk.tick();
    desk.shelf.freezes_nobody();
    let grant = desk.lane();
    assert_eq!(grant.kind, GrantKind::Warm);
    desk.give_back(grant);
    desk.pass(FROZEN_AFTER);
    assert_eq!(desk.tick(), []);
}

#[test]
fn one_that_could_not_be_stopped_is_tried_again() {
    let mut desk = called();
    desk.pass(FROZEN_AFTER);
    desk.tick();
    desk.shelf.not_frozen(InstanceId(0), 1);
    assert_eq!(desk.tick(), [freeze(0, 2)]);
}

#[test]
fn a_late_word_that_it_could_not_be_stopped_changes_nothing_of_a_later_turn() {
    let mut desk = called();
    desk.pass(FROZEN_AFTER);
    desk.tick();
    let grant = desk.lane();
    desk.give_back(grant);
    desk.pass(FROZEN_AFTER);
    assert_eq!(desk.tick(), [freeze(0, 3)]);
    desk.shelf.not_frozen(InstanceId(0), 1);
    assert_eq!(desk.lane().kind, GrantKind::Thawed { turn: 4 });
}
