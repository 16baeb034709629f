//! Event-invoke configs: PutFunctionEventInvokeConfig, UpdateFunctionEventInvokeConfig, GetFunctionEventInvokeConfig,
//! DeleteFunctionEventInvokeConfig, ListFunctionEventInvokeConfigs.
//!
//! A config belongs to what an event is addressed to: the function itself, a version, or an alias. It is read when an attempt is over, so a change
//! holds for events that wait already.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ::functions::FunctionName;
use ::functions::published::Facet;
use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::address::Address;
use super::facet;
use super::fault::{Fault, Kind};
use super::functions::{Document, Qualified, blocking};
use super::lookup;
use super::pages::{self, Page};
use super::query::Parameters;
use super::signed::Signed;
use crate::changes::whole;
use crate::gateway::Gateway;

/// How often an event is run again whose function failed.
const MOST_RETRIES: u32 = 2;
/// How old an event may become before it has begun, in seconds: six hours at most and by default.
const AGES: (u32, u32) = (60, 6 * 60 * 60);

/// What becomes of events, as it is kept. What is not said has its default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EventConfig {
    retries: Option<u32>,
    age: Option<u32>,
    on_success: Option<String>,
    on_failure: Option<String>,
    changed: Timestamp,
}

impl EventConfig {
    /// How often an event is run again whose function failed.
    pub(super) fn retries(&self) -> u32 {
        self.retries.unwrap_or(MOST_RETRIES)
    }

    /// How old an event may become before it has begun.
    pub(super) fn age(&self) -> Duration {
        Duration::from_secs(self.age.unwrap_or(AGES.1).into())
    }

    /// The function that is told how an event ended.
    pub(super) fn destination(&self, success: bool) -> Option<Address> {
        let arn = if success { &self.on_success } else { &self.on_failure };
        Address::read(arn.as_deref()?, None).ok()
    }

    fn document(&self, name: &FunctionName, key: &str) -> Value {
        let mut destinations = json!({ "OnSuccess": {}, "OnFailure": {} });
        for (on, arn) in [("OnSuccess", &self.on_success), ("OnFailure", &self.on_failure)] {
            if let Some(arn) = arn {
                destinations[on] = json!({ "Destination": arn });
            }
        }
        let mut document = json!({
            "FunctionArn": format!("{}:{key}", super::function_arn(name)),
            "LastModified": self.changed.as_second(),
            "DestinationConfig": destinations,
        });
        if let Some(retries) = self.retries {
            document["MaximumRetryAttempts"] = json!(retries);
        }
        if let Some(age) = self.age {
            document["MaximumEventAgeInSeconds"] = json!(age);
        }
        document
    }
}

/// The config for events that are addressed so; the default where none was made. One that can't be read is logged and taken for none.
pub(super) async fn of(gateway: &Gateway, address: &Address) -> EventConfig {
    let (store, name, key) = (gateway.store.clone(), address.name.clone(), key(address));
    match blocking(move || Ok(store.facet(&name, Facet::Event, &key)?)).await {
        Ok(config) => config.unwrap_or_default(),
        Err(fault) => {
            tracing::warn!(function = %address.name, "the event-invoke config is not known: {}", fault.message());
            EventConfig::default()
        }
    }
}

fn key(address: &Address) -> String {
    address.qualifier().to_string()
}

/// What a client asks for.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Asked {
    maximum_retry_attempts: Option<u32>,
    maximum_event_age_in_seconds: Option<u32>,
    destination_config: Option<Destinations>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Destinations {
    on_success: Destination,
    on_failure: Destination,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Destination {
    destination: Option<String>,
}

impl Destination {
    /// The ARN, if one is given. `exists` says whether there is such a function.
    fn checked(self, exists: impl Fn(&Address) -> bool) -> Result<Option<String>, Fault> {
        let Some(arn) = self.destination.filter(|arn| !arn.is_empty()) else {
            return Ok(None);
        };
        let known = arn.starts_with("arn:") && Address::read(&arn, None).is_ok_and(|address| exists(&address));
        match known {
            true => Ok(Some(arn)),
            false => Err(Fault::invalid(format!(
                "The destination ARN {} is invalid: only functions of this server are destinations here",
                ::functions::one_line(&arn, 200)
            ))),
        }
    }
}

impl Asked {
    /// The config that it asks for, over what there is.
    fn over(self, now: EventConfig, exists: impl Fn(&Address) -> bool) -> Result<EventConfig, Fault> {
        if let Some(retries) = self.maximum_retry_attempts.filter(|retries| *retries > MOST_RETRIES) {
            return Err(Fault::invalid(format!(
                "MaximumRetryAttempts is {retries}, but it must be from 0 to {MOST_RETRIES}"
            )));
        }
        let (least, most) = AGES;
        let age = self.maximum_event_age_in_seconds;
        if let Some(age) = age.filter(|age| !(least..=most).contains(age)) {
            return Err(Fault::invalid(format!(
                "MaximumEventAgeInSeconds is {age}, but it must be from {least} to {most}"
            )));
        }
        let (on_success, on_failure) = match self.destination_config {
            Some(to) => (to.on_success.checked(&exists)?, to.on_failure.checked(&exists)?),
            None => (now.on_success, now.on_failure),
        };
        Ok(EventConfig {
            retries: self.maximum_retry_attempts.or(now.retries),
            age: age.or(now.age),
            on_success,
            on_failure,
            changed: Timestamp::now(),
        })
    }
}

/// Reads what a path and a query name, which has to be there.
fn place(gateway: &Gateway, name: &str, qualifier: Option<&str>) -> Result<Address, Fault> {
    let address = Address::read(name, qualifier)?;
    lookup::find(gateway, &address, 1.0)?;
    Ok(address)
}

fn absent(address: &Address) -> Fault {
    let qualifier = Some(address.qualifier());
    let name = address.name.clone();
    let arn = Address { name, qualifier }.arn();
    Fault::new(
        Kind::NotFound,
        format!("The function {arn} doesn't have an EventInvokeConfig"),
    )
}

/// Changes a config. `make` gets what is there, and says what is to be.
async fn change(
    gateway: Arc<Gateway>,
    name: String,
    qualifier: Option<String>,
    make: impl FnOnce(Option<EventConfig>, &Address, &Gateway) -> Result<Option<EventConfig>, Fault> + Send + 'static,
) -> Result<Option<Value>, Fault> {
    whole(async move {
        let _turn = gateway.changes.turn(&gateway).await;
        let address = place(&gateway, &name, qualifier.as_deref())?;
        let changing = gateway.clone();
        blocking(move || {
            let key = key(&address);
            let to = facet::change(&changing.store, &address.name, (Facet::Event, &key), |now| {
                make(now, &address, &changing)
            })?;
            Ok(to.map(|config| config.document(&address.name, &key)))
        })
        .await
    })
    .await
}

fn exists(gateway: &Gateway) -> impl Fn(&Address) -> bool {
    |address| lookup::find(gateway, address, 1.0).is_ok()
}

/// PutFunctionEventInvokeConfig: what is not said has its default again.
pub(super) async fn put(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
    Parameters(Qualified { qualifier }): Parameters<Qualified>,
    signed: Signed,
) -> Document {
    let asked: Asked = signed.document()?;
    let changed = change(gateway, name, qualifier, |_, _, gateway| {
        asked.over(EventConfig::default(), exists(gateway)).map(Some)
    })
    .await?;
    Ok(Json(json!(changed)))
}

/// UpdateFunctionEventInvokeConfig: what is not said stays.
pub(super) async fn update(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
    Parameters(Qualified { qualifier }): Parameters<Qualified>,
    signed: Signed,
) -> Document {
    let asked: Asked = signed.document()?;
    let changed = change(gateway, name, qualifier, |now, address, gateway| {
        let now = now.ok_or_else(|| absent(address))?;
        asked.over(now, exists(gateway)).map(Some)
    })
    .await?;
    Ok(Json(json!(changed)))
}

/// DeleteFunctionEventInvokeConfig.
pub(super) async fn delete(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
    Parameters(Qualified { qualifier }): Parameters<Qualified>,
    _signed: Signed,
) -> Result<StatusCode, Fault> {
    change(gateway, name, qualifier, |now, address, _| match now {
        Some(_) => Ok(None),
        None => Err(absent(address)),
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// GetFunctionEventInvokeConfig.
pub(super) async fn get(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
    Parameters(Qualified { qualifier }): Parameters<Qualified>,
    _signed: Signed,
) -> Document {
    let address = place(&gateway, &name, qualifier.as_deref())?;
    blocking(move || {
        let key = key(&address);
        let config: Option<EventConfig> = gateway.store.facet(&address.name, Facet::Event, &key)?;
        let config = config.ok_or_else(|| absent(&address))?;
        Ok(Json(config.document(&address.name, &key)))
    })
    .await
}

/// ListFunctionEventInvokeConfigs.
pub(super) async fn list(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
    Parameters(page): Parameters<Page>,
    _signed: Signed,
) -> Document {
    let name = super::versions::function(&gateway, &name)?;
    blocking(move || {
        let configs: BTreeMap<String, EventConfig> = gateway.store.facets(&name, Facet::Event)?;
        let (shown, next) = pages::cut(configs.into_iter().collect(), &page, |(key, _)| key.clone())?;
        let shown = shown.iter().map(|(key, config)| config.document(&name, key)).collect();
        Ok(Json(pages::document("FunctionEventInvokeConfigs", shown, next)))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(document: Value) -> Asked {
        serde_json::from_value(document).unwrap()
    }

    #[test]
    fn what_is_said_is_kept_and_what_is_not_has_its_default() {
        let now = EventConfig::default();
        assert_eq!((now.retries(), now.age()), (2, Duration::from_secs(21_600)));
        let arn = "arn:aws:lambda:us-east-1:000000000000:function:other";
        let first = asked(json!({
            "MaximumRetryAttempts": 0,
            "DestinationConfig": { "OnFailure": { "Destination": arn } },
        }));
        let first = first.over(now, |_| true).unwrap();
        assert_eq!(first.retries(), 0);
        assert_eq!(first.destination(false).unwrap().name.as_str(), "other");
        assert!(first.destination(true).is_none());
        let second = asked(json!({ "MaximumEventAgeInSeconds": 60 }))
            .over(first, |_| true)
            .unwrap();
        assert_eq!((second.retries(), second.age().as_secs()), (0, 60));
        let document = second.document(&"hello".parse().unwrap(), "$LATEST");
        assert_eq!(document["DestinationConfig"]["OnFailure"]["Destination"], arn);
        assert!(
            document["FunctionArn"]
                .as_str()
                .unwrap()
                .ends_with(":function:hello:$LATEST")
        );
        let third = asked(json!({ "DestinationConfig": {} }))
            .over(second, |_| true)
            .unwrap();
        assert!(third.destination(false).is_none());
    }

    #[test]
    fn what_can_not_be_is_refused_with_the_reason() {
        let to = |arn: &str| json!({ "DestinationConfig": { "OnSuccess": { "Destination": arn } } });
        for (document, reason) in [
            (json!({ "MaximumRetryAttempts": 3 }), "from 0 to 2"),
            (json!({ "MaximumEventAgeInSeconds": 59 }), "from 60 to 21600"),
            (json!({ "MaximumEventAgeInSeconds": 21_601 }), "from 60 to 21600"),
            (to("arn:aws:sqs:us-east-1:000000000000:queue"), "only functions"),
            (to("other"), "only functions"),
            (
                to("arn:aws:lambda:us-east-1:000000000000:function:nobody"),
                "only functions",
            ),
        ] {
            let fault = asked(document).over(EventConfig::default(), |_| false).unwrap_err();
            assert_eq!(fault.kind(), Kind::InvalidParameter);
            assert!(fault.message().contains(reason), "{}", fault.message());
        }
    }
}
