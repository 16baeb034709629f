//! Provisioned concurrency: PutProvisionedConcurrencyConfig, GetProvisionedConcurrencyConfig, ListProvisionedConcurrencyConfigs,
//! DeleteProvisionedConcurrencyConfig.
//!
//! A config belongs to a version, or to an alias that points to one: so many instances of that revision stand although nobody calls them. What
//! is kept is the number that was asked for; how many stand is asked of the pool each time.

use std::collections::BTreeMap;
use std::sync::Arc;

use ::functions::published::{Alias, Facet, Published};
use ::functions::store::StoreError;
use ::functions::{FunctionName, Revision, Store};
use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use warm_pool::KeptView;

use super::address::{Address, Qualifier};
use super::configuration::time;
use super::facet;
use super::fault::{Fault, Kind};
use super::functions::{Document, Qualified, blocking};
use super::lookup;
use super::pages::{self, Page};
use super::query::Parameters;
use super::signed::Signed;
use super::versions::function;
use crate::changes::whole;
use crate::gateway::Gateway;

/// A config, as it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Provisioned {
    requested: u32,
    changed: Timestamp,
}

/// The configs of a function, by qualifier.
type Configs = BTreeMap<String, Provisioned>;

/// Revisions, and how many instances of each are kept.
pub(crate) type Kept = Vec<(Arc<Revision>, u32)>;

/// What the configs of a function ask the pool to keep. For a caller on the blocking pool.
pub(crate) fn kept(store: &Store, name: &FunctionName, published: &Published) -> Result<Kept, StoreError> {
    let configs: Configs = store.facets(name, Facet::Provisioned)?;
    let kept = configs.iter().filter_map(|(qualifier, config)| {
        let version = published.versions.get(&reached(published, qualifier)?)?;
        Some((version.revision.clone(), config.requested))
    });
    Ok(kept.collect())
}

/// How many instances the configs of a function ask for together. For a caller on the blocking pool.
pub(super) fn total(store: &Store, name: &FunctionName) -> Result<u64, StoreError> {
    let configs: Configs = store.facets(name, Facet::Provisioned)?;
    Ok(sum(&configs))
}

fn sum(configs: &Configs) -> u64 {
    configs.values().map(|config| u64::from(config.requested)).sum()
}

/// The version that a qualifier reaches with all its calls; `None` for the live revision.
fn reached(published: &Published, qualifier: &str) -> Option<u64> {
    match published.aliases.get(qualifier) {
        Some(alias) => alias.version,
        None => qualifier.parse().ok(),
    }
}

/// Refuses to point an alias that has a config to where it could not hold. For a caller on the blocking pool.
pub(super) fn check_alias(
    store: &Store,
    name: &FunctionName,
    published: &Published,
    (alias, to): (&str, &Alias),
) -> Result<(), Fault> {
    let configs: Configs = store.facets(name, Facet::Provisioned)?;
    match configs.get(alias) {
        Some(config) => check(published, &configs, alias, Some(to), config.requested),
        None => Ok(()),
    }
}

/// Whether `requested` instances can be kept for a qualifier: it reaches one version, which no other config reaches and which may have as many.
fn check(
    published: &Published,
    configs: &Configs,
    qualifier: &str,
    alias: Option<&Alias>,
    requested: u32,
) -> Result<(), Fault> {
    if alias.is_some_and(|alias| alias.shifted.is_some()) {
        return Err(Fault::invalid(
            "Alias with weights can not be used with Provisioned Concurrency",
        ));
    }
    let version = alias.map_or_else(|| qualifier.parse().ok(), |alias| alias.version);
    let Some(version) = version else {
        return Err(Fault::invalid(
            "Provisioned Concurrency Configs cannot be applied to unpublished function versions.",
        ));
    };
    let clash = |other: &&String| *other != qualifier && reached(published, other) == Some(version);
    if let Some(other) = configs.keys().find(clash) {
        let text = match alias {
            Some(_) => {
                "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version"
                    .to_owned()
            }
            None => format!("Version is pointed by a Provisioned Concurrency alias: {other}"),
        };
        return Err(Fault::new(Kind::Conflict, text));
    }
    let most = published
        .versions
        .get(&version)
        .map(|version| version.revision.settings.scale.max.max(1));
    match most.filter(|most| requested > *most) {
        Some(most) => Err(Fault::invalid(format!(
            "ProvisionedConcurrentExecutions is {requested}, but version {version} has at most {most} instances, which is its scale.max"
        ))),
        None => Ok(()),
    }
}

/// What a config belongs to.
struct Place {
    name: FunctionName,
    qualifier: String,
    revision: Arc<Revision>,
}

impl Place {
    /// Finds it. `unpublished` says what is wrong with `$LATEST`, and with no qualifier at all.
    fn find(gateway: &Gateway, name: &str, qualifier: Option<&str>, unpublished: &'static str) -> Result<Self, Fault> {
        let address = Address::read(name, qualifier)?;
        if address.qualifier() == Qualifier::Latest {
            return Err(Fault::invalid(unpublished));
        }
        let revision = lookup::find(gateway, &address, 1.0)?.revision;
        Ok(Self {
            qualifier: address.qualifier().to_string(),
            name: address.name,
            revision,
        })
    }

    fn absent() -> Fault {
        Fault::new(
            Kind::NoProvisioned,
            "No Provisioned Concurrency Config found for this function",
        )
    }
}

/// What is wrong with `$LATEST` where a config is looked for.
const NEITHER: &str = "The function resource provided must be an alias or a published version.";

/// The numbers and the state of a config, by what stands of its revision.
fn document(config: &Provisioned, stands: Option<&KeptView>) -> Value {
    let (allocated, ready) = stands.map_or((0, 0), |stands| (stands.allocated, stands.ready));
    let failure = stands.and_then(|stands| stands.failure.as_deref());
    // Where calls needed more, the others are not provisioned.
    let available = ready.min(config.requested);
    let status = match failure {
        _ if available == config.requested => "READY",
        Some(_) => "FAILED",
        None => "IN_PROGRESS",
    };
    let mut document = json!({
        "RequestedProvisionedConcurrentExecutions": config.requested,
        "AllocatedProvisionedConcurrentExecutions": allocated.min(config.requested),
        "AvailableProvisionedConcurrentExecutions": available,
        "Status": status,
        "LastModified": time(config.changed),
    });
    if let Some(failure) = failure.filter(|_| status == "FAILED") {
        document["StatusReason"] = json!(format!(
            "FUNCTION_ERROR_INIT_FAILURE: {}",
            ::functions::one_line(failure, 500)
        ));
    }
    document
}

fn told(gateway: &Gateway, name: &FunctionName, revision: &Revision, config: &Provisioned) -> Value {
    let kept = gateway.pool.kept(name);
    document(config, kept.iter().find(|kept| kept.revision == revision.number))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Asked {
    provisioned_concurrent_executions: u32,
}

/// PutProvisionedConcurrencyConfig.
pub(super) async fn put(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
    Parameters(Qualified { qualifier }): Parameters<Qualified>,
    signed: Signed,
) -> Result<Response, Fault> {
    let Asked {
        provisioned_concurrent_executions: requested,
    } = signed.document()?;
    if requested == 0 {
        return Err(Fault::invalid(
            "ProvisionedConcurrentExecutions is 0, but it must be at least 1",
        ));
    }
    let document = whole(async move {
        let turn = gateway.changes.turn(&gateway).await;
        let unpublished = "Provisioned Concurrency Configs cannot be applied to unpublished function versions.";
        let place = Place::find(&gateway, &name, qualifier.as_deref(), unpublished)?;
        let reserved = gateway.live.reserved(&place.name).map(|reserved| reserved.most());
        let published = gateway.live.published(&place.name).unwrap_or_default();
        let (store, at) = (gateway.store.clone(), (place.name.clone(), place.qualifier.clone()));
        let config = Provisioned {
            requested,
            changed: Timestamp::now(),
        };
        blocking(move || {
            let (name, qualifier) = at;
            facet::change(&store, &name, (Facet::Provisioned, &qualifier), |_: Option<Provisioned>| {
                let mut configs: Configs = store.facets(&name, Facet::Provisioned)?;
                let alias = published.aliases.get(&qualifier);
                check(&published, &configs, &qualifier, alias, requested)?;
                configs.insert(qualifier.clone(), config);
                if reserved.is_some_and(|reserved| sum(&configs) > u64::from(reserved)) {
                    return Err(Fault::invalid(
                        "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function",
                    ));
                }
                Ok(Some(config))
            })
        })
        .await?;
        turn.republish(&place.name).await?;
        Ok::<_, Fault>(told(&gateway, &place.name, &place.revision, &config))
    });
    Ok((StatusCode::ACCEPTED, Json(document.await?)).into_response())
}

/// What stands in the query of a call that shows one config or all.
#[derive(Debug, Deserialize)]
pub(super) struct Shown {
    #[serde(rename = "List")]
    list: Option<String>,
}

/// GetProvisionedConcurrencyConfig, and with `List=ALL` ListProvisionedConcurrencyConfigs: they share a path.
pub(super) async fn get(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
    Parameters(Shown { list }): Parameters<Shown>,
    Parameters(Qualified { qualifier }): Parameters<Qualified>,
    Parameters(page): Parameters<Page>,
    _signed: Signed,
) -> Document {
    match list.as_deref() {
        Some("ALL") => all(gateway, &name, page).await,
        Some(_) => Err(Fault::invalid("List is something else than ALL")),
        None => one(gateway, &name, qualifier.as_deref()).await,
    }
}

async fn one(gateway: Arc<Gateway>, name: &str, qualifier: Option<&str>) -> Document {
    let place = Place::find(&gateway, name, qualifier, NEITHER)?;
    blocking(move || {
        let config: Option<Provisioned> = gateway.store.facet(&place.name, Facet::Provisioned, &place.qualifier)?;
        let config = config.ok_or_else(Place::absent)?;
        Ok(Json(told(&gateway, &place.name, &place.revision, &config)))
    })
    .await
}

async fn all(gateway: Arc<Gateway>, name: &str, page: Page) -> Document {
    let name = function(&gateway, name)?;
    blocking(move || {
        let configs: Configs = gateway.store.facets(&name, Facet::Provisioned)?;
        let published = gateway.live.published(&name).unwrap_or_default();
        let kept = gateway.pool.kept(&name);
        let (shown, next) = pages::cut(configs.into_iter().collect(), &page, |(qualifier, _)| qualifier.clone())?;
        let shown = shown.iter().map(|(qualifier, config)| {
            let version = reached(&published, qualifier).and_then(|version| published.versions.get(&version));
            let stands = version.and_then(|version| kept.iter().find(|kept| kept.revision == version.revision.number));
            let mut document = document(config, stands);
            document["FunctionArn"] = json!(format!("{}:{qualifier}", super::function_arn(&name)));
            document
        });
        let shown = shown.collect();
        Ok(Json(pages::document("ProvisionedConcurrencyConfigs", shown, next)))
    })
    .await
}

/// DeleteProvisionedConcurrencyConfig. One that is not there is deleted already.
pub(super) async fn delete(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
    Parameters(Qualified { qualifier }): Parameters<Qualified>,
    _signed: Signed,
) -> Result<StatusCode, Fault> {
    whole(async move {
        let turn = gateway.changes.turn(&gateway).await;
        let place = Place::find(&gateway, &name, qualifier.as_deref(), NEITHER)?;
        let (store, name) = (gateway.store.clone(), place.name.clone());
        blocking(move || {
            let key = (Facet::Provisioned, &*place.qualifier);
            facet::change(&store, &place.name, key, |_: Option<Provisioned>| Ok(None))
        })
        .await?;
        turn.republish(&name).await?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

#[cfg(test)]
mod tests {
    use ::functions::RevisionNumber;

    use super::*;

    fn stands(allocated: u32, ready: u32, failure: Option<&str>) -> KeptView {
        KeptView {
            revision: RevisionNumber::FIRST,
            wanted: 3,
            allocated,
            ready,
            failure: failure.map(str::to_owned),
        }
    }

    #[test]
    fn the_state_is_what_stands() {
        let config = Provisioned {
            requested: 3,
            changed: Timestamp::UNIX_EPOCH,
        };
        for (stands, allocated, available, status, reason) in [
            (None, 0, 0, "IN_PROGRESS", None),
            (Some(stands(3, 1, None)), 3, 1, "IN_PROGRESS", None),
            (Some(stands(3, 3, None)), 3, 3, "READY", None),
            (Some(stands(5, 5, None)), 3, 3, "READY", None),
            (
                Some(stands(1, 0, Some("it\nfails"))),
                1,
                0,
                "FAILED",
                Some("it\\x0afails"),
            ),
            // Enough stand, so nothing is missing.
            (Some(stands(3, 3, Some("it fails"))), 3, 3, "READY", None),
        ] {
            let document = document(&config, stands.as_ref());
            assert_eq!(document["RequestedProvisionedConcurrentExecutions"], 3);
            assert_eq!(document["AllocatedProvisionedConcurrentExecutions"], allocated);
            assert_eq!(document["AvailableProvisionedConcurrentExecutions"], available);
            assert_eq!(document["Status"], status, "{stands:?}");
            let said = document["StatusReason"].as_str();
            let reason = reason.map(|reason| format!("FUNCTION_ERROR_INIT_FAILURE: {reason}"));
            assert_eq!(said, reason.as_deref(), "{stands:?}");
            assert_eq!(document["LastModified"], "1970-01-01T00:00:00.000+0000");
        }
    }
}
