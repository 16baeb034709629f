//! Instances that are kept by number, whichever revision is live.

use super::*;

impl Desk {
    fn keep(&mut self, wanted: &[(u64, u32)]) -> Vec<Command> {
        let wanted: Vec<_> = wanted
            .iter()
            .map(|(revision, count)| (number(*revision), self.scale, *count))
            .collect();
        let live = self.shelf.live.unwrap_or(number(9));
        self.shelf.keep(self.now, live, &wanted, &mut self.out);
        self.took()
    }

    fn stands(&self, revision: u64) -> (u32, u32, u32, bool) {
        let kept = self.shelf.kept(self.now);
        let kept = kept.iter().find(|kept| kept.revision == number(revision));
        kept.map_or((0, 0, 0, false), |kept| {
            (kept.wanted, kept.allocated, kept.ready, kept.fails)
        })
    }
}

fn killed(commands: &[Command]) -> Vec<u64> {
    let ids = commands.iter().filter_map(|command| match command {
        Command::Kill { instance, .. } => Some(instance.0),
        _ => None,
    });
    ids.collect()
}

#[test]
fn they_are_started_kept_for_ever_and_given_to_calls() {
    let mut desk = Desk::new();
    assert_eq!(desk.keep(&[(1, 2)]).len(), 2);
    assert_eq!(desk.stands(1), (2, 2, 0, false));
    desk.started(0);
    desk.started(1);
    assert_eq!(desk.stands(1), (2, 2, 2, false));
    desk.pass(desk.scale.idle * 3);
    assert_eq!(desk.tick(), [], "neither is reaped");
    let grant = desk.lane();
    assert_eq!(grant.kind, GrantKind::Ahead);
    assert_eq!(desk.stands(1), (2, 2, 2, false), "who has a call stands");
    assert!(!desk.shelf.is_at_leisure());
    desk.give_back(grant);
    assert!(!desk.shelf.is_at_leisure(), "what is prepared for them stays");
    assert_eq!(killed(&desk.keep(&[(1, 1)])).len(), 1);
    assert_eq!(desk.keep(&[(1, 1)]), [], "saying it again changes nothing");
}

#[test]
fn a_deploy_leaves_them_and_drains_the_others() {
    let mut desk = Desk::new();
    desk.shelf.provision(desk.now, number(1), desk.scale, &mut desk.out);
    desk.waits();
    desk.took();
    let grants = desk.started(0);
    let [Command::Grant { grant, .. }] = grants[..] else {
        panic!("{grants:?}")
    };
    desk.give_back(grant);
    desk.keep(&[(1, 1)]);
    desk.shelf.provision(desk.now, number(2), desk.scale, &mut desk.out);
    assert_eq!(desk.took(), [], "the old revision keeps its one");
    assert_eq!(desk.keep(&[(2, 1)]).len(), 2, "one is started and the other goes");
    assert_eq!(desk.stands(1), (0, 0, 0, false));
    assert_eq!(desk.stands(2), (1, 1, 0, false));
}

#[test]
fn one_that_ends_is_replaced_and_failing_starts_say_so() {
    let mut desk = Desk::new();
    desk.keep(&[(1, 1)]);
    desk.started(0);
    assert_eq!(desk.gone(0, ColdReason::Crashed).len(), 1);
    for id in 1..=5 {
        assert!(!desk.stands(1).3);
        desk.failed(id);
        desk.gone(id, ColdReason::Crashed);
    }
    assert_eq!(desk.stands(1), (1, 0, 0, true));
    desk.pass(MS * 10_000);
    assert_eq!(desk.tick().len(), 1, "it is tried again");
    desk.started(6);
    assert_eq!(desk.stands(1), (1, 1, 1, false));
}

#[test]
fn beside_them_only_the_live_revision_has_one_ahead_of_the_next_call() {
    let mut desk = Desk::new();
    desk.keep(&[(1, 1)]);
    desk.started(0);
    desk.shelf
        .advise(desk.now, number(1), Advice { forks: true }, &mut desk.out);
    let grant = desk.lane();
    assert_eq!(
        desk.give_back(grant),
        [],
        "none is started for the next call of an old revision"
    );
    assert_eq!(killed(&desk.keep(&[])), [0]);
    desk.gone(0, ColdReason::Crashed);
    assert!(desk.shelf.is_empty());
}

#[test]
fn the_maximum_of_the_revision_holds() {
    let mut desk = Desk::new();
    assert_eq!(desk.keep(&[(1, 9)]).len(), 3);
    assert_eq!(desk.stands(1), (9, 3, 0, false));
}

#[test]
fn a_minimum_and_a_number_are_not_added_up() {
    let mut desk = Desk::with(|scale| scale.min = 2);
    desk.shelf.provision(desk.now, number(1), desk.scale, &mut desk.out);
    assert_eq!(desk.took().len(), 2);
    assert_eq!(desk.keep(&[(1, 1)]), []);
    assert_eq!(desk.keep(&[(1, 3)]).len(), 1);
    assert_eq!(
        killed(&desk.keep(&[])),
        [2],
        "the youngest is not ready yet, and the minimum stays"
    );
}

#[test]
fn those_being_prepared_go_when_nobody_waits_for_them() {
    let mut desk = Desk::new();
    desk.keep(&[(1, 2)]);
    desk.started(0);
    assert_eq!(killed(&desk.keep(&[])), [0, 1]);
    for id in [0, 1] {
        desk.gone(id, ColdReason::Crashed);
    }
    assert!(desk.shelf.is_empty());
    desk.keep(&[(1, 1)]);
    let waiter = desk.waits();
    assert_eq!(desk.keep(&[]), [], "a call waits for it");
    let grants = desk.started(2);
    assert!(matches!(grants[..], [Command::Grant { waiter: served, .. }] if served == waiter));
}

#[test]
fn a_removed_function_and_a_closed_pool_keep_nothing() {
    let mut desk = Desk::new();
    desk.keep(&[(1, 1)]);
    desk.started(0);
    desk.shelf.retire(desk.now, None, &mut desk.out);
    assert_eq!(killed(&desk.took()), [0]);
    desk.gone(0, ColdReason::Crashed);
    assert!(desk.shelf.is_empty());
    let mut desk = Desk::new();
    desk.keep(&[(1, 1)]);
    desk.shelf.close();
    desk.failed(0);
    assert_eq!(desk.gone(0, ColdReason::Crashed), []);
    assert_eq!(desk.keep(&[(1, 1)]), []);
}
