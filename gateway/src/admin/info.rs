//! `GET /v1/info`: what runs here, and what this host can enforce.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::gateway::Gateway;

/// What runs here.
#[derive(Serialize, ToSchema)]
pub(crate) struct Info {
    /// The server's version.
    version: &'static str,
    /// `host:port` that is listened on.
    listen: String,
    /// Where callers reach it.
    url: String,
    /// The state directory.
    state_dir: String,
    /// How many functions are deployed.
    functions: usize,
    /// What the host can enforce: `{findings: [{name, state, found, meaning, fix}]}`.
    #[schema(value_type = Object)]
    report: Value,
}

/// What runs here, and what this host can enforce.
#[utoipa::path(get, path = "/v1/info", tag = "server", responses((status = 200, body = Info)))]
pub(super) async fn info(State(gateway): State<Arc<Gateway>>) -> Json<Info> {
    let about = &gateway.about;
    Json(Info {
        version: env!("CARGO_PKG_VERSION"),
        listen: about.listen.clone(),
        url: about.url.clone(),
        state_dir: about.state_dir.clone(),
        functions: gateway.live.len(),
        report: about.report.clone(),
    })
}
