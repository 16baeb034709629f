//! The live revision of every function, in memory: the warm path reads no database.
//!
//! Owned by the gateway; changed only after the store has committed the change. A reader keeps the revision it found, so a call that began before a
//! deploy ends on the revision it began on.

use std::sync::Arc;

use dashmap::DashMap;
use functions::{FunctionName, Revision};

/// The table. Empty until it is filled from the store.
#[derive(Debug, Default)]
pub struct Live(DashMap<FunctionName, Arc<Revision>>);

impl Live {
    /// A table of these revisions.
    pub fn new(revisions: impl IntoIterator<Item = Arc<Revision>>) -> Self {
        Self(revisions.into_iter().map(|revision| (revision.name.clone(), revision)).collect())
    }

    /// The live revision of a function.
    pub fn get(&self, name: &FunctionName) -> Option<Arc<Revision>> {
        self.0.get(name).map(|entry| entry.value().clone())
    }

    /// Makes a revision live, unless a later one already is: of two deploys at once the one that the store numbered last wins.
    pub fn set(&self, revision: Arc<Revision>) {
        let mut entry = self.0.entry(revision.name.clone()).or_insert_with(|| revision.clone());
        if entry.number < revision.number {
            *entry = revision;
        }
    }

    /// Takes a function away.
    pub fn remove(&self, name: &FunctionName) {
        self.0.remove(name);
    }

    /// The live revisions of all functions, in no order.
    pub fn all(&self) -> Vec<Arc<Revision>> {
        self.0.iter().map(|entry| entry.value().clone()).collect()
    }

    /// How many functions there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
