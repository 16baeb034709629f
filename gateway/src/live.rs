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
    /// What function URL configs decide, by alias; empty for the function itself.
    urls: DashMap<FunctionName, Vec<(String, Arc<UrlRules>)>>,
}

/// What the function URL config of a function, or of one of its aliases, decides about its calls by HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlRules {
    /// About pages of other origins, in the place of the revision's own rules; `None` leaves those.
    pub cors: Option<Cors>,
    /// How replies go out.
    pub delivery: Delivery,
}

/// How a reply goes out whose function makes it piece by piece.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// Each piece when it is made.
    #[default]
    AsMade,
    /// When all of it is there.
    Whole,
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
            urls: DashMap::new(),
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

    /// Sets how many calls of a function may be there at one time; `None` counts them no more. Calls that came while none were counted are
    /// not counted later.
    pub fn reserve(&self, name: FunctionName, most: Option<u32>) {
        match most {
            Some(most) => self
                .reserved
                .entry(name)
                .or_insert_with(|| Reserved::new(most))
                .change(most),
            None => drop(self.reserved.remove(&name)),
        }
    }

    /// The places of a function; `None` when its calls are not counted.
    pub fn reserved(&self, name: &FunctionName) -> Option<Arc<Reserved>> {
        self.reserved.get(name).map(|entry| entry.value().clone())
    }

    /// Sets what the function URL configs of a function decide.
    pub fn set_urls(&self, name: FunctionName, urls: Vec<(String, Arc<UrlRules>)>) {
        if urls.is_empty() {
            self.urls.remove(&name);
        } else {
            self.urls.insert(name, urls);
        }
    }

    /// What the function URL config of a function, or of one of its aliases, decides; `None` when it has none.
    pub fn url(&self, name: &FunctionName, alias: Option<&str>) -> Option<Arc<UrlRules>> {
        let all = self.urls.get(name)?;
        let alias = alias.unwrap_or_default();
        all.iter().find(|(of, _)| of == alias).map(|(_, rules)| rules.clone())
    }

    /// Takes a function away, with its versions and aliases.
    pub fn remove(&self, name: &FunctionName) {
        self.revisions.remove(name);
        self.published.remove(name);
        self.reserved.remove(name);
        self.urls.remove(name);
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
