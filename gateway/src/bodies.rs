//! What the bodies that are held in memory may weigh together.
//!
//! A handler's event is built from the whole body, so the body is held from its first byte, over the queue, until the instance has answered.
//! Each has its function's `max_body` for a bound; without one for all of them the number of connections would be the only one. Bytes are
//! counted as they come: whoever announces much and sends nothing takes nothing from others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The room that is left. Clones share it.
#[derive(Clone, Debug)]
pub struct Bodies(Arc<AtomicUsize>);

/// The bytes of one body. Dropping it gives them back.
#[derive(Debug)]
pub struct Charge {
    bodies: Bodies,
    taken: usize,
}

/// There is no room for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bodies that are held weigh as much as they may")]
pub struct Full;

impl Bodies {
    /// Room for `most` bytes.
    pub fn new(most: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(most)))
    }

    /// The account of one body, empty.
    pub fn charge(&self) -> Charge {
        Charge {
            bodies: self.clone(),
            taken: 0,
        }
    }
}

impl Charge {
    /// Takes room for a piece; what was taken before stays taken also when there is none.
    pub fn add(&mut self, bytes: usize) -> Result<(), Full> {
        let Bodies(left) = &self.bodies;
        left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes))
            .map_err(|_| Full)?;
        self.taken += bytes;
        Ok(())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.bodies.0.fetch_add(self.taken, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_holds_another_lacks_until_it_is_given_back() {
        let bodies = Bodies::new(10);
        let (mut first, mut second) = (bodies.charge(), bodies.charge());
        assert_eq!(first.add(6), Ok(()));
        assert_eq!(second.add(5), Err(Full));
        assert_eq!(second.add(4), Ok(()));
        assert_eq!(first.add(1), Err(Full));
        drop(second);
        assert_eq!(first.add(4), Ok(()));
        drop(first);
        assert_eq!(bodies.charge().add(10), Ok(()));
    }
}
