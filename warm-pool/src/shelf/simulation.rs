//! The shelf under random events and a simulated clock: whatever happens in whatever order, the promises hold.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use functions::{Ahead, Reuse};

use super::*;
use crate::policy::FROZEN_AFTER;
use crate::start::Purpose;

const MS: Duration = Duration::from_millis(1);

/// An event. Numbers choose among what is there at that moment.
#[derive(Clone, Debug)]
enum Event {
    Acquire { revision: u64, patience: u64 },
    Cancel(usize),
    Started(usize),
    StartFailed(usize),
    GiveBack(usize),
    Poison(usize, Poison),
    Gone(usize),
    Crash(usize),
    Provision(u64),
    Retire(Option<u64>),
    Keep { revision: u64, count: u32 },
    Evict(EvictScope),
    Advise(u64, bool),
    Press(bool),
    Relieve,
    NotFrozen(usize),
    NotReclaimed(usize),
    Pass(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let at = 0usize..64;
    prop_oneof![
        12 => (1u64..4, 1u64..3000).prop_map(|(revision, patience)| Event::Acquire { revision, patience }),
        3 => at.clone().prop_map(Event::Cancel),
        8 => at.clone().prop_map(Event::Started),
        2 => at.clone().prop_map(Event::StartFailed),
        12 => at.clone().prop_map(Event::GiveBack),
        2 => (at.clone(), prop::sample::select(vec![
            Poison::Timeout, Poison::Protocol, Poison::ClientGone, Poison::Exited, Poison::Unfinished,
        ])).prop_map(|(at, poison)| Event::Poison(at, poison)),
        8 => at.clone().prop_map(Event::Gone),
        1 => at.clone().prop_map(Event::Crash),
        1 => at.clone().prop_map(Event::NotFrozen),
        1 => at.prop_map(Event::NotReclaimed),
        1 => (1u64..4).prop_map(Event::Provision),
        1 => prop::option::of(1u64..4).prop_map(Event::Retire),
        1 => (1u64..4, 0u32..5).prop_map(|(revision, count)| Event::Keep { revision, count }),
        1 => prop::sample::select(vec![EvictScope::Used, EvictScope::All]).prop_map(Event::Evict),
        2 => (1u64..4, any::<bool>()).prop_map(|(revision, forks)| Event::Advise(revision, forks)),
        1 => any::<bool>().prop_map(Event::Press),
        1 => Just(Event::Relieve),
        8 => (0u64..400).prop_map(Event::Pass),
        2 => (0u64..20_000).prop_map(Event::Pass),
        1 => (0u64..900_000).prop_map(Event::Pass),
    ]
}

fn scale() -> impl Strategy<Value = Scale> {
    let ahead = prop_oneof![3 => Just(Ahead::Auto), 1 => (0u32..4).prop_map(Ahead::Exactly)];
    (
        0u32..3,
        1u32..6,
        1u8..4,
        prop_oneof![2 => 0u64..500, 1 => 5_000u64..60_000],
        0u32..8,
        ahead,
        prop::bool::weighted(0.3),
    )
        .prop_map(|(min, max, concurrency, idle, queue, ahead, pristine)| Scale {
            min: min.min(max),
            max,
            concurrency: if pristine { 1 } else { concurrency },
            idle: MS * u32::try_from(idle).unwrap(),
            queue,
            ahead,
            reuse: if pristine { Reuse::Request } else { Reuse::Instance },
        })
}

/// The world outside the shelf, which believes nothing that it did not see.
struct World {
    shelf: Shelf,
    scale: Scale,
    now: Instant,
    starting: BTreeMap<InstanceId, RevisionNumber>,
    live: BTreeMap<InstanceId, RevisionNumber>,
    /// Of all that ever lived, those that were leased.
    ran: BTreeSet<InstanceId>,
    dying: BTreeMap<InstanceId, RevisionNumber>,
    leases: BTreeSet<(InstanceId, u8)>,
    waiting: BTreeMap<WaiterId, RevisionNumber>,
    settled: BTreeSet<WaiterId>,
    provisioned: Option<RevisionNumber>,
    /// What revisions keep, live or not.
    kept: BTreeMap<RevisionNumber, u32>,
    /// Each with the turn in which it was frozen.
    frozen: BTreeMap<InstanceId, u64>,
    freezes: bool,
    /// Those whose memory was given back.
    reclaimed: BTreeSet<InstanceId>,
}

fn nth<T: Copy>(of: impl ExactSizeIterator<Item = T>, at: usize) -> Option<T> {
    let len = of.len();
    let mut of = of;
    (len > 0).then(|| of.nth(at % len)).flatten()
}

impl World {
    fn new(scale: Scale) -> World {
        World {
            shelf: Shelf::new(Past::default(), 3, Reclaim::After(MS * 30_000)),
            scale,
            now: Instant::now(),
            starting: BTreeMap::new(),
            live: BTreeMap::new(),
            ran: BTreeSet::new(),
            dying: BTreeMap::new(),
            leases: BTreeSet::new(),
            waiting: BTreeMap::new(),
            settled: BTreeSet::new(),
            provisioned: None,
            kept: BTreeMap::new(),
            frozen: BTreeMap::new(),
            freezes: true,
            reclaimed: BTreeSet::new(),
        }
    }

    fn happen(&mut self, event: Event) {
        let mut out = Vec::new();
        match event {
            Event::Acquire { revision, patience } => {
                let revision = RevisionNumber::new(revision).unwrap();
                let deadline = self.now + MS * u32::try_from(patience).unwrap();
                match self.shelf.acquire(self.now, revision, self.scale, deadline, &mut out) {
                    Acquired::Lane(grant) => {
                        let replaced = |command: &Command| {
                            self.scale.pristine()
                                && matches!(
                                    command,
                                    Command::Start {
                                        reason: ColdReason::Ahead,
                                        ..
                                    }
                                )
                        };
                        assert!(out.iter().all(replaced), "a warm call starts nothing");
                        assert!(
                            self.waiting.values().all(|other| *other != revision),
                            "nobody is overtaken"
                        );
                        self.take(grant, revision);
                    }
                    Acquired::Waits(waiter) => {
                        assert!(self.waiting.insert(waiter, revision).is_none());
                        let bound = 2 * self.scale.queue + self.scale.max * u32::from(self.scale.concurrency);
                        let queued = self.waiting.values().filter(|other| **other == revision).count();
                        assert!(queued <= bound as usize, "the queue is bounded");
                    }
                    Acquired::Refused(_) => {}
                }
            }
            Event::Cancel(at) => {
                let Some(waiter) = nth(self.waiting.keys().copied(), at) else {
                    return;
                };
                assert!(self.shelf.cancel_waiter(self.now, waiter));
                self.waiting.remove(&waiter);
                assert!(self.settled.insert(waiter));
            }
            Event::Started(at) => {
                let Some(id) = nth(self.starting.keys().copied(), at) else {
                    return;
                };
                let revision = self.starting.remove(&id).unwrap();
                self.live.insert(id, revision);
                assert!(self.shelf.started(self.now, id, &mut out));
            }
            Event::StartFailed(at) => {
                let Some(id) = nth(self.starting.keys().copied(), at) else {
                    return;
                };
                self.shelf.start_failed(self.now, id, &mut out);
                assert!(out.contains(&Command::Kill {
                    instance: id,
                    cause: KillCause::Failed
                }));
            }
            Event::GiveBack(at) => {
                let Some((id, lane)) = nth(self.leases.iter().copied(), at) else {
                    return;
                };
                self.leases.remove(&(id, lane));
                let stays = self.shelf.give_back(self.now, id, lane, MS, &mut out);
                assert_eq!(stays, self.live.contains_key(&id));
                if stays && self.scale.pristine() {
                    assert!(
                        matches!(out.first(), Some(Command::Kill { instance, .. }) if *instance == id),
                        "it served its one call"
                    );
                }
            }
            Event::Poison(at, poison) => {
                let Some((id, lane)) = nth(self.leases.iter().copied(), at) else {
                    return;
                };
                self.leases.remove(&(id, lane));
                self.shelf.poison(self.now, id, lane, poison, &mut out);
                if self.leases.iter().all(|(other, _)| *other != id) {
                    self.apply(std::mem::take(&mut out));
                    assert!(!self.live.contains_key(&id), "a poisoned instance without calls dies");
                }
            }
            Event::Gone(at) => {
                let Some(id) = nth(self.dying.keys().copied(), at) else {
                    return;
                };
                self.dying.remove(&id);
                self.shelf.gone(self.now, id, ColdReason::Crashed, &mut out);
            }
            Event::Crash(at) => {
                let Some(id) = nth(self.live.keys().copied(), at) else {
                    return;
                };
                self.live.remove(&id);
                self.awakes(id);
                self.shelf.gone(self.now, id, ColdReason::Crashed, &mut out);
            }
            Event::Provision(revision) => {
                let revision = RevisionNumber::new(revision).unwrap();
                self.provisioned = Some(revision);
                self.shelf.provision(self.now, revision, self.scale, &mut out);
            }
            Event::Retire(keep) => {
                let keep = keep.and_then(RevisionNumber::new);
                self.provisioned = self.provisioned.filter(|revision| Some(*revision) == keep);
                if keep.is_none() {
                    self.kept.clear();
                }
                self.shelf.retire(self.now, keep, &mut out);
            }
            Event::Keep { revision, count } => {
                let revision = RevisionNumber::new(revision).unwrap();
                self.kept.insert(revision, count);
                self.kept.retain(|_, count| *count > 0);
                let wanted: Vec<_> = self
                    .kept
                    .iter()
                    .map(|(revision, count)| (*revision, self.scale, *count))
                    .collect();
                let live = self.provisioned.unwrap_or(revision);
                self.shelf.keep(self.now, live, &wanted, &mut out);
                let stands = self
                    .shelf
                    .kept(self.now)
                    .into_iter()
                    .find(|kept| kept.revision == revision);
                assert_eq!(stands.map_or(0, |kept| kept.wanted), count);
            }
            Event::Evict(scope) => {
                let ids = self.shelf.evict(self.now, scope, &mut out);
                let meant = |id: &InstanceId| scope == EvictScope::All || self.ran.contains(id);
                assert!(self.live.keys().filter(|id| meant(id)).all(|id| ids.contains(id)));
                assert!(ids.iter().all(meant), "what waits for its first call stays");
            }
            Event::Advise(revision, forks) => {
                let revision = RevisionNumber::new(revision).unwrap();
                self.shelf.advise(self.now, revision, Advice { forks }, &mut out);
            }
            Event::Press(pressed) => self.shelf.press(self.now, pressed, &mut out),
            Event::Relieve => {
                let spares = self.shelf.spares(self.now).instances;
                let ids: Vec<_> = spares.iter().map(|(id, _)| *id).collect();
                assert!(
                    self.leases.iter().all(|(id, _)| !ids.contains(id)),
                    "who has a call stays"
                );
                assert_eq!(self.shelf.relieve(self.now, &ids, &mut out), ids.len());
            }
            Event::NotFrozen(n) => {
                if n % 4 == 0 {
                    self.frozen.clear();
                    self.reclaimed.clear();
                    self.shelf.freezes_nobody();
                    self.freezes = false;
                } else if let Some((id, turn)) = nth(self.frozen.iter().map(|(id, turn)| (*id, *turn)), n) {
                    self.awakes(id);
                    self.shelf.not_frozen(id, turn);
                }
            }
            Event::NotReclaimed(n) => {
                if let Some(id) = nth(self.reclaimed.iter().copied(), n) {
                    self.reclaimed.remove(&id);
                    self.shelf.not_reclaimed(id, self.frozen[&id]);
                }
            }
            Event::Pass(millis) => {
                self.now += MS * u32::try_from(millis).unwrap();
                self.tick();
                return;
            }
        }
        self.apply(out);
        self.check();
    }

    fn tick(&mut self) {
        let mut out = Vec::new();
        self.shelf.tick(self.now, &mut out);
        self.apply(out);
        assert!(
            self.shelf.wake_by().is_none_or(|at| at > self.now),
            "a tick does all that is due"
        );
        self.check();
        let overdue = |(_, _, state, _, idle): &(_, _, Condition, _, Option<Instant>)| {
            matches!(state, Condition::Idle | Condition::Frozen | Condition::Reclaimed)
                && idle.is_some_and(|since| since + self.scale.idle <= self.now)
        };
        let runs = |(_, _, state, _, idle): &(_, _, Condition, _, Option<Instant>)| {
            *state == Condition::Idle && idle.is_some_and(|since| since + FROZEN_AFTER <= self.now)
        };
        let running = self.shelf.roll().iter().filter(|line| runs(line)).count();
        assert!(running == 0 || !self.freezes, "what is idle for long is stopped");
        for revision in (1..4).filter_map(RevisionNumber::new) {
            let roll = self.shelf.roll();
            let own = roll.iter().filter(|line| line.1 == revision && overdue(line));
            assert!(
                own.count() <= self.floor(revision, self.scale.min) as usize,
                "idle instances are reaped"
            );
        }
    }

    /// How many instances of a revision stay, where `least` of the live one do.
    fn floor(&self, revision: RevisionNumber, least: u32) -> u32 {
        let least = if self.provisioned == Some(revision) { least } else { 0 };
        let kept = self.kept.get(&revision).copied().unwrap_or_default();
        least.max(kept).min(self.scale.max)
    }

    fn apply(&mut self, commands: Vec<Command>) {
        for command in commands {
            match command {
                Command::Start {
                    instance,
                    revision,
                    reason: ColdReason::Ahead,
                    purpose,
                } => {
                    assert_eq!(purpose, Purpose::Ahead);
                    let waits = self.waiting.values().any(|other| *other == revision);
                    assert!(!waits, "who waits comes first");
                    assert!(self.starting.insert(instance, revision).is_none());
                }
                Command::Start { instance, revision, .. } => {
                    let of = |map: &BTreeMap<InstanceId, RevisionNumber>| {
                        map.values().filter(|other| **other == revision).count() as u32
                    };
                    let starting = of(&self.starting);
                    let waiting = self.waiting.values().filter(|other| **other == revision).count() as u32;
                    let floor = self.floor(revision, self.scale.min);
                    let below_min = starting + of(&self.live) < floor + self.drains();
                    let uncovered = starting * u32::from(self.scale.concurrency) < waiting;
                    assert!(uncovered || below_min, "nothing is started that nobody needs");
                    assert!(self.starting.insert(instance, revision).is_none());
                }
                Command::Grant { waiter, grant } => {
                    let revision = self.waiting.remove(&waiter).expect("a granted waiter was waiting");
                    let older = self
                        .waiting
                        .iter()
                        .any(|(id, other)| *other == revision && *id < waiter);
                    assert!(!older, "the oldest is served first");
                    assert!(self.settled.insert(waiter), "one outcome");
                    self.take(grant, revision);
                }
                Command::Refuse { waiter, revision, .. } => {
                    assert_eq!(
                        self.waiting.remove(&waiter),
                        Some(revision),
                        "a refused waiter was waiting"
                    );
                    assert!(self.settled.insert(waiter), "one outcome");
                }
                Command::Freeze { instance, turn } => {
                    assert!(self.live.contains_key(&instance) && self.ran.contains(&instance));
                    assert!(self.leases.iter().all(|(id, _)| *id != instance), "who has a call runs");
                    assert_eq!(self.frozen.insert(instance, turn), None, "what is frozen stays so");
                }
                Command::Reclaim { instance, turn } => {
                    assert_eq!(self.frozen.get(&instance), Some(&turn), "who runs keeps what it holds");
                    assert!(
                        self.reclaimed.insert(instance),
                        "what was given back is not given back again"
                    );
                }
                Command::Kill { instance, .. } => {
                    self.awakes(instance);
                    let revision = self.starting.remove(&instance).or_else(|| self.live.remove(&instance));
                    let revision = revision.expect("only what lives is killed, and only once");
                    self.dying.insert(instance, revision);
                }
            }
        }
    }

    /// It does not stand still any more; returns the turn since which it did.
    fn awakes(&mut self, id: InstanceId) -> Option<u64> {
        self.reclaimed.remove(&id);
        self.frozen.remove(&id)
    }

    fn drains(&self) -> u32 {
        self.shelf.counts().draining
    }

    fn take(&mut self, grant: Grant, revision: RevisionNumber) {
        assert_eq!(
            self.live.get(&grant.instance),
            Some(&revision),
            "a lane of a live instance of that revision"
        );
        assert!(grant.lane < self.scale.concurrency);
        let first = self.ran.insert(grant.instance);
        match (grant.kind, self.awakes(grant.instance)) {
            (GrantKind::Thawed { turn }, Some(frozen)) => assert!(turn > frozen && !first),
            (GrantKind::Warm, None) => assert!(!first, "a start says what it found"),
            (GrantKind::Ahead | GrantKind::Cold, None) => assert!(first, "a start says what it found"),
            (kind, frozen) => panic!("{kind:?} of an instance that is frozen: {frozen:?}"),
        }
        assert!(
            first || !self.scale.pristine(),
            "an instance for each call serves exactly one"
        );
        assert!(
            self.leases.insert((grant.instance, grant.lane)),
            "nothing is leased twice"
        );
    }

    fn check(&self) {
        for revision in (1..4).filter_map(RevisionNumber::new) {
            let all = [&self.starting, &self.live, &self.dying];
            let instances: usize = all
                .iter()
                .map(|map| map.values().filter(|other| **other == revision).count())
                .sum();
            assert!(
                instances <= self.scale.max as usize,
                "{instances} instances, at most {}",
                self.scale.max
            );
            let waiting = self.waiting.values().any(|other| *other == revision);
            let idle = self.shelf.roll().into_iter().any(|(_, other, state, _, _)| {
                other == revision
                    && matches!(
                        state,
                        Condition::Idle | Condition::Frozen | Condition::Reclaimed | Condition::Ahead
                    )
            });
            assert!(!(waiting && idle), "nobody waits beside an idle instance");
        }
        let counts = self.shelf.counts();
        assert_eq!(counts.leased as usize, self.leases.len());
        assert_eq!(counts.queued as usize, self.waiting.len());
        assert_eq!(counts.starting as usize, self.starting.len());
        assert_eq!(counts.dying as usize, self.dying.len());
        assert_eq!(
            (counts.ahead + counts.idle + counts.frozen + counts.reclaimed + counts.busy + counts.draining) as usize,
            self.live.len()
        );
        let reclaimed = self
            .shelf
            .roll()
            .into_iter()
            .filter(|(_, _, state, ..)| *state == Condition::Reclaimed);
        assert!(reclaimed.map(|(id, ..)| id).eq(self.reclaimed.iter().copied()));
    }

    /// Everybody finishes; time passes as often as the shelf asks.
    fn rest(&mut self) {
        for _ in 0..10_000 {
            if let Some(wake_by) = self.shelf.wake_by() {
                self.now = self.now.max(wake_by);
            }
            if !self.waiting.is_empty() {
                self.now += MS * 10;
            }
            self.tick();
            let before = (
                self.leases.len(),
                self.starting.len(),
                self.dying.len(),
                self.waiting.len(),
            );
            while !self.leases.is_empty() {
                self.happen(Event::GiveBack(0));
            }
            self.happen(Event::Started(0));
            self.happen(Event::Gone(0));
            if before == (0, 0, 0, 0) && self.shelf.wake_by().is_none() {
                return;
            }
        }
        panic!("the shelf does not come to rest: {:?}", self.shelf);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_promises_hold(scale in scale(), events in prop::collection::vec(event(), 1..150)) {
        let mut world = World::new(scale);
        for event in events {
            world.happen(event);
        }
        world.rest();
        let asked = match scale.ahead {
            Ahead::Exactly(count) => scale.min.max(count).min(scale.max),
            Ahead::Auto => scale.min,
        };
        for revision in (1..4).filter_map(RevisionNumber::new) {
            let floor = world.floor(revision, asked);
            let live = world.live.values().filter(|other| **other == revision).count();
            prop_assert_eq!(live, floor as usize, "what was asked for stays and nothing else");
            let stands = world.shelf.kept(world.now).into_iter().find(|kept| kept.revision == revision);
            let (wanted, ready) = stands.map_or((0, 0), |kept| (kept.wanted, kept.ready));
            prop_assert_eq!(wanted, world.kept.get(&revision).copied().unwrap_or_default());
            prop_assert!(ready >= wanted.min(scale.max));
        }
        prop_assert_eq!(world.shelf.is_empty(), world.live.is_empty());
    }
}
