//! `PUT /v1/functions/NAME`: a bundle and what was typed about it become the live revision.
//!
//! ```text
//! read --> detect, resolve --> launchable here? --> build --> check --> store (one transaction) --> table --> pool
//! '------------- a failure here changes nothing ------------------'   '---- in one task, in one order ----'
//! ```

use std::io::Seek;
use std::sync::Arc;

use ::functions::bundle::{LAYERS_DIR, Limits};
use ::functions::runtimes::{self, launch};
use ::functions::store::StoreError;
use ::functions::{Digest, FunctionName, Manifest, Revision, RevisionNumber, Settings};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use warm_pool::{BuildError, CheckError, CheckReport, restrictions};

use super::super::Problem;
use super::super::bundles::refused;
use super::super::problem::ErrorDocument;
use super::{blocking, named};
use crate::bodies::Charge;
use crate::changes::whole;
use crate::exchange::chain;
use crate::gateway::Gateway;
use crate::limits;
use crate::outcome::Code;

/// Most bytes of the document that asks for a deploy.
const MOST_REQUEST: u64 = 1024 * 1024;

/// What to do about a section `[security]` that is refused.
const TAKEN_AWAY: &str =
    "docs/seccomp.md lists what security.deny takes, docs/fn-toml.md says what security.read_only does.";

/// What is to be deployed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeployRequest {
    /// The digest of a bundle that the store has.
    #[schema(value_type = String)]
    bundle: Digest,
    /// What was typed: any keys of fn.toml. Everything else is detected or has its default.
    #[serde(default)]
    #[schema(value_type = Object)]
    manifest: Value,
    /// Load the handler in a sandbox first, and deploy only if that works. Default true.
    #[serde(default = "yes")]
    check: bool,
}

fn yes() -> bool {
    true
}

/// What was deployed.
#[derive(Serialize, ToSchema)]
pub(crate) struct Deployed {
    /// The function.
    #[schema(value_type = String)]
    name: FunctionName,
    /// The number of the revision, which is live now.
    revision: u64,
    /// Where it is called.
    url: String,
    /// What the check found: `{runtime, sandbox_ms, init_ms, output}`; null when it was not wanted.
    #[schema(value_type = Option<Object>)]
    check: Option<CheckReport>,
}

/// Makes a bundle the live revision of a function. Calls that run on the old revision end there.
#[utoipa::path(
    put, path = "/v1/functions/{name}", tag = "functions",
    params(("name" = String, Path, description = "The function")),
    request_body = DeployRequest,
    responses(
        (status = 200, body = Deployed),
        (status = 400, description = "The document can't be read, or the name can't be a function's", body = ErrorDocument),
        (status = 404, description = "The store has no such bundle (`no_bundle`)", body = ErrorDocument),
        (status = 422, description = "The settings are refused, nothing runnable is in the bundle, the host lacks the runtime, \
            the build failed (`build_failed`, with its output in `details`), or the check failed (`check_failed`, with the \
            traceback in `details`)", body = ErrorDocument),
    ),
)]
pub(crate) async fn deploy(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
    body: Body,
) -> Result<Json<Deployed>, Problem> {
    let name = named(&name)?;
    let DeployRequest {
        bundle,
        manifest,
        check,
    } = read(body, &mut gateway.bodies.charge()).await?;
    let draft = {
        let (gateway, name) = (gateway.clone(), name.clone());
        blocking(move || draft(&gateway, &name, bundle, manifest)).await??
    };
    restrictions(&draft.settings.security)
        .map_err(|error| unprocessable("manifest_invalid", chain(&error)).hint(TAKEN_AWAY))?;
    launch(&draft, &gateway.runtimes)
        .map_err(|error| unprocessable("runtime_missing", chain(&error)).hint(error.hint()))?;
    let draft = built(&gateway, draft).await?;
    let check = match check {
        true => Some(gateway.pool.check(&draft).await.map_err(|error| failed(&error))?),
        false => None,
    };
    let number = whole({
        let (gateway, name) = (gateway.clone(), name.clone());
        async move { commit(&gateway, name, draft.bundle, draft.settings).await }
    })
    .await?;
    Ok(Json(Deployed {
        revision: number.get(),
        url: gateway.url(&name),
        name,
        check,
    }))
}

async fn read(body: Body, charge: &mut Charge) -> Result<DeployRequest, Problem> {
    let bytes = limits::collect(body, MOST_REQUEST, charge)
        .await
        .map_err(|error| Problem::of(Code::BadRequest, chain(&error)))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Problem::of(Code::BadRequest, format!("the document can't be read: {error}")))
}

/// The revision that this deploy will make, with every setting decided by what was typed and what the bundle holds.
fn draft(gateway: &Gateway, name: &FunctionName, bundle: Digest, manifest: Value) -> Result<Revision, Problem> {
    // Not `has_bundle`, which promises the bundle to one more deploy than there will be.
    let layer = gateway.store.layer(&bundle);
    if !layer.is_dir() {
        return Err(refused(&StoreError::NoBundle { digest: bundle }));
    }
    let manifest: Manifest = match manifest {
        Value::Null => Manifest::default(),
        typed => serde_json::from_value(typed).map_err(|error| unprocessable("manifest_invalid", error.to_string()))?,
    };
    let detected = manifest
        .detect(&layer)
        .map_err(|error| unprocessable("nothing_to_run", chain(&error)).hint(error.hint()))?;
    let settings = manifest
        .resolve(name, &detected)
        .map_err(|error| unprocessable("manifest_invalid", chain(&error)).hint(error.hint()))?;
    if !settings.layers.is_empty() && !layer.join(LAYERS_DIR).is_dir() {
        let text = format!("the settings name layers, but the bundle has no {LAYERS_DIR}");
        return Err(
            unprocessable("layers_missing", text).hint("`fn deploy` packs layers into the bundle; deploy with it.")
        );
    }
    gateway
        .store
        .draft(name, bundle, settings)
        .map_err(|error| refused(&error))
}

/// Runs the scripts of dependencies where that is allowed: the draft then has the bundle that came of it.
async fn built(gateway: &Arc<Gateway>, draft: Revision) -> Result<Revision, Problem> {
    let Some(build) = runtimes::build(&draft, &gateway.store.layer(&draft.bundle)) else {
        return Ok(draft);
    };
    let scratch = tempfile::tempfile_in(gateway.store.scratch_dir()).map_err(|error| cannot_keep(&error))?;
    let mut archive = tokio::fs::File::from_std(scratch.try_clone().map_err(|error| cannot_keep(&error))?);
    let limit = Limits::default().archive_bytes();
    let outcome = gateway.pool.build(&build, limit, &mut archive).await;
    outcome.map_err(|error| unbuilt(&error))?;
    let store = gateway.store.clone();
    let stored = blocking(move || -> Result<_, Problem> {
        let mut scratch = scratch;
        scratch.rewind().map_err(|error| cannot_keep(&error))?;
        store.add_bundle(scratch).map_err(|error| refused(&error))
    })
    .await??;
    Ok(Revision {
        bundle: stored.digest,
        ..draft
    })
}

fn cannot_keep(error: &std::io::Error) -> Problem {
    Problem::of(Code::Internal, format!("the built bundle can't be kept: {error}"))
}

fn unbuilt(error: &BuildError) -> Problem {
    unprocessable("build_failed", chain(error))
        .hint(
            "Nothing was deployed. The build ran in a sandbox without a network; what it needs must be in the bundle, or leave \
             build = \"allow-scripts\" out.",
        )
        .details(json!({ "output": error.output().join("\n") }))
}

/// Makes the revision durable, then live, then known to the pool. Never interrupted.
async fn commit(
    gateway: &Arc<Gateway>,
    name: FunctionName,
    bundle: Digest,
    settings: Settings,
) -> Result<RevisionNumber, Problem> {
    let turn = gateway.changes.turn(gateway).await;
    let revision = turn.deploy(name, bundle, settings, None).await?;
    Ok(revision.number)
}

fn unprocessable(code: &'static str, message: String) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, message)
}

fn failed(error: &CheckError) -> Problem {
    let problem = unprocessable("check_failed", chain(error))
        .hint("Nothing was deployed. Deploy without the check with --no-check.");
    let mut details = match error.exception() {
        Some(failure) => serde_json::to_value(failure).expect("strings always serialise"),
        None => json!({}),
    };
    details["output"] = json!(error.output.join("\n"));
    problem.details(details)
}
