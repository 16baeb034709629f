//! PublishVersion, ListVersionsByFunction, and the aliases that point to versions.

use std::collections::BTreeMap;
use std::sync::Arc;

use ::functions::published::{Alias, PublishError, Shift, revision_id};
use ::functions::store::PublishedError;
use ::functions::{FunctionName, RevisionNumber};
use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::address::{Address, LATEST, Qualifier, alias_name, function_arn};
use super::fault::{Fault, Kind};
use super::functions::{Document, blocking};
use super::lookup::{self, Found};
use super::pages::{self, Page};
use super::provisioned;
use super::query::Parameters;
use super::signed::Signed;
use crate::changes::whole;
use crate::gateway::Gateway;

impl From<PublishedError> for Fault {
    fn from(error: PublishedError) -> Self {
        match error {
            PublishedError::Store(error) => error.into(),
            PublishedError::Refused(refused) => {
                let kind = match refused {
                    PublishError::NoVersion { .. } | PublishError::NoAlias { .. } => Kind::NotFound,
                    PublishError::AliasExists { .. } | PublishError::InUse { .. } => Kind::Conflict,
                };
                Self::new(kind, refused.to_string())
            }
        }
    }
}

/// The function of a path, which takes no qualifier.
pub(super) fn function(gateway: &Gateway, text: &str) -> Result<FunctionName, Fault> {
    let address = Address::read(text, None)?;
    if address.qualifier.is_some() {
        return Err(Fault::invalid("this takes the name of a function without a qualifier"));
    }
    match gateway.live.get(&address.name) {
        Some(_) => Ok(address.name),
        None => Err(Fault::no_function(&address.arn())),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
struct Publish {
    description: String,
    code_sha256: Option<String>,
    revision_id: Option<String>,
}

/// PublishVersion.
pub(super) async fn publish(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
    signed: Signed,
) -> Result<Response, Fault> {
    let asked: Publish = signed.document()?;
    let document = whole(async move {
        let turn = gateway.changes.turn(&gateway).await;
        let name = function(&gateway, &name)?;
        let found = {
            let (gateway, name) = (gateway.clone(), name.clone());
            blocking(move || {
                let live = gateway
                    .live
                    .get(&name)
                    .ok_or_else(|| Fault::no_function(&function_arn(&name)))?;
                let sha256 = lookup::labels(&gateway, &live)?.code_sha256;
                let other = |wanted: &Option<String>, now: &str| wanted.as_deref().is_some_and(|wanted| wanted != now);
                if other(&asked.revision_id, &revision_id(live.number)) {
                    return Err(Fault::new(Kind::Precondition, "RevisionId is not that of $LATEST"));
                }
                if other(&asked.code_sha256, &sha256) {
                    return Err(Fault::invalid(format!(
                        "CodeSha256 is not that of $LATEST, which is {sha256}"
                    )));
                }
                let version = gateway.store.publish(&name, &asked.description)?;
                Ok(Found {
                    revision: version.revision,
                    version: Some(version.number),
                    description: Some(version.description),
                })
            })
            .await?
        };
        turn.republish(&name).await?;
        let reading = gateway.clone();
        blocking(move || found.document(&reading)).await
    });
    Ok((StatusCode::CREATED, Json(document.await?)).into_response())
}

/// ListVersionsByFunction: the live revision, then the versions from the first to the last.
pub(super) async fn list(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
    Parameters(page): Parameters<Page>,
    _signed: Signed,
) -> Document {
    let name = function(&gateway, &name)?;
    blocking(move || {
        let published = gateway.live.published(&name).unwrap_or_default();
        let numbers = published.versions.keys().map(|number| Qualifier::Version(*number));
        let all: Vec<Qualifier> = std::iter::once(Qualifier::Latest).chain(numbers).collect();
        let (shown, next) = pages::cut(all, &page, place)?;
        let shown = shown.into_iter().map(|qualifier| {
            let address = Address {
                name: name.clone(),
                qualifier: Some(qualifier),
            };
            lookup::find(&gateway, &address, 1.0)?.document(&gateway)
        });
        let shown: Vec<Value> = shown.collect::<Result<_, Fault>>()?;
        Ok(Json(pages::document("Versions", shown, next)))
    })
    .await
}

/// Where a version stands in the list: text that is in the order of the numbers.
fn place(qualifier: &Qualifier) -> String {
    match qualifier {
        Qualifier::Version(number) => format!("{number:020}"),
        other => other.to_string(),
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct AliasDocument {
    name: String,
    function_version: Option<String>,
    description: Option<String>,
    routing_config: Option<Routing>,
    revision_id: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Routing {
    additional_version_weights: BTreeMap<String, f64>,
}

impl AliasDocument {
    /// The alias that it asks for, over what there is.
    fn over(&self, now: Option<&Alias>) -> Result<Alias, Fault> {
        let version = match (&self.function_version, now) {
            (Some(version), _) => match version.parse::<Qualifier>()? {
                Qualifier::Latest => None,
                Qualifier::Version(number) => Some(number),
                Qualifier::Alias(_) => return Err(Fault::invalid("FunctionVersion is neither a number nor $LATEST")),
            },
            (None, Some(now)) => now.version,
            (None, None) => return Err(Fault::invalid("FunctionVersion is missing")),
        };
        let shifted = match &self.routing_config {
            Some(routing) => shift(routing)?,
            None => now.and_then(|now| now.shifted),
        };
        if let Some(shift) = shifted {
            if version.is_none() {
                return Err(Fault::invalid(
                    "an alias that shifts calls points to a version, not to $LATEST",
                ));
            }
            if version == Some(shift.version) {
                return Err(Fault::invalid(
                    "the additional version is the one that the alias points to",
                ));
            }
        }
        let described = self.description.clone().or(now.map(|now| now.description.clone()));
        Ok(Alias {
            version,
            shifted,
            description: described.unwrap_or_default(),
            change: now.map_or(0, |now| now.change) + 1,
        })
    }
}

fn shift(routing: &Routing) -> Result<Option<Shift>, Fault> {
    let weights = &routing.additional_version_weights;
    let Some((version, weight)) = weights.first_key_value() else {
        return Ok(None);
    };
    if weights.len() > 1 {
        return Err(Fault::invalid("AdditionalVersionWeights has more than one version"));
    }
    let Ok(Qualifier::Version(version)) = version.parse() else {
        return Err(Fault::invalid(
            "AdditionalVersionWeights names something that is no version",
        ));
    };
    if !(0.0..=1.0).contains(weight) {
        return Err(Fault::invalid(
            "a weight of AdditionalVersionWeights is not from 0.0 to 1.0",
        ));
    }
    Ok(Some(Shift {
        version,
        weight: *weight,
    }))
}

fn alias_document(function: &FunctionName, name: &str, alias: &Alias) -> Value {
    let version = alias
        .version
        .map_or_else(|| LATEST.to_owned(), |version| version.to_string());
    let change = RevisionNumber::new(alias.change).unwrap_or(RevisionNumber::FIRST);
    let mut document = json!({
        "AliasArn": format!("{}:{name}", function_arn(function)),
        "Name": name,
        "FunctionVersion": version,
        "Description": alias.description,
        "RevisionId": revision_id(change),
    });
    if let Some(shift) = alias.shifted {
        document["RoutingConfig"] = json!({ "AdditionalVersionWeights": { shift.version.to_string(): shift.weight } });
    }
    document
}

fn no_alias(function: &FunctionName, alias: &str) -> Fault {
    Fault::new(
        Kind::NotFound,
        format!(
            "Cannot find alias arn: {}:{}",
            function_arn(function),
            ::functions::one_line(alias, 128)
        ),
    )
}

/// CreateAlias.
pub(super) async fn create_alias(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
    signed: Signed,
) -> Result<Response, Fault> {
    let asked: AliasDocument = signed.document()?;
    let document = whole(async move {
        let turn = gateway.changes.turn(&gateway).await;
        let name = function(&gateway, &name)?;
        let alias = alias_name(&asked.name)?.to_owned();
        let to = asked.over(None)?;
        let (store, function) = (gateway.store.clone(), name.clone());
        let document = blocking(move || {
            store.add_alias(&function, &alias, &to)?;
            Ok(alias_document(&function, &alias, &to))
        })
        .await?;
        turn.republish(&name).await?;
        Ok::<_, Fault>(document)
    });
    Ok((StatusCode::CREATED, Json(document.await?)).into_response())
}

/// UpdateAlias.
pub(super) async fn update_alias(
    State(gateway): State<Arc<Gateway>>,
    Path((name, alias)): Path<(String, String)>,
    signed: Signed,
) -> Document {
    let asked: AliasDocument = signed.document()?;
    let document = whole(async move {
        let turn = gateway.changes.turn(&gateway).await;
        let name = function(&gateway, &name)?;
        let published = gateway.live.published(&name).unwrap_or_default();
        let now = published.aliases.get(&alias).ok_or_else(|| no_alias(&name, &alias))?;
        let change = RevisionNumber::new(now.change).unwrap_or(RevisionNumber::FIRST);
        if asked
            .revision_id
            .as_deref()
            .is_some_and(|wanted| wanted != revision_id(change))
        {
            return Err(Fault::new(Kind::Precondition, "RevisionId is not that of the alias"));
        }
        let to = asked.over(Some(now))?;
        let (store, function) = (gateway.store.clone(), name.clone());
        let document = blocking(move || {
            provisioned::check_alias(&store, &function, &published, (&alias, &to))?;
            store.change_alias(&function, &alias, &to)?;
            Ok(alias_document(&function, &alias, &to))
        })
        .await?;
        turn.republish(&name).await?;
        Ok(Json(document))
    });
    document.await
}

/// GetAlias.
pub(super) async fn get_alias(
    State(gateway): State<Arc<Gateway>>,
    Path((name, alias)): Path<(String, String)>,
    _signed: Signed,
) -> Document {
    let name = function(&gateway, &name)?;
    let published = gateway.live.published(&name).unwrap_or_default();
    let found = published.aliases.get(&alias).ok_or_else(|| no_alias(&name, &alias))?;
    Ok(Json(alias_document(&name, &alias, found)))
}

/// What stands in the query of ListAliases.
#[derive(Debug, Deserialize)]
pub(super) struct OfVersion {
    #[serde(rename = "FunctionVersion")]
    version: Option<String>,
}

/// ListAliases.
pub(super) async fn list_aliases(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
    Parameters(page): Parameters<Page>,
    Parameters(OfVersion { version }): Parameters<OfVersion>,
    _signed: Signed,
) -> Document {
    let name = function(&gateway, &name)?;
    let wanted = version.map(|version| version.parse::<Qualifier>()).transpose()?;
    let published = gateway.live.published(&name).unwrap_or_default();
    let fits = |alias: &Alias| match &wanted {
        None => true,
        Some(Qualifier::Version(number)) => alias.names(*number),
        Some(_) => alias.version.is_none(),
    };
    let all: Vec<_> = published.aliases.iter().filter(|(_, alias)| fits(alias)).collect();
    let (shown, next) = pages::cut(all, &page, |(alias, _)| (*alias).clone())?;
    let shown = shown
        .iter()
        .map(|(alias, to)| alias_document(&name, alias, to))
        .collect();
    Ok(Json(pages::document("Aliases", shown, next)))
}

/// DeleteAlias. One that is not there is deleted already.
pub(super) async fn delete_alias(
    State(gateway): State<Arc<Gateway>>,
    Path((name, alias)): Path<(String, String)>,
    _signed: Signed,
) -> Result<StatusCode, Fault> {
    whole(async move {
        let turn = gateway.changes.turn(&gateway).await;
        let name = function(&gateway, &name)?;
        let (store, function) = (gateway.store.clone(), name.clone());
        blocking(move || Ok(store.remove_alias(&function, &alias)?)).await?;
        turn.republish(&name).await?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_versions_goes_on_behind_one_that_was_deleted_meanwhile() {
        let numbers = (1..=12).filter(|number| *number != 9).map(Qualifier::Version);
        let all: Vec<_> = std::iter::once(Qualifier::Latest).chain(numbers).collect();
        let marker = place(&Qualifier::Version(9));
        let page: Page = serde_json::from_value(json!({ "Marker": marker })).unwrap();
        let (shown, next) = pages::cut(all, &page, place).unwrap();
        assert_eq!((shown, next), ((10..=12).map(Qualifier::Version).collect(), None));
    }
}
