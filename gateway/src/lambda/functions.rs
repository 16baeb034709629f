//! CreateFunction, GetFunction, ListFunctions, UpdateFunctionCode, UpdateFunctionConfiguration, DeleteFunction.
//!
//! A function that was created is active when the call returns, and an update is done: there is nothing to wait for, so the waiters of the SDKs end at
//! their first look.

use std::sync::Arc;

use ::functions::published::{Facet, Labels, revision_id};
use ::functions::store::StoreError;
use ::functions::{Digest, FunctionName, Revision};
use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::address::{Address, Qualifier};
use super::code::{self, Code, Stored};
use super::configuration::{self, Change};
use super::fault::{Fault, Kind};
use super::layered::{self, Layers};
use super::layers;
use super::lookup;
use super::pages::{self, Page};
use super::promise::Promise;
use super::query::Parameters;
use super::signed::Signed;
use super::tags;
use crate::changes::{ChangeError, whole};
use crate::gateway::Gateway;

/// A document of this API.
pub(super) type Document = Result<Json<Value>, Fault>;

/// What stands in the query of a call about one function.
#[derive(Debug, Deserialize)]
pub(super) struct Qualified {
    #[serde(rename = "Qualifier")]
    pub(super) qualifier: Option<String>,
}

impl From<ChangeError> for Fault {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Store(error) => error.into(),
            ChangeError::Panicked(_) => Self::internal(&error),
        }
    }
}

/// Runs something that reads files or the database on the blocking pool.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(Fault::internal(&error)),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Create {
    function_name: String,
    #[serde(default)]
    code: Code,
    #[serde(default)]
    publish: bool,
    #[serde(default)]
    tags: tags::Tags,
    #[serde(default)]
    architectures: Vec<String>,
    package_type: Option<String>,
    #[serde(flatten)]
    change: Change,
}

/// CreateFunction.
pub(super) async fn create(State(gateway): State<Arc<Gateway>>, signed: Signed) -> Result<Response, Fault> {
    let asked: Create = signed.document()?;
    let address = Address::read(&asked.function_name, None)?;
    if address.qualifier.is_some() {
        return Err(Fault::invalid("a function is created without a qualifier"));
    }
    if asked.package_type.as_deref().is_some_and(|package| package != "Zip") {
        return Err(Fault::invalid(
            "PackageType Image is not supported by this server yet; use Zip",
        ));
    }
    architectures(&asked.architectures)?;
    tags::check(&asked.tags)?;
    let name = address.name;
    let exists = |name: &FunctionName| Fault::new(Kind::Conflict, format!("Function already exist: {name}"));
    if gateway.live.get(&name).is_some() {
        return Err(exists(&name));
    }
    let (settings, labels) = asked.change.apply(&name, None, &gateway.runtimes)?;
    let layers = layers::named(&gateway, asked.change.layers.as_deref().unwrap_or_default()).await?;
    let Stored { bundle, sha256, size } = stored(&gateway, &asked.code, Layers::These(layers.bundles)).await?;
    let labels = Labels {
        layer_sizes: layers.sizes,
        code_sha256: sha256,
        code_size: size,
        ..labels
    };
    let document = whole(async move {
        let turn = gateway.changes.turn(&gateway).await;
        // Two may have come this far with one name.
        if gateway.live.get(&name).is_some() {
            return Err(exists(&name));
        }
        let revision = turn
            .deploy(name.clone(), bundle.bundle(), settings, Some(labels.clone()))
            .await?;
        bundle.taken_up();
        if !asked.tags.is_empty() {
            let (store, name) = (gateway.store.clone(), name.clone());
            let tags = json!(asked.tags);
            blocking(move || Ok(store.set_facet(&name, Facet::Tags, "", Some(&tags))?)).await?;
        }
        published(&gateway, &turn, &revision, &labels, asked.publish).await
    })
    .await?;
    Ok((StatusCode::CREATED, Json(document)).into_response())
}

/// The document of a revision that was just made, as a version when that was wanted.
async fn published(
    gateway: &Arc<Gateway>,
    turn: &crate::changes::Turn<'_>,
    revision: &Arc<Revision>,
    labels: &Labels,
    publish: bool,
) -> Result<Value, Fault> {
    if !publish {
        return Ok(configuration::document(revision, labels, None, None));
    }
    let (store, name) = (gateway.store.clone(), revision.name.clone());
    let version = blocking(move || Ok(store.publish(&name, "")?)).await?;
    turn.republish(&revision.name).await?;
    Ok(configuration::document(
        &version.revision,
        labels,
        Some(version.number),
        None,
    ))
}

fn architectures(asked: &[String]) -> Result<(), Fault> {
    let own = configuration::architecture();
    match asked.iter().find(|asked| *asked != own) {
        Some(other) => Err(Fault::invalid(format!(
            "the architecture {} is not the one of this host, which is {own}",
            ::functions::one_line(other, 100)
        ))),
        None => Ok(()),
    }
}

/// Keeps a bundle that is there; `None` when it is gone.
async fn promised(gateway: &Arc<Gateway>, bundle: Digest) -> Result<Option<Promise>, Fault> {
    let store = gateway.store.clone();
    blocking(move || Ok(Promise::of(&store, bundle))).await
}

async fn stored(gateway: &Arc<Gateway>, code: &Code, layers: Layers) -> Result<Stored, Fault> {
    let (zip, store) = (code.zip()?, gateway.store.clone());
    blocking(move || code::store(&store, &zip, &layers)).await
}

/// The live revision of a function whose change was asked for, which takes no qualifier.
fn unqualified(gateway: &Gateway, name: &str, revision: Option<&str>) -> Result<Arc<Revision>, Fault> {
    let address = Address::read(name, None)?;
    if !matches!(address.qualifier, None | Some(Qualifier::Latest)) {
        return Err(Fault::invalid("only the unpublished function, $LATEST, can be changed"));
    }
    let live = lookup::find(gateway, &address, 1.0)?.revision;
    if revision.is_some_and(|wanted| wanted != revision_id(live.number)) {
        let text = "The RevisionId provided does not match the latest RevisionId. Call GetFunction to retrieve the latest RevisionId";
        return Err(Fault::new(Kind::Precondition, text));
    }
    Ok(live)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UpdateCode {
    #[serde(flatten)]
    code: Code,
    #[serde(default)]
    publish: bool,
    #[serde(default)]
    dry_run: bool,
    revision_id: Option<String>,
    #[serde(default)]
    architectures: Vec<String>,
}

/// UpdateFunctionCode.
pub(super) async fn update_code(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
    signed: Signed,
) -> Document {
    let asked: UpdateCode = signed.document()?;
    architectures(&asked.architectures)?;
    let seen = unqualified(&gateway, &name, asked.revision_id.as_deref())?;
    let layers = match promised(&gateway, seen.bundle).await? {
        Some(bundle) => Layers::Of(bundle),
        // New code mends a function whose bundle was lost.
        None if seen.settings.layers.is_empty() => Layers::These(Vec::new()),
        None => return Err(layers::changed_meanwhile()),
    };
    let Stored { bundle, sha256, size } = stored(&gateway, &asked.code, layers).await?;
    change(
        gateway,
        name,
        asked.revision_id,
        asked.publish,
        asked.dry_run,
        move |live, labels, _| {
            // What was packed has the layers of that time.
            if live.settings.layers != seen.settings.layers {
                return Err(layers::changed_meanwhile());
            }
            let labels = Labels {
                code_sha256: sha256,
                code_size: size,
                ..labels
            };
            Ok((Some(bundle), live.settings.clone(), labels))
        },
    )
    .await
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UpdateConfiguration {
    revision_id: Option<String>,
    #[serde(flatten)]
    change: Change,
}

/// UpdateFunctionConfiguration.
pub(super) async fn update_configuration(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
    signed: Signed,
) -> Document {
    let asked: UpdateConfiguration = signed.document()?;
    let layered = match &asked.change.layers {
        Some(arns) => {
            let seen = unqualified(&gateway, &name, asked.revision_id.as_deref())?;
            let layers = layers::named(&gateway, arns).await?;
            let code = promised(&gateway, seen.bundle)
                .await?
                .ok_or_else(layers::changed_meanwhile)?;
            let (store, these) = (gateway.store.clone(), Layers::These(layers.bundles));
            let bundle = blocking(move || layered::assemble(&store, &layered::Code::Of(code), &these)).await?;
            Some((seen.number, bundle, layers.sizes))
        }
        None => None,
    };
    change(
        gateway,
        name,
        asked.revision_id,
        false,
        false,
        move |live, labels, gateway| {
            let now = Some((&live.settings, labels));
            let (settings, labels) = asked.change.apply(&live.name, now, &gateway.runtimes)?;
            match layered {
                None => Ok((None, settings, labels)),
                Some((seen, ..)) if seen != live.number => Err(layers::changed_meanwhile()),
                Some((_, bundle, layer_sizes)) => Ok((Some(bundle), settings, Labels { layer_sizes, ..labels })),
            }
        },
    )
    .await
}

/// Makes a new revision out of the live one. `make` says of which bundle, `None` for the one that it has.
async fn change(
    gateway: Arc<Gateway>,
    name: String,
    wanted: Option<String>,
    publish: bool,
    dry: bool,
    make: impl FnOnce(&Revision, Labels, &Gateway) -> Result<(Option<Promise>, ::functions::Settings, Labels), Fault>
    + Send
    + 'static,
) -> Document {
    let document = whole(async move {
        let turn = gateway.changes.turn(&gateway).await;
        let live = unqualified(&gateway, &name, wanted.as_deref())?;
        let labels = {
            let (gateway, live) = (gateway.clone(), live.clone());
            blocking(move || lookup::labels(&gateway, &live)).await?
        };
        let (bundle, settings, labels) = make(&live, labels, &gateway)?;
        if dry {
            let draft = Revision {
                bundle: bundle.map_or(live.bundle, |bundle| bundle.bundle()),
                settings,
                ..(*live).clone()
            };
            return Ok(configuration::document(&draft, &labels, None, None));
        }
        let bundle = match bundle {
            Some(bundle) => bundle,
            None => promised(&gateway, live.bundle)
                .await?
                .ok_or(StoreError::NoBundle { digest: live.bundle })?,
        };
        let revision = turn
            .deploy(live.name.clone(), bundle.bundle(), settings, Some(labels.clone()))
            .await?;
        bundle.taken_up();
        published(&gateway, &turn, &revision, &labels, publish).await
    });
    document.await.map(Json)
}

/// GetFunction.
pub(super) async fn get(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
    Parameters(Qualified { qualifier }): Parameters<Qualified>,
    _signed: Signed,
) -> Document {
    let address = Address::read(&name, qualifier.as_deref())?;
    blocking(move || {
        let found = lookup::find(&gateway, &address, 1.0)?;
        let mut document = json!({ "Configuration": found.document(&gateway)?, "Code": {} });
        if let Some(reserved) = gateway.live.reserved(&address.name) {
            document["Concurrency"] = json!({ "ReservedConcurrentExecutions": reserved.most() });
        }
        let tags: Option<tags::Tags> = gateway.store.facet(&address.name, Facet::Tags, "")?;
        if let Some(tags) = tags.filter(|tags| !tags.is_empty()) {
            document["Tags"] = json!(tags);
        }
        Ok(Json(document))
    })
    .await
}

/// GetFunctionConfiguration.
pub(super) async fn get_configuration(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
    Parameters(Qualified { qualifier }): Parameters<Qualified>,
    _signed: Signed,
) -> Document {
    let address = Address::read(&name, qualifier.as_deref())?;
    blocking(move || lookup::find(&gateway, &address, 1.0)?.document(&gateway).map(Json)).await
}

/// ListFunctions.
pub(super) async fn list(
    State(gateway): State<Arc<Gateway>>,
    Parameters(page): Parameters<Page>,
    _signed: Signed,
) -> Document {
    blocking(move || {
        let mut live = gateway.live.all();
        live.sort_by(|a, b| a.name.cmp(&b.name));
        let (shown, next) = pages::cut(live, &page, |revision| revision.name.to_string())?;
        let shown = shown.iter().map(|revision| {
            let labels = lookup::labels(&gateway, revision)?;
            Ok(configuration::document(revision, &labels, None, None))
        });
        let shown: Vec<Value> = shown.collect::<Result<_, Fault>>()?;
        Ok(Json(pages::document("Functions", shown, next)))
    })
    .await
}

/// DeleteFunction: the function, or with a number one of its versions.
pub(super) async fn delete(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
    Parameters(Qualified { qualifier }): Parameters<Qualified>,
    _signed: Signed,
) -> Result<StatusCode, Fault> {
    let address = Address::read(&name, qualifier.as_deref())?;
    whole(async move {
        let turn = gateway.changes.turn(&gateway).await;
        if gateway.live.get(&address.name).is_none() {
            return Err(Fault::no_function(&address.arn()));
        }
        match address.qualifier {
            None => turn.remove(&address.name).await?,
            Some(Qualifier::Version(version)) => {
                let (store, name) = (gateway.store.clone(), address.name.clone());
                blocking(move || Ok(store.unpublish(&name, version)?)).await?;
                turn.republish(&address.name).await?;
            }
            Some(Qualifier::Latest | Qualifier::Alias(_)) => {
                return Err(Fault::invalid(
                    "$LATEST and aliases can't be deleted so; leave the qualifier out to delete the function",
                ));
            }
        }
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}
