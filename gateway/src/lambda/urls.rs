//! Function URL configs: CreateFunctionUrlConfig, GetFunctionUrlConfig, UpdateFunctionUrlConfig, DeleteFunctionUrlConfig, ListFunctionUrlConfigs.
//!
//! Functions answer at their hosts with a config or without one. A config decides about pages of other origins, and whether a reply goes out
//! while it is made.

use std::collections::BTreeMap;
use std::sync::Arc;

use ::functions::cors::Cors;
use ::functions::published::Facet;
use ::functions::store::StoreError;
use ::functions::{FunctionName, Span};
use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::address::{Address, Qualifier};
use super::configuration::time;
use super::facet;
use super::fault::{Fault, Kind};
use super::functions::{Document, Qualified, blocking};
use super::lookup;
use super::pages::{self, Page};
use super::query::Parameters;
use super::signed::Signed;
use crate::changes::whole;
use crate::gateway::Gateway;
use crate::live::{Delivery, UrlRules};
use crate::resolve::is_host_label;

/// A config, as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct UrlConfig {
    invoke_mode: InvokeMode,
    cors: Option<Cors>,
    created: Timestamp,
    changed: Timestamp,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum InvokeMode {
    #[default]
    Buffered,
    ResponseStream,
}

/// What configs decide, by alias; empty for the function itself.
pub(crate) type Rules = Vec<(String, Arc<UrlRules>)>;

/// What a client asks for. What is left out stays as it is, or has its default.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Asked {
    auth_type: Option<String>,
    invoke_mode: Option<String>,
    cors: Option<CorsDocument>,
}

/// The object `Cors` of the API.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
struct CorsDocument {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    allow_origins: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    allow_methods: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    allow_headers: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    expose_headers: Vec<String>,
    allow_credentials: bool,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_age: Option<u32>,
}

impl CorsDocument {
    /// The rules; `None` for an object without any, which takes rules away.
    fn rules(self) -> Result<Option<Cors>, Fault> {
        let cors = Cors {
            allow_origins: self.allow_origins,
            allow_methods: self.allow_methods,
            allow_headers: self.allow_headers,
            expose_headers: self.expose_headers,
            allow_credentials: self.allow_credentials,
            max_age: self.max_age.map(|seconds| Span::secs(seconds.into())),
        };
        cors.check().map_err(|error| Fault::invalid(format!("Cors: {error}")))?;
        Ok(Some(cors).filter(|cors| !cors.is_empty()))
    }

    fn of(cors: &Cors) -> Self {
        Self {
            allow_origins: cors.allow_origins.clone(),
            allow_methods: cors.allow_methods.clone(),
            allow_headers: cors.allow_headers.clone(),
            expose_headers: cors.expose_headers.clone(),
            allow_credentials: cors.allow_credentials,
            max_age: cors
                .max_age
                .map(|age| u32::try_from(age.as_millis() / 1000).unwrap_or(u32::MAX)),
        }
    }
}

impl Asked {
    /// The config that it asks for, over what there is.
    fn over(self, now: Option<UrlConfig>) -> Result<UrlConfig, Fault> {
        match (self.auth_type.as_deref(), &now) {
            (Some("NONE"), _) | (None, Some(_)) => {}
            (Some("AWS_IAM"), _) => {
                return Err(Fault::invalid(
                    "AuthType AWS_IAM is not supported by this server, which lets everybody call a function who reaches its port; use NONE",
                ));
            }
            (Some(_), _) => return Err(Fault::invalid("AuthType is neither NONE nor AWS_IAM")),
            (None, None) => return Err(Fault::invalid("AuthType is missing")),
        }
        let invoke_mode = match self.invoke_mode.as_deref() {
            Some("BUFFERED") => InvokeMode::Buffered,
            Some("RESPONSE_STREAM") => InvokeMode::ResponseStream,
            Some(_) => return Err(Fault::invalid("InvokeMode is neither BUFFERED nor RESPONSE_STREAM")),
            None => now.as_ref().map(|now| now.invoke_mode).unwrap_or_default(),
        };
        let changed = Timestamp::now();
        let created = now.as_ref().map_or(changed, |now| now.created);
        let cors = match self.cors {
            Some(document) => document.rules()?,
            None => now.and_then(|now| now.cors),
        };
        Ok(UrlConfig {
            invoke_mode,
            cors,
            created,
            changed,
        })
    }
}

/// What a config belongs to: a function, or one of its aliases.
struct Place {
    name: FunctionName,
    alias: Option<String>,
}

impl Place {
    /// Finds it. Only what is there and can stand in a Host has one.
    fn find(gateway: &Gateway, name: &str, qualifier: Option<&str>) -> Result<Self, Fault> {
        let address = Address::read(name, qualifier)?;
        lookup::find(gateway, &address, 1.0)?;
        let alias = match address.qualifier {
            None => None,
            Some(Qualifier::Alias(alias)) if is_host_label(&alias) => Some(alias),
            Some(Qualifier::Alias(alias)) => {
                return Err(Fault::invalid(format!(
                    "the alias {alias} can't stand in the name of a host, which has 1 to 63 characters out of a-z, 0-9, - and _"
                )));
            }
            Some(Qualifier::Latest | Qualifier::Version(_)) => {
                return Err(Fault::invalid(
                    "a function URL belongs to a function or to an alias of it",
                ));
            }
        };
        Ok(Self {
            name: address.name,
            alias,
        })
    }

    fn key(&self) -> &str {
        self.alias.as_deref().unwrap_or_default()
    }

    fn arn(&self) -> String {
        let qualifier = self.alias.clone().map(Qualifier::Alias);
        let name = self.name.clone();
        Address { name, qualifier }.arn()
    }

    fn document(&self, gateway: &Gateway, config: &UrlConfig) -> Value {
        let port = gateway.about.listen.rsplit(':').next().unwrap_or_default();
        let dot = if self.alias.is_some() { "." } else { "" };
        let mut document = json!({
            "FunctionUrl": format!("http://{}{dot}{}.localhost:{port}/", self.key(), self.name),
            "FunctionArn": self.arn(),
            "AuthType": "NONE",
            "InvokeMode": config.invoke_mode,
            "CreationTime": time(config.created),
            "LastModifiedTime": time(config.changed),
        });
        if let Some(cors) = &config.cors {
            document["Cors"] = json!(CorsDocument::of(cors));
        }
        document
    }

    fn absent(&self) -> Fault {
        Fault::new(Kind::NotFound, format!("{} has no function URL config", self.arn()))
    }
}

/// Changes the config of a place: in the store, then in the table. `make` gets what is there.
async fn change(
    gateway: Arc<Gateway>,
    name: String,
    qualifier: Option<String>,
    make: impl FnOnce(Option<UrlConfig>, &Place) -> Result<Option<UrlConfig>, Fault> + Send + 'static,
) -> Result<Option<Value>, Fault> {
    whole(async move {
        let _turn = gateway.changes.turn(&gateway).await;
        let place = Place::find(&gateway, &name, qualifier.as_deref())?;
        let changing = gateway.clone();
        blocking(move || {
            let (store, live) = (&changing.store, &changing.live);
            let to = facet::change(store, &place.name, (Facet::Url, place.key()), |now| make(now, &place))?;
            live.set_urls(place.name.clone(), rules(store, &place.name)?);
            Ok(to.map(|config| place.document(&changing, &config)))
        })
        .await
    })
    .await
}

/// What the configs of a function decide. For a caller on the blocking pool.
pub(crate) fn rules(store: &::functions::Store, name: &FunctionName) -> Result<Rules, StoreError> {
    let configs: BTreeMap<String, UrlConfig> = store.facets(name, Facet::Url)?;
    let rules = configs.into_iter().map(|(alias, config)| {
        let rules = UrlRules {
            cors: config.cors,
            delivery: match config.invoke_mode {
                InvokeMode::Buffered => Delivery::Whole,
                InvokeMode::ResponseStream => Delivery::AsMade,
            },
        };
        (alias, Arc::new(rules))
    });
    Ok(rules.collect())
}

/// CreateFunctionUrlConfig.
pub(super) async fn create(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
    Parameters(Qualified { qualifier }): Parameters<Qualified>,
    signed: Signed,
) -> Result<Response, Fault> {
    let asked: Asked = signed.document()?;
    let document = change(gateway, name, qualifier, move |now, place| match now {
        Some(_) => Err(Fault::new(
            Kind::Conflict,
            format!("{} has a function URL config already", place.arn()),
        )),
        None => asked.over(None).map(Some),
    });
    let mut document = json!(document.await?);
    if let Some(fields) = document.as_object_mut() {
        // It was not changed yet.
        fields.remove("LastModifiedTime");
    }
    Ok((StatusCode::CREATED, Json(document)).into_response())
}

/// UpdateFunctionUrlConfig.
pub(super) async fn update(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
    Parameters(Qualified { qualifier }): Parameters<Qualified>,
    signed: Signed,
) -> Document {
    let asked: Asked = signed.document()?;
    let changed = change(gateway, name, qualifier, move |now, place| {
        let now = now.ok_or_else(|| place.absent())?;
        asked.over(Some(now)).map(Some)
    })
    .await?;
    Ok(Json(json!(changed)))
}

/// DeleteFunctionUrlConfig.
pub(super) async fn delete(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
    Parameters(Qualified { qualifier }): Parameters<Qualified>,
    _signed: Signed,
) -> Result<StatusCode, Fault> {
    let gone = |now: Option<UrlConfig>, place: &Place| now.map(|_| None).ok_or_else(|| place.absent());
    change(gateway, name, qualifier, gone).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// GetFunctionUrlConfig.
pub(super) async fn get(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
    Parameters(Qualified { qualifier }): Parameters<Qualified>,
    _signed: Signed,
) -> Document {
    let place = Place::find(&gateway, &name, qualifier.as_deref())?;
    blocking(move || {
        let config: Option<UrlConfig> = gateway.store.facet(&place.name, Facet::Url, place.key())?;
        let config = config.ok_or_else(|| place.absent())?;
        Ok(Json(place.document(&gateway, &config)))
    })
    .await
}

/// ListFunctionUrlConfigs.
pub(super) async fn list(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
    Parameters(page): Parameters<Page>,
    _signed: Signed,
) -> Document {
    let name = super::versions::function(&gateway, &name)?;
    blocking(move || {
        let configs: BTreeMap<String, UrlConfig> = gateway.store.facets(&name, Facet::Url)?;
        let all: Vec<(Place, UrlConfig)> = configs
            .into_iter()
            .map(|(key, config)| {
                let alias = Some(key).filter(|key| !key.is_empty());
                let name = name.clone();
                (Place { name, alias }, config)
            })
            .collect();
        let (shown, next) = pages::cut(all, &page, |(place, _)| place.arn())?;
        let shown = shown
            .iter()
            .map(|(place, config)| place.document(&gateway, config))
            .collect();
        Ok(Json(pages::document("FunctionUrlConfigs", shown, next)))
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
    fn a_config_is_changed_where_a_client_says_so() {
        let cors = json!({ "AllowOrigins": ["https://a.example"], "AllowCredentials": true, "MaxAge": 60 });
        let first = asked(json!({ "AuthType": "NONE", "Cors": cors })).over(None).unwrap();
        assert_eq!(first.invoke_mode, InvokeMode::Buffered);
        assert_eq!(json!(CorsDocument::of(first.cors.as_ref().unwrap())), cors);
        let mode = asked(json!({ "InvokeMode": "RESPONSE_STREAM" }))
            .over(Some(first.clone()))
            .unwrap();
        assert_eq!(
            (mode.invoke_mode, &mode.cors),
            (InvokeMode::ResponseStream, &first.cors)
        );
        assert_eq!(mode.created, first.created);
        let without = asked(json!({ "Cors": {} })).over(Some(mode)).unwrap();
        assert_eq!((without.invoke_mode, without.cors), (InvokeMode::ResponseStream, None));
    }

    #[test]
    fn what_can_not_be_is_refused_with_the_reason() {
        for (document, reason) in [
            (json!({}), "AuthType is missing"),
            (json!({ "AuthType": "AWS_IAM" }), "use NONE"),
            (json!({ "AuthType": "none" }), "neither"),
            (json!({ "AuthType": "NONE", "InvokeMode": "STREAM" }), "InvokeMode"),
            (
                json!({ "AuthType": "NONE", "Cors": { "MaxAge": 90_000, "AllowOrigins": ["*"] } }),
                "max_age",
            ),
            (
                json!({ "AuthType": "NONE", "Cors": { "AllowMethods": ["GET"] } }),
                "allow_origins is empty",
            ),
        ] {
            let fault = asked(document).over(None).unwrap_err();
            assert_eq!(fault.kind(), Kind::InvalidParameter);
            assert!(fault.message().contains(reason), "{}", fault.message());
        }
    }
}
