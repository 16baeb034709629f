//! Which revision an address means.

use std::sync::Arc;

use functions::published::{Labels, Published};
use functions::{FunctionName, Revision};

use super::address::{Address, LATEST, Qualifier};
use super::configuration;
use super::fault::Fault;
use crate::gateway::Gateway;
use crate::request_id::RequestId;

/// A revision, and the name under which it was found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// What runs.
    pub(super) revision: Arc<Revision>,
    /// The number of its version; `None` when it is the live one.
    pub(super) version: Option<u64>,
    /// What was said when the version was published.
    pub(super) description: Option<String>,
}

impl Found {
    /// What `X-Amz-Executed-Version` says.
    pub(super) fn version_name(&self) -> String {
        self.version
            .map_or_else(|| LATEST.to_owned(), |version| version.to_string())
    }

    /// The configuration as clients read it, for a caller on the blocking pool.
    pub(super) fn document(&self, gateway: &Gateway) -> Result<serde_json::Value, Fault> {
        let labels = labels(gateway, &self.revision)?;
        Ok(configuration::document(
            &self.revision,
            &labels,
            self.version,
            self.description.as_deref(),
        ))
    }
}

/// What was said about a revision, for a caller on the blocking pool.
pub(super) fn labels(gateway: &Gateway, revision: &Revision) -> Result<Labels, Fault> {
    let kept = gateway.store.labels(&revision.name, revision.number)?;
    Ok(kept.unwrap_or_else(|| configuration::labels_of(revision, &gateway.runtimes)))
}

/// Finds it. `dice`, from 0 to 1, decides for an alias that shifts a part of its calls; at 1 it shifts none.
pub(super) fn find(gateway: &Gateway, address: &Address, dice: f64) -> Result<Found, Fault> {
    let absent = || Fault::no_function(&address.arn());
    let live = gateway.live.get(&address.name).ok_or_else(absent)?;
    let published = || gateway.live.published(&address.name).ok_or_else(absent);
    match address.qualifier() {
        Qualifier::Latest => Ok(latest(live)),
        Qualifier::Version(number) => version(published()?.as_ref(), number).ok_or_else(absent),
        Qualifier::Alias(name) => {
            let published = published()?;
            let alias = published.aliases.get(&name).ok_or_else(absent)?;
            let shifted = alias
                .shifted
                .filter(|shift| dice < shift.weight)
                .map(|shift| shift.version);
            match shifted.or(alias.version) {
                None => Ok(latest(live)),
                Some(number) => version(&published, number).ok_or_else(absent),
            }
        }
    }
}

/// The revision of an alias; `None` when there is no such alias. The id decides for one that shifts calls.
pub(crate) fn revision_of_alias(
    gateway: &Gateway,
    name: &FunctionName,
    alias: &str,
    id: RequestId,
) -> Option<Arc<Revision>> {
    let address = Address {
        name: name.clone(),
        qualifier: Some(Qualifier::Alias(alias.to_owned())),
    };
    let found = find(gateway, &address, id.dice()).ok()?;
    Some(found.revision)
}

fn latest(revision: Arc<Revision>) -> Found {
    Found {
        revision,
        version: None,
        description: None,
    }
}

fn version(published: &Published, number: u64) -> Option<Found> {
    published.versions.get(&number).map(|version| Found {
        revision: version.revision.clone(),
        version: Some(number),
        description: Some(version.description.clone()),
    })
}
