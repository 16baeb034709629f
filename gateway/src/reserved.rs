//! How many calls of a function may be there at one time, where somebody decided that.
//!
//! A call that waits for an instance counts like one that runs. Owned by the table of functions; a permit that is dropped gives its place back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The places of one function.
#[derive(Debug)]
pub struct Reserved {
    most: AtomicU32,
    taken: AtomicU32,
}

/// A place that is taken.
#[derive(Debug)]
pub struct Permit(Arc<Reserved>);

impl Reserved {
    /// So many places. With none, the function is switched off.
    pub fn new(most: u32) -> Arc<Self> {
        Arc::new(Self {
            most: AtomicU32::new(most),
            taken: AtomicU32::new(0),
        })
    }

    /// How many places there are.
    pub fn most(&self) -> u32 {
        self.most.load(Ordering::Relaxed)
    }

    /// From now on there are so many. Calls that have one keep it, and no other gets one while too many are taken.
    pub fn change(&self, most: u32) {
        self.most.store(most, Ordering::Relaxed);
    }

    /// Takes a place; `None` when none is free.
    pub fn enter(self: &Arc<Self>) -> Option<Permit> {
        self.taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
                (taken < self.most()).then_some(taken + 1)
            })
            .ok()
            .map(|_| Permit(self.clone()))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_taken_and_given_back() {
        let reserved = Reserved::new(2);
        let (first, second) = (reserved.enter(), reserved.enter());
        assert!(first.is_some() && second.is_some() && reserved.enter().is_none());
        drop(first);
        assert!(reserved.enter().is_some());
        assert!(Reserved::new(0).enter().is_none());
    }

    #[test]
    fn calls_that_are_there_count_when_the_number_changes() {
        let reserved = Reserved::new(2);
        let (first, second) = (reserved.enter(), reserved.enter());
        reserved.change(1);
        assert!(reserved.enter().is_none());
        drop(first);
        assert!(reserved.enter().is_none(), "the other one has the only place");
        drop(second);
        assert!(reserved.enter().is_some());
    }
}
