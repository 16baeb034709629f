//! Whether an instance is stopped, when orders to stop and to continue it overtake each other.
//!
//! Orders are numbered under the lock of the fleet, and carried out when that is free. The last order given counts, not the last carried
//! out: what would stop an instance that a later call continued already is not done any more.
//!
//! Dropping this leaves the instance as it is.

use std::io;

use crate::driver::launcher::Thaw;

/// See the module's head.
#[derive(Default)]
pub(crate) struct Frost {
    /// The number of the last order that was carried out or overtaken.
    last: u64,
    thaw: Option<Thaw>,
}

impl Frost {
    /// Stops it with `stop`. `false` where nothing can be stopped.
    ///
    /// # Errors
    /// As `stop`; it runs then.
    pub(crate) fn freeze(&mut self, turn: u64, stop: impl FnOnce() -> io::Result<Option<Thaw>>) -> io::Result<bool> {
        if turn <= self.last {
            return Ok(true);
        }
        self.last = turn;
        self.thaw = stop()?;
        Ok(self.thaw.is_some())
    }

    /// Whether it was stopped in this turn and still is.
    pub(crate) fn holds(&self, turn: u64) -> bool {
        self.last == turn && self.thaw.is_some()
    }

    /// Continues it, unless an order to stop it was given later.
    ///
    /// # Errors
    /// When that can't be done; it is of no more use then.
    pub(crate) fn thaw(&mut self, turn: u64) -> io::Result<()> {
        if turn < self.last {
            return Ok(());
        }
        self.last = turn;
        self.thaw.take().map_or(Ok(()), |thaw| thaw())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// An instance that is stopped or not.
    #[derive(Clone, Default)]
    struct Body(Arc<AtomicBool>);

    impl Body {
        fn stop(&self) -> io::Result<Option<Thaw>> {
            self.0.store(true, Ordering::SeqCst);
            let body = self.clone();
            Ok(Some(Box::new(move || {
                body.0.store(false, Ordering::SeqCst);
                Ok(())
            })))
        }

        fn stopped(&self) -> bool {
            self.0.load(Ordering::SeqCst)
        }
    }

    #[test]
    fn orders_in_their_order_are_carried_out() {
        let (body, mut frost) = (Body::default(), Frost::default());
        for turn in [1, 3] {
            assert!(frost.freeze(turn, || body.stop()).unwrap());
            assert!(body.stopped());
            frost.thaw(turn + 1).unwrap();
            assert!(!body.stopped());
        }
    }

    #[test]
    fn a_stop_that_was_overtaken_is_not_done() {
        let (body, mut frost) = (Body::default(), Frost::default());
        frost.thaw(2).unwrap();
        assert!(frost.freeze(1, || body.stop()).unwrap(), "as good as done");
        assert!(!body.stopped() && !frost.holds(1) && !frost.holds(2));
        assert!(frost.freeze(3, || body.stop()).unwrap());
        assert!(body.stopped() && frost.holds(3) && !frost.holds(1));
        frost.thaw(4).unwrap();
        assert!(!frost.holds(3));
    }

    #[test]
    fn one_that_is_stopped_for_good_is_not_continued_by_an_order_of_before() {
        let (body, mut frost) = (Body::default(), Frost::default());
        frost.freeze(1, || body.stop()).unwrap();
        assert!(frost.freeze(u64::MAX, || body.stop()).unwrap());
        frost.thaw(2).unwrap();
        assert!(body.stopped() && frost.holds(u64::MAX));
    }

    #[test]
    fn what_can_not_be_stopped_runs_and_says_whether_that_is_for_good() {
        let mut frost = Frost::default();
        assert!(!frost.freeze(1, || Ok(None)).unwrap());
        assert!(frost.freeze(2, || Err(io::ErrorKind::OutOfMemory.into())).is_err());
        frost.thaw(3).unwrap();
    }

    #[test]
    fn what_can_not_be_continued_is_told() {
        let mut frost = Frost::default();
        let stuck = || -> io::Result<Option<Thaw>> { Ok(Some(Box::new(|| Err(io::ErrorKind::NotFound.into())))) };
        frost.freeze(1, stuck).unwrap();
        assert!(frost.thaw(2).is_err());
    }
}
