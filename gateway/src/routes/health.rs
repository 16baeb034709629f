//! `/healthz`: the process answers. `/readyz`: it takes requests, and can start what they need.

use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use serde_json::json;

use crate::gateway::Gateway;

pub(super) fn routes() -> Router<Arc<Gateway>> {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
}

async fn healthz() -> impl IntoResponse {
    Json(json!({ "status": "ok" }))
}

async fn readyz(State(gateway): State<Arc<Gateway>>) -> impl IntoResponse {
    let (code, status) = if gateway.drain.is_begun() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining")
    } else if !gateway.pool.is_up() {
        // What is warm went with it, so whoever can ask another server should.
        (StatusCode::SERVICE_UNAVAILABLE, "no_sandboxes")
    } else {
        (StatusCode::OK, "ready")
    };
    (code, Json(json!({ "status": status })))
}
