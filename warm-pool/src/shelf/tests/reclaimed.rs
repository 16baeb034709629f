//! Instances that stand still and whose memory is given back.

use super::*;
use crate::policy::{FROZEN_AFTER, RECLAIMED_AFTER_FREEZING, RECLAIMED_FOR};

const BOUND: Duration = Duration::from_secs(120);

fn reclaim(id: u64, turn: u64) -> Command {
    Command::Reclaim {
        instance: InstanceId(id),
        turn,
    }
}

/// A shelf with one instance that was called once, of a revision with these settings.
fn called(after: Reclaim, change: impl FnOnce(&mut Scale)) -> Desk {
    let mut desk = Desk::with(change);
    desk.shelf = Shelf::new(Past::default(), 4, after);
    desk.shelf.provision(desk.now, number(1), desk.scale, &mut desk.out);
    if desk.scale.min == 0 {
        desk.waits();
        desk.took();
    }
    let grants = desk.started(0);
    let grant = match grants[..] {
        [Command::Grant { grant, .. }] => grant,
        _ => desk.lane(),
    };
    desk.give_back(grant);
    desk
}

/// Lets it stand still.
fn frozen(after: Reclaim, change: impl FnOnce(&mut Scale)) -> Desk {
    let mut desk = called(after, change);
    desk.pass(FROZEN_AFTER);
    assert!(matches!(desk.tick()[..], [Command::Freeze { turn: 1, .. }]));
    desk
}

fn long(scale: &mut Scale) {
    scale.idle = Duration::from_secs(3600);
}

#[test]
fn who_stands_still_for_long_gives_its_memory_back_and_is_thawed_by_a_call() {
    let mut desk = frozen(Reclaim::After(BOUND), long);
    assert_eq!(desk.shelf.wake_by(), Some(desk.now + BOUND - FROZEN_AFTER));
    desk.pass(BOUND - FROZEN_AFTER);
    assert_eq!(desk.tick(), [reclaim(0, 1)]);
    assert_eq!((desk.shelf.counts().frozen, desk.shelf.counts().reclaimed), (0, 1));
    desk.pass(BOUND);
    assert_eq!(desk.tick(), [], "once");
    let grant = desk.lane();
    assert_eq!(grant.kind, GrantKind::Thawed { turn: 2 });
    desk.give_back(grant);
    assert_eq!(desk.shelf.counts().idle, 1);
    desk.pass(FROZEN_AFTER);
    desk.tick();
    desk.pass(BOUND);
    assert_eq!(desk.tick(), [reclaim(0, 3)], "after each call anew");
}

#[test]
fn who_goes_soon_keeps_it() {
    let mut desk = frozen(Reclaim::After(BOUND), |scale| scale.idle = BOUND + RECLAIMED_FOR - MS);
    desk.pass(BOUND - FROZEN_AFTER);
    assert_eq!(desk.tick(), []);
    let mut desk = frozen(Reclaim::After(BOUND), |scale| scale.idle = BOUND + RECLAIMED_FOR);
    desk.pass(BOUND - FROZEN_AFTER);
    assert_eq!(desk.tick(), [reclaim(0, 1)]);
}

#[test]
fn the_minimum_gives_it_back_although_idle_is_short() {
    let mut desk = frozen(Reclaim::After(BOUND), |scale| {
        scale.idle = BOUND / 2;
        scale.min = 1;
    });
    desk.pass(BOUND);
    assert_eq!(desk.tick(), [reclaim(0, 1)]);
}

#[test]
fn it_comes_after_freezing_and_never_where_that_was_chosen() {
    let mut desk = frozen(Reclaim::After(MS), long);
    assert_eq!(desk.shelf.wake_by(), Some(desk.now + RECLAIMED_AFTER_FREEZING));
    let mut desk_of_none = frozen(Reclaim::Never, long);
    desk_of_none.pass(BOUND * 10);
    assert_eq!(desk_of_none.tick(), []);
    desk.pass(RECLAIMED_AFTER_FREEZING);
    assert_eq!(desk.tick(), [reclaim(0, 1)]);
}

#[test]
fn a_tick_that_comes_late_does_not_do_both() {
    let mut desk = called(Reclaim::After(BOUND), long);
    desk.pass(BOUND * 2);
    assert!(matches!(desk.tick()[..], [Command::Freeze { turn: 1, .. }]));
    assert_eq!(desk.shelf.wake_by(), Some(desk.now + RECLAIMED_AFTER_FREEZING));
}

#[test]
fn who_could_not_give_it_back_is_asked_again_only_after_a_call() {
    let mut desk = frozen(Reclaim::After(BOUND), long);
    desk.pass(BOUND);
    desk.tick();
    desk.shelf.not_reclaimed(InstanceId(0), 1);
    assert_eq!((desk.shelf.counts().frozen, desk.shelf.counts().reclaimed), (1, 0));
    desk.pass(BOUND);
    assert_eq!(desk.tick(), []);
    let grant = desk.lane();
    assert_eq!(grant.kind, GrantKind::Thawed { turn: 2 });
    desk.give_back(grant);
    desk.pass(FROZEN_AFTER);
    desk.tick();
    desk.pass(BOUND);
    assert_eq!(desk.tick(), [reclaim(0, 3)]);
    desk.shelf.not_reclaimed(InstanceId(0), 1);
    assert_eq!(desk.shelf.counts().reclaimed, 1, "that was another turn");
}

#[test]
fn where_calls_are_known_to_be_far_apart_it_is_given_back_soon() {
    let mut desk = called(Reclaim::After(BOUND), |scale| {
        scale.idle = BOUND * 2;
        scale.min = 1;
    });
    for _ in 0..8 {
        desk.pass(Duration::from_secs(3600));
        desk.tick();
        let grant = desk.lane();
        desk.give_back(grant);
    }
    desk.pass(FROZEN_AFTER);
    desk.tick();
    desk.pass(RECLAIMED_AFTER_FREEZING);
    assert!(matches!(desk.tick()[..], [Command::Reclaim { .. }]));
}
