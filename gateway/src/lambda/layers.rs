//! PublishLayerVersion, GetLayerVersion, GetLayerVersionByArn, ListLayers, ListLayerVersions, DeleteLayerVersion; and which layers a function
//! names.

use std::sync::Arc;

use ::functions::layers::{LayerLabels, LayerName, LayerVersion, MOST_LAYERS};
use ::functions::one_line;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::address::{ACCOUNT, REGION};
use super::code::{self, Code};
use super::configuration;
use super::fault::{Fault, Kind};
use super::functions::{Document, blocking};
use super::layered::Layers;
use super::pages::{self, Page};
use super::promise::Promise;
use super::query::Parameters;
use super::signed::Signed;
use crate::gateway::Gateway;

/// How an ARN of a layer goes on after the region and the account.
const RESOURCE: &str = "layer";

/// The routes of layers.
pub(super) fn routes() -> Router<Arc<Gateway>> {
    Router::new()
        .route("/2018-10-31/layers", get(list))
        .route("/2018-10-31/layers/", get(list))
        .route("/2018-10-31/layers/{name}/versions", get(list_versions).post(publish))
        .route(
            "/2018-10-31/layers/{name}/versions/{number}",
            get(get_version).delete(delete_version),
        )
}

/// Layers that a function names.
pub(super) struct Named {
    /// Their files, which stay as long as this.
    pub(super) bundles: Vec<Promise>,
    /// Bytes of their zips.
    pub(super) sizes: Vec<u64>,
}

/// Reads the ARNs of the layers of one function.
fn read_all(arns: &[String]) -> Result<Vec<(LayerName, u64)>, Fault> {
    // Before any of them is unpacked, which may be half a gigabyte each.
    if arns.len() > MOST_LAYERS {
        return Err(Fault::invalid(format!(
            "Layers has {}, at most {MOST_LAYERS} are allowed",
            arns.len()
        )));
    }
    let wanted: Vec<(LayerName, u64)> = arns.iter().map(|arn| read_version(arn)).collect::<Result<_, _>>()?;
    for (at, (name, _)) in wanted.iter().enumerate() {
        if wanted[..at].iter().any(|(before, _)| before == name) {
            return Err(Fault::invalid(format!(
                "Two versions of the layer {name} can't be used together"
            )));
        }
    }
    Ok(wanted)
}

/// Finds the layers of these ARNs.
pub(super) async fn named(gateway: &Arc<Gateway>, arns: &[String]) -> Result<Named, Fault> {
    let (wanted, store) = (read_all(arns)?, gateway.store.clone());
    blocking(move || {
        let (mut bundles, mut sizes) = (Vec::new(), Vec::new());
        for (name, number) in wanted {
            let found = store.layer_version(&name, number)?;
            // One that goes between the two is not there either.
            let promised = found.and_then(|version| Some((Promise::of(&store, version.bundle)?, version)));
            let (bundle, version) = promised.ok_or_else(|| {
                Fault::invalid(format!("Layer version {} does not exist.", version_arn(&name, number)))
            })?;
            bundles.push(bundle);
            sizes.push(version.labels.code_size);
        }
        Ok(Named { bundles, sizes })
    })
    .await
}

/// What an update gets whose function another one changed in the meantime.
pub(super) fn changed_meanwhile() -> Fault {
    Fault::new(
        Kind::Conflict,
        "The operation cannot be performed at this time. The function was updated meanwhile",
    )
}

fn arn(name: &LayerName) -> String {
    format!("arn:aws:lambda:{REGION}:{ACCOUNT}:{RESOURCE}:{name}")
}

fn version_arn(name: &LayerName, number: u64) -> String {
    format!("{}:{number}", arn(name))
}

/// The parts of an ARN of a layer behind `layer:`. Region and account are not compared, as with functions.
fn parts(arn: &str) -> Option<&str> {
    let mut parts = arn.splitn(7, ':');
    let fixed = [parts.next()?, parts.next()?, parts.next()?];
    let (_region, _account, resource) = (parts.next()?, parts.next()?, parts.next()?);
    (fixed[0] == "arn" && fixed[1].starts_with("aws") && fixed[2] == "lambda" && resource == RESOURCE)
        .then(|| parts.next())
        .flatten()
}

/// The layer that a name or an ARN without a number means.
fn read_name(text: &str) -> Result<LayerName, Fault> {
    let name = parts(text).unwrap_or(text);
    name.parse()
        .map_err(|error| Fault::invalid(format!("{:?}: {error}", one_line(text, 200))))
}

/// The number of a version in a path.
fn read_number(text: &str) -> Result<u64, Fault> {
    text.parse()
        .map_err(|_| Fault::invalid(format!("{:?} is not the number of a version", one_line(text, 40))))
}

/// The version that an ARN means.
fn read_version(arn: &str) -> Result<(LayerName, u64), Fault> {
    let read = parts(arn).and_then(|rest| {
        let (name, number) = rest.split_once(':')?;
        Some((name.parse().ok()?, number.parse().ok()?))
    });
    read.ok_or_else(|| {
        Fault::invalid(format!(
            "{:?} is not the ARN of a version of a layer, such as {}:NAME:1",
            one_line(arn, 200),
            format_args!("arn:aws:lambda:{REGION}:{ACCOUNT}:{RESOURCE}")
        ))
    })
}

fn absent(name: &LayerName, number: u64) -> Fault {
    let text = format!(
        "The resource you requested does not exist: {}",
        version_arn(name, number)
    );
    Fault::new(Kind::NotFound, text)
}

/// What clients read of a version in a list.
fn listed(version: &LayerVersion) -> Value {
    let LayerLabels {
        description,
        license,
        runtimes,
        architectures,
        ..
    } = &version.labels;
    let mut document = json!({
        "LayerVersionArn": version_arn(&version.name, version.number),
        "Version": version.number,
        "Description": description,
        "CreatedDate": configuration::time(version.created),
        "CompatibleRuntimes": runtimes,
        "CompatibleArchitectures": architectures,
    });
    if !license.is_empty() {
        document["LicenseInfo"] = json!(license);
    }
    document
}

/// What clients read of a version by itself. The zip is not kept, so there is no place to get it from.
fn document(version: &LayerVersion) -> Value {
    let mut document = listed(version);
    document["LayerArn"] = json!(arn(&version.name));
    document["Content"] = json!({
        "CodeSha256": version.labels.code_sha256,
        "CodeSize": version.labels.code_size,
    });
    document
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Publish {
    content: Code,
    #[serde(default)]
    description: String,
    #[serde(default)]
    license_info: String,
    #[serde(default)]
    compatible_runtimes: Vec<String>,
    #[serde(default)]
    compatible_architectures: Vec<String>,
}

impl Publish {
    /// The bounds of Lambda's model.
    fn check(&self) -> Result<(), Fault> {
        for (what, is, most) in [
            ("Description", self.description.chars().count(), 256),
            ("LicenseInfo", self.license_info.chars().count(), 512),
            ("CompatibleRuntimes", self.compatible_runtimes.len(), 15),
            ("CompatibleArchitectures", self.compatible_architectures.len(), 2),
        ] {
            if is > most {
                return Err(Fault::invalid(format!("{what} has {is}, at most {most} are allowed")));
            }
        }
        Ok(())
    }
}

/// PublishLayerVersion.
async fn publish(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
    signed: Signed,
) -> Result<Response, Fault> {
    let asked: Publish = signed.document()?;
    let name = read_name(&name)?;
    asked.check()?;
    let zip = asked.content.zip()?;
    let store = gateway.store.clone();
    // Its two steps are not interrupted by a client that leaves: both are on one thread.
    let version = blocking(move || {
        let stored = code::store(&store, &zip, &Layers::These(Vec::new()))?;
        let labels = LayerLabels {
            description: asked.description,
            license: asked.license_info,
            runtimes: asked.compatible_runtimes,
            architectures: asked.compatible_architectures,
            code_sha256: stored.sha256,
            code_size: stored.size,
        };
        let version = store.publish_layer(&name, stored.bundle.bundle(), &labels)?;
        stored.bundle.taken_up();
        Ok(version)
    })
    .await?;
    Ok((StatusCode::CREATED, Json(document(&version))).into_response())
}

/// GetLayerVersion.
async fn get_version(
    State(gateway): State<Arc<Gateway>>,
    Path((name, number)): Path<(String, String)>,
    _signed: Signed,
) -> Document {
    let (name, number) = (read_name(&name)?, read_number(&number)?);
    version(gateway, name, number).await
}

async fn version(gateway: Arc<Gateway>, name: LayerName, number: u64) -> Document {
    let store = gateway.store.clone();
    blocking(move || {
        let found = store.layer_version(&name, number)?;
        found
            .map(|version| Json(document(&version)))
            .ok_or_else(|| absent(&name, number))
    })
    .await
}

/// DeleteLayerVersion. One that is not there is no error. Functions that use it have its files in their own code.
async fn delete_version(
    State(gateway): State<Arc<Gateway>>,
    Path((name, number)): Path<(String, String)>,
    _signed: Signed,
) -> Result<StatusCode, Fault> {
    let (name, number, store) = (read_name(&name)?, read_number(&number)?, gateway.store.clone());
    blocking(move || Ok(store.remove_layer_version(&name, number)?)).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Filter {
    compatible_runtime: Option<String>,
    compatible_architecture: Option<String>,
    /// GetLayerVersionByArn is the same path with this word and an ARN.
    #[serde(rename = "find")]
    find: Option<String>,
    arn: Option<String>,
}

impl Filter {
    fn lets_through(&self, version: &LayerVersion) -> bool {
        let among = |wanted: &Option<String>, all: &[String]| wanted.as_ref().is_none_or(|wanted| all.contains(wanted));
        among(&self.compatible_runtime, &version.labels.runtimes)
            && among(&self.compatible_architecture, &version.labels.architectures)
    }
}

/// ListLayers, and GetLayerVersionByArn.
async fn list(
    State(gateway): State<Arc<Gateway>>,
    Parameters(page): Parameters<Page>,
    Parameters(filter): Parameters<Filter>,
    _signed: Signed,
) -> Document {
    if filter.find.as_deref() == Some("LayerVersion") {
        let (name, number) = read_version(filter.arn.as_deref().unwrap_or_default())?;
        return version(gateway, name, number).await;
    }
    blocking(move || {
        let mut latest: Vec<LayerVersion> = Vec::new();
        for version in gateway.store.all_layer_versions()? {
            if !filter.lets_through(&version) {
                continue;
            }
            // They come by name and number.
            if latest.last().is_some_and(|last| last.name == version.name) {
                latest.pop();
            }
            latest.push(version);
        }
        let (shown, next) = pages::cut(latest, &page, |version| version.name.to_string())?;
        let shown = shown.iter().map(|version| {
            json!({
                "LayerName": version.name.as_str(),
                "LayerArn": arn(&version.name),
                "LatestMatchingVersion": listed(version),
            })
        });
        Ok(Json(pages::document("Layers", shown.collect(), next)))
    })
    .await
}

/// ListLayerVersions, the newest first.
async fn list_versions(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
    Parameters(page): Parameters<Page>,
    Parameters(filter): Parameters<Filter>,
    _signed: Signed,
) -> Document {
    let name = read_name(&name)?;
    blocking(move || {
        let mut versions = gateway.store.layer_versions(&name)?;
        versions.retain(|version| filter.lets_through(version));
        versions.reverse();
        // Keys that rise as the numbers fall.
        let key = |version: &LayerVersion| format!("{:020}", u64::MAX - version.number);
        let (shown, next) = pages::cut(versions, &page, key)?;
        let shown = shown.iter().map(listed).collect();
        Ok(Json(pages::document("LayerVersions", shown, next)))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns_and_names_are_read_and_nothing_else_is() {
        let name: LayerName = "my-layer".parse().unwrap();
        assert_eq!(read_version(&version_arn(&name, 7)).unwrap(), (name.clone(), 7));
        let elsewhere = "arn:aws-cn:lambda:eu-west-1:123456789012:layer:my-layer:7";
        assert_eq!(read_version(elsewhere).unwrap(), (name.clone(), 7));
        for text in ["my-layer", &arn(&name)] {
            assert_eq!(read_name(text).unwrap(), name);
        }
        for bad in [
            "",
            "my-layer:7",
            "arn:aws:lambda:us-east-1:1:layer:my-layer",
            "arn:aws:lambda:us-east-1:1:layer:my-layer:x",
            "arn:aws:lambda:us-east-1:1:layer:../x:1",
            "arn:aws:lambda:us-east-1:1:function:my-layer:1",
        ] {
            let said = read_version(bad).unwrap_err();
            assert!(
                said.message().contains("is not the ARN of a version"),
                "{}",
                said.message()
            );
        }
        let arns = |count: u64| -> Vec<String> {
            (0..count)
                .map(|at| version_arn(&format!("layer-{at}").parse().unwrap(), 1))
                .collect()
        };
        assert_eq!(read_all(&arns(5)).unwrap().len(), 5);
        assert!(read_all(&arns(6)).unwrap_err().message().contains("at most 5"));
        let twice = [version_arn(&name, 1), version_arn(&name, 2)];
        assert!(
            read_all(&twice)
                .unwrap_err()
                .message()
                .contains("can't be used together")
        );
        assert!(read_name("a/b").is_err());
        assert_eq!(read_number("7").unwrap(), 7);
        for bad in ["", "x", "-1", "1.0"] {
            assert_eq!(read_number(bad).unwrap_err().kind(), Kind::InvalidParameter);
        }
    }
}
