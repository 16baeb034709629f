//! `/v1/functions`: deploy, list, show, evict, remove.

mod deploy;

use std::sync::Arc;

use ::functions::{Digest, FunctionName, Revision, Settings};
use axum::Json;
use axum::extract::{Path, Query, State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use warm_pool::{EvictScope, InstanceView, KeptView};

use super::Problem;
use super::problem::ErrorDocument;
use crate::changes::whole;
use crate::gateway::Gateway;
use crate::outcome::Code;

pub(super) use deploy::{__path_deploy, deploy};

/// All functions.
#[derive(Serialize, ToSchema)]
pub(super) struct Functions {
    /// Sorted by name.
    functions: Vec<Summary>,
}

/// One function in short.
#[derive(Serialize, ToSchema)]
pub(super) struct Summary {
    /// Its name.
    #[schema(value_type = String)]
    name: FunctionName,
    /// The number of its live revision.
    revision: u64,
    /// What runs it: python, node or stdio.
    runtime: &'static str,
    /// Live instances.
    instances: usize,
    /// When the live revision was deployed.
    #[schema(value_type = String, format = DateTime)]
    created: Timestamp,
    /// Where it is called.
    url: String,
}

/// One function.
#[derive(Serialize, ToSchema)]
pub(super) struct Function {
    /// Its name.
    #[schema(value_type = String)]
    name: FunctionName,
    /// Where it is called.
    url: String,
    /// The number of its live revision.
    live: u64,
    /// The numbers of all its revisions.
    revisions: Vec<u64>,
    /// The bundle of the live revision.
    #[schema(value_type = String)]
    bundle: Digest,
    /// When the live revision was deployed.
    #[schema(value_type = String, format = DateTime)]
    created: Timestamp,
    /// The settings of the live revision: every key of fn.toml with its value.
    #[schema(value_type = Object)]
    settings: Settings,
    /// How its instances are started: `name` is `fork`, from its template, or `exec`; `why` says why it is not forked.
    #[schema(value_type = Object)]
    class: warm_pool::StartClass,
    /// Revisions that keep a number of instances: provisioned concurrency of Lambda's API.
    #[schema(value_type = Vec<Object>)]
    kept: Vec<KeptView>,
    /// Its instances, the oldest first.
    #[schema(value_type = Vec<Object>)]
    instances: Vec<InstanceView>,
    /// Calls that wait, leases that are out, instances by state; null when nothing of it lives.
    #[schema(value_type = Option<Object>)]
    counts: Option<warm_pool::Counts>,
    /// Bytes of memory of the instances that wait for their first call; null where nothing counts it.
    ahead_memory_bytes: Option<u64>,
    /// The last start that failed, if it is still remembered.
    last_failure: Option<String>,
}

/// How many instances are gone.
#[derive(Serialize, ToSchema)]
pub(super) struct Evicted {
    /// Their number.
    evicted: usize,
}

/// A function is gone.
#[derive(Serialize, ToSchema)]
pub(super) struct Removed {
    /// Its name.
    #[schema(value_type = String)]
    removed: FunctionName,
}

/// Which instances.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Scope {
    /// Also what waits ahead and never ran an invocation. Default false.
    #[serde(default)]
    all: bool,
}

/// A name in a path.
pub(super) fn named(text: &str) -> Result<FunctionName, Problem> {
    text.parse::<FunctionName>()
        .map_err(|error| Problem::of(Code::InvalidFunctionName, error.to_string()).hint(error.hint()))
}

/// The live revision of a function that must exist.
pub(super) fn known(gateway: &Gateway, name: &FunctionName) -> Result<Arc<Revision>, Problem> {
    gateway.live.get(name).ok_or_else(|| {
        Problem::of(Code::FunctionNotFound, format!("there is no function {name}")).hint("See which there are: fn list")
    })
}

/// Runs something that reads files or the database on the blocking pool.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Problem::internal(&error))
}

/// All functions, sorted by name.
#[utoipa::path(get, path = "/v1/functions", tag = "functions", responses((status = 200, body = Functions)))]
pub(super) async fn list(State(gateway): State<Arc<Gateway>>) -> Result<Json<Functions>, Problem> {
    let functions = blocking(move || {
        let mut live = gateway.live.all();
        live.sort_by(|a, b| a.name.cmp(&b.name));
        let summary = |revision: Arc<Revision>| Summary {
            revision: revision.number.get(),
            runtime: revision.settings.runtime.as_str(),
            instances: gateway
                .pool
                .describe(&revision.name)
                .map_or(0, |view| view.instances.len()),
            created: revision.created,
            url: gateway.url(&revision.name),
            name: revision.name.clone(),
        };
        live.into_iter().map(summary).collect()
    });
    Ok(Json(Functions {
        functions: functions.await?,
    }))
}

/// One function: its revisions, settings and instances.
#[utoipa::path(
    get, path = "/v1/functions/{name}", tag = "functions",
    params(("name" = String, Path, description = "The function")),
    responses((status = 200, body = Function), (status = 404, description = "There is no such function", body = ErrorDocument)),
)]
pub(super) async fn show(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
) -> Result<Json<Function>, Problem> {
    let name = named(&name)?;
    let live = known(&gateway, &name)?;
    let shown = blocking(move || {
        let revisions = gateway
            .store
            .revisions(&name)
            .map_err(|error| super::bundles::refused(&error))?;
        let (kept, instances, counts, ahead_memory_bytes, last_failure) = match gateway.pool.describe(&name) {
            Some(view) => (
                view.kept,
                view.instances,
                Some(view.counts),
                view.ahead_memory_bytes,
                view.last_failure,
            ),
            None => (Vec::new(), Vec::new(), None, Some(0), None),
        };
        Ok(Function {
            url: gateway.url(&name),
            live: live.number.get(),
            revisions: revisions.iter().map(|revision| revision.number.get()).collect(),
            bundle: live.bundle,
            created: live.created,
            settings: live.settings.clone(),
            class: gateway.pool.class(&live),
            kept,
            instances,
            counts,
            ahead_memory_bytes,
            last_failure,
            name,
        })
    });
    shown.await?.map(Json)
}

/// Removes a function with its revisions and its log. Its instances are ended, also busy ones.
#[utoipa::path(
    delete, path = "/v1/functions/{name}", tag = "functions",
    params(("name" = String, Path, description = "The function")),
    responses((status = 200, body = Removed), (status = 404, description = "There is no such function", body = ErrorDocument)),
)]
pub(super) async fn remove(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
) -> Result<Json<Removed>, Problem> {
    let name = named(&name)?;
    known(&gateway, &name)?;
    whole(async move {
        let turn = gateway.changes.turn(&gateway).await;
        // It may have gone while this waited.
        known(&gateway, &name)?;
        turn.remove(&name).await?;
        Ok(Json(Removed { removed: name }))
    })
    .await
}

/// Ends the instances of a function that ran an invocation, also busy ones, and waits until they are gone. The next call gets a new one.
#[utoipa::path(
    post, path = "/v1/functions/{name}/evict", tag = "functions",
    params(("name" = String, Path, description = "The function"), Scope),
    responses((status = 200, body = Evicted), (status = 404, description = "There is no such function", body = ErrorDocument)),
)]
pub(super) async fn evict(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
    scope: Result<Query<Scope>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Evicted>, Problem> {
    let Query(scope) = scope.map_err(|error| Problem::of(Code::BadRequest, error.body_text()))?;
    let name = named(&name)?;
    known(&gateway, &name)?;
    let scope = if scope.all { EvictScope::All } else { EvictScope::Used };
    Ok(Json(Evicted {
        evicted: gateway.pool.evict(&name, scope).await,
    }))
}
