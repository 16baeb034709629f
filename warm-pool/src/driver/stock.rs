//! Things of one kind that stand ready, and how many of them are to stand: pure counting.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::policy::ARRIVALS_SEEN_FOR;

/// How long the next one is not begun after one was taken, while enough stand: the start that took it wants the processors.
const SETTLE: Duration = Duration::from_millis(10);

/// What can be in stock.
pub(super) trait Stands {
    /// Whether it still stands, as far as is known.
    fn stands(&self) -> bool;
}

/// See the module's head.
pub(super) struct Stock<T> {
    /// Each with when it was built.
    standing: Vec<(Instant, T)>,
    /// When one was wanted, lately.
    wanted: VecDeque<Instant>,
    /// When one was wanted last.
    last: Option<Instant>,
    /// How long after the last was wanted any are to stand. `None`: always.
    kept_for: Option<Duration>,
    /// The age at which one is replaced. `None`: never.
    lives_for: Option<Duration>,
    /// How long one takes to build, as an average that forgets.
    build_time: Duration,
    /// How many are to stand, by how many were wanted lately and by the time that one takes.
    number: fn(usize, Duration) -> usize,
}

impl<T: Stands> Stock<T> {
    /// An empty one.
    pub(super) fn new(number: fn(usize, Duration) -> usize) -> Self {
        Stock {
            standing: Vec::new(),
            wanted: VecDeque::new(),
            last: None,
            kept_for: None,
            lives_for: None,
            build_time: Duration::from_millis(5),
            number,
        }
    }

    /// None stand before the first is wanted, nor after none was for so long.
    pub(super) fn only_while_wanted(self, kept_for: Duration) -> Self {
        Stock {
            kept_for: Some(kept_for),
            ..self
        }
    }

    /// What is so old is replaced.
    pub(super) fn living_for(self, lives_for: Duration) -> Self {
        Stock {
            lives_for: Some(lives_for),
            ..self
        }
    }

    /// One that stands. Asking for it counts, whether there is one or not.
    pub(super) fn take(&mut self, now: Instant) -> Option<T> {
        self.wanted.push_back(now);
        self.last = Some(now);
        // The youngest first: what it touched is still in the caches.
        std::iter::from_fn(|| self.standing.pop())
            .map(|(_, one)| one)
            .find(T::stands)
    }

    /// How many stand.
    pub(super) fn standing(&self) -> usize {
        self.standing.len()
    }

    /// How many are missing, and those that are too many or have fallen.
    pub(super) fn balance(&mut self, now: Instant) -> (usize, Vec<T>) {
        while self.wanted.front().is_some_and(|at| now - *at > ARRIVALS_SEEN_FOR) {
            self.wanted.pop_front();
        }
        let lives_for = self.lives_for;
        let young = |built: Instant| lives_for.is_none_or(|lives_for| now - built < lives_for);
        let (standing, mut surplus): (Vec<_>, Vec<_>) = self
            .standing
            .drain(..)
            .partition(|(built, one)| one.stands() && young(*built));
        self.standing = standing;
        let in_use = |kept_for| self.last.is_some_and(|last| now - last <= kept_for);
        let wanted = match self.kept_for {
            Some(kept_for) if !in_use(kept_for) => 0,
            _ => (self.number)(self.wanted.len(), self.build_time),
        };
        if self.standing.len() > wanted {
            surplus.extend(self.standing.drain(wanted..));
        }
        let missing = wanted.saturating_sub(self.standing.len());
        (missing, surplus.into_iter().map(|(_, one)| one).collect())
    }

    /// Time since one was wanted.
    pub(super) fn quiet_for(&self, now: Instant) -> Option<Duration> {
        self.last.map(|last| now - last)
    }

    /// How long to wait before what is missing is built: not at all when most of it is missing.
    pub(super) fn pause(&self, now: Instant) -> Duration {
        let number = (self.number)(self.wanted.len(), self.build_time);
        match self.wanted.back() {
            Some(last) if self.standing.len() * 2 >= number => SETTLE.saturating_sub(now - *last),
            _ => Duration::ZERO,
        }
    }

    /// One was built, which took so long.
    pub(super) fn add(&mut self, one: T, now: Instant, took: Duration) {
        self.build_time = (self.build_time * 7 + took) / 8;
        self.standing.push((now, one));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Thing(bool);

    impl Stands for Thing {
        fn stands(&self) -> bool {
            self.0
        }
    }

    #[test]
    fn what_fell_is_neither_handed_out_nor_counted() {
        let mut stock = Stock::new(|_, _| 2);
        let now = Instant::now();
        assert_eq!(stock.balance(now).0, 2);
        stock.add(Thing(true), now, Duration::ZERO);
        stock.add(Thing(false), now, Duration::ZERO);
        let (missing, surplus) = stock.balance(now);
        assert_eq!((missing, surplus.len(), stock.standing()), (1, 1, 1));
        stock.add(Thing(false), now, Duration::ZERO);
        assert!(stock.take(now).is_some_and(|thing| thing.0));
        assert!(stock.take(now).is_none());
    }

    #[test]
    fn a_start_is_left_alone_for_a_moment_while_enough_stand() {
        let mut stock = Stock::new(|_, _| 2);
        let now = Instant::now();
        assert_eq!(stock.pause(now), Duration::ZERO);
        stock.add(Thing(true), now, Duration::ZERO);
        stock.add(Thing(true), now, Duration::ZERO);
        assert!(stock.take(now).is_some());
        assert_eq!(stock.pause(now), SETTLE);
        assert_eq!(stock.pause(now + SETTLE), Duration::ZERO);
        assert!(stock.take(now).is_some());
        assert_eq!(stock.pause(now), Duration::ZERO, "none is left");
    }

    #[test]
    fn the_number_follows_what_was_wanted_lately() {
        let mut stock = Stock::new(|wanted, _| wanted);
        let now = Instant::now();
        for _ in 0..3 {
            assert!(stock.take(now).is_none());
        }
        assert_eq!(stock.balance(now).0, 3);
        for _ in 0..3 {
            stock.add(Thing(true), now, Duration::ZERO);
        }
        assert_eq!(stock.balance(now).0, 0);
        let (missing, surplus) = stock.balance(now + ARRIVALS_SEEN_FOR + Duration::from_secs(1));
        assert_eq!((missing, surplus.len()), (0, 3));
    }

    #[test]
    fn what_nobody_wants_does_not_stand() {
        let kept_for = Duration::from_secs(600);
        let mut stock = Stock::new(|_, _| 1).only_while_wanted(kept_for);
        let now = Instant::now();
        assert_eq!(stock.balance(now).0, 0);
        assert!(stock.take(now).is_none());
        assert_eq!(stock.balance(now + kept_for).0, 1);
        stock.add(Thing(true), now, Duration::ZERO);
        let (missing, surplus) = stock.balance(now + kept_for + Duration::from_secs(1));
        assert_eq!((missing, surplus.len(), stock.standing()), (0, 1, 0));
    }

    #[test]
    fn what_is_old_is_replaced() {
        let lives_for = Duration::from_secs(900);
        let mut stock = Stock::new(|_, _| 2).living_for(lives_for);
        let now = Instant::now();
        stock.add(Thing(true), now, Duration::ZERO);
        let later = now + lives_for / 2;
        stock.add(Thing(true), later, Duration::ZERO);
        assert_eq!(stock.balance(later).0, 0);
        let (missing, surplus) = stock.balance(now + lives_for);
        assert_eq!((missing, surplus.len(), stock.standing()), (1, 1, 1));
    }
}
