//! Tags of functions: TagResource, UntagResource, ListTags.

use std::collections::BTreeMap;
use std::sync::Arc;

use ::functions::published::Facet;
use axum::Json;
use axum::extract::{Path, State};
use http::{StatusCode, Uri};
use serde::Deserialize;
use serde_json::json;

use super::address::Address;
use super::facet;
use super::fault::Fault;
use super::functions::{Document, blocking};
use super::signed::Signed;
use crate::gateway::Gateway;

/// Names and values.
pub(super) type Tags = BTreeMap<String, String>;

/// Most tags of a function.
const MOST: usize = 50;

#[derive(Deserialize)]
struct Add {
    #[serde(rename = "Tags")]
    tags: Tags,
}

/// Checks the bounds of tags: 50 of them, names of 1 to 128 and values of at most 256 characters.
pub(super) fn check(tags: &Tags) -> Result<(), Fault> {
    if tags.len() > MOST {
        return Err(Fault::invalid(format!(
            "{} tags, at most {MOST} are allowed",
            tags.len()
        )));
    }
    for (key, value) in tags {
        let key_length = key.chars().count();
        if !(1..=128).contains(&key_length) || value.chars().count() > 256 || key.starts_with("aws:") {
            return Err(Fault::invalid(format!(
                "the tag {:?} is refused: a name has 1 to 128 characters and does not start with aws:, a value has at most 256",
                ::functions::one_line(key, 128)
            )));
        }
    }
    Ok(())
}

/// The function of an ARN in the path, which takes no qualifier.
fn function(gateway: &Gateway, arn: &str) -> Result<Address, Fault> {
    let address = Address::read(arn, None)?;
    if address.qualifier.is_some() {
        return Err(Fault::invalid(
            "tags belong to a function, not to a version or an alias",
        ));
    }
    match gateway.live.get(&address.name) {
        Some(_) => Ok(address),
        None => Err(Fault::no_function(&address.arn())),
    }
}

/// Changes the tags of a function, in one order with everything else that changes it.
async fn change(
    gateway: Arc<Gateway>,
    arn: String,
    change: impl FnOnce(&mut Tags) + Send + 'static,
) -> Result<StatusCode, Fault> {
    crate::changes::whole(async move {
        let _turn = gateway.changes.turn(&gateway).await;
        let address = function(&gateway, &arn)?;
        let store = gateway.store.clone();
        blocking(move || {
            facet::change(&store, &address.name, (Facet::Tags, ""), |now: Option<Tags>| {
                let mut tags = now.unwrap_or_default();
                change(&mut tags);
                check(&tags)?;
                Ok(Some(tags))
            })?;
            Ok(StatusCode::NO_CONTENT)
        })
        .await
    })
    .await
}

/// TagResource.
pub(super) async fn add(
    State(gateway): State<Arc<Gateway>>,
    Path(arn): Path<String>,
    signed: Signed,
) -> Result<StatusCode, Fault> {
    let Add { tags } = signed.document()?;
    change(gateway, arn, |all| all.extend(tags)).await
}

/// UntagResource: the names stand in the query as `tagKeys`, once each.
pub(super) async fn remove(
    State(gateway): State<Arc<Gateway>>,
    Path(arn): Path<String>,
    uri: Uri,
    _signed: Signed,
) -> Result<StatusCode, Fault> {
    let keys: Vec<String> = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&uri)
        .map_err(|error| Fault::invalid(error.to_string()))?
        .0
        .into_iter()
        .filter_map(|(name, value)| (name == "tagKeys").then_some(value))
        .collect();
    if keys.is_empty() {
        return Err(Fault::invalid("tagKeys is missing"));
    }
    change(gateway, arn, move |all| all.retain(|key, _| !keys.contains(key))).await
}

/// ListTags.
pub(super) async fn list(State(gateway): State<Arc<Gateway>>, Path(arn): Path<String>, _signed: Signed) -> Document {
    let address = function(&gateway, &arn)?;
    blocking(move || {
        let tags: Tags = gateway.store.facet(&address.name, Facet::Tags, "")?.unwrap_or_default();
        Ok(Json(json!({ "Tags": tags })))
    })
    .await
}
