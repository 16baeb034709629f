//! The live revision of every function, and what was published of it, in memory: the warm path reads no database.
//!
//! Owned by the gateway; changed only after the store has committed the change. A reader keeps the revision it found, so a call that began before a
//! deploy ends on the revision it began on.

use std::sync::Arc;

use dashmap::DashMap;
use functions::cors::Cors;
use functions::published::Published;
use functions::{FunctionName, Revision};

use crate::reserved::Reserved;

/// The table. Empty until it is filled from the store.
#[derive(Debug, Default)]
pub struct Live {
    revisions: DashMap<FunctionName, Arc<Revision>>,
    /// The functions that have a version or an alias, which are few.
    published: DashMap<FunctionName, Arc<Published>>,
    /// The functions whose calls are counted.
    reserved: DashMap<FunctionName, Arc<Reserved>>,
    /// What function URL configs say about pages of other origins, by alias; empty for the function itself.
    cors: DashMap<FunctionName, Vec<(String, Arc<Cors>)>>,
}

impl Live {
    /// A table of these revisions.
    pub fn new(revisions: impl IntoIterator<Item = Arc<Revision>>) -> Self {
        Self {
            revisions: revisions
                .into_iter()
                .map(|revision| (revision.name.clone(), revision))
                .collect(),
            published: DashMap::new(),
            reserved: DashMap::new(),
            cors: DashMap::new(),
        }
    }

    /// The live revision of a function.
    pub fn get(&self, name: &FunctionName) -> Option<Arc<Revision>> {
        self.revisions.get(name).map(|entry| entry.value().clone())
    }

    /// Makes a revision live, unless a later one already is: of two deploys at once the one that the store numbered last wins.
    pub fn set(&self, revision: Arc<Revision>) {
        let mut entry = self
            .revisions
            .entry(revision.name.clone())
            .or_insert_with(|| revision.clone());
        if entry.number < revision.number {
            *entry = revision;
        }
    }

    /// Sets the versions and aliases of a function.
    pub fn publish(&self, name: FunctionName, published: Published) {
        if published.is_empty() {
            self.published.remove(&name);
        } else {
            self.published.insert(name, Arc::new(published));
        }
    }

    /// The versions and aliases of a function; `None` when it has none.
    pub fn published(&self, name: &FunctionName) -> Option<Arc<Published>> {
        self.published.get(name).map(|entry| entry.value().clone())
    }

    /// Sets how many calls of a function may be there at one time; `None` counts them no more. Calls that are there already are counted
    /// no more either.
    pub fn reserve(&self, name: FunctionName, most: Option<u32>) {
        match most {
            Some(most) => drop(self.reserved.insert(name, Reserved::new(most))),
            None => drop(self.reserved.remove(&name)),
        }
    }

    /// The places of a function; `None` when its calls are not counted.
    pub fn reserved(&self, name: &FunctionName) -> Option<Arc<Reserved>> {
        self.reserved.get(name).map(|entry| entry.value().clone())
    }

    /// Sets what function URL configs of a function say about pages of other origins.
    pub fn set_cors(&self, name: FunctionName, cors: Vec<(String, Arc<Cors>)>) {
        if cors.is_empty() {
            self.cors.remove(&name);
        } else {
            self.cors.insert(name, cors);
        }
    }

    /// What the function URL config of a function, or of one of its aliases, says about pages of other origins. It holds in the place of the
    /// revision's own.
    pub fn cors(&self, name: &FunctionName, alias: Option<&str>) -> Option<Arc<Cors>> {
        let all = self.cors.get(name)?;
        let alias = alias.unwrap_or_default();
        all.iter().find(|(of, _)| of == alias).map(|(_, cors)| cors.clone())
    }

    /// Takes a function away, with its versions and aliases.
    pub fn remove(&self, name: &FunctionName) {
        self.revisions.remove(name);
        self.published.remove(name);
        self.reserved.remove(name);
        self.cors.remove(name);
    }

    /// The live revisions of all functions, in no order.
    pub fn all(&self) -> Vec<Arc<Revision>> {
        self.revisions.iter().map(|entry| entry.value().clone()).collect()
    }

    /// How many functions there are.
    pub fn len(&self) -> usize {
        self.revisions.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.revisions.is_empty()
    }
}
