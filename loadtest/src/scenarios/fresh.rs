//! A start that calls itself new must come from a process that never answered before: the boot id proves it.

use std::collections::HashSet;

use crate::client::{Attempt, Failure, FailureKind};
use crate::start::Family;

/// Every process that answered so far.
#[derive(Debug, Default)]
pub(super) struct Fresh {
    seen: HashSet<Vec<u8>>,
}

impl Fresh {
    /// Turns a reply that claims a new process but comes from a known one into a failure.
    pub(super) fn check(&mut self, attempt: &mut Attempt) {
        let Ok(reply) = &attempt.outcome else { return };
        let Some(instance) = &reply.instance else { return };
        let unknown = self.seen.insert(instance.as_bytes().to_vec());
        if !unknown && reply.start.family() == Family::Cold {
            let detail = format!(
                "x-fn-start says {}, but this process answered before",
                reply.start.name()
            );
            attempt.outcome = Err(Failure {
                kind: FailureKind::SameInstance,
                detail,
            });
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        self.seen.len() as u64
    }
}
