//! The admin API under `/v1`, served on the unix socket alone.
//!
//! Owns the routes and their documents; whoever may open the socket may do everything. What changes a function runs in a task of its own, so a
//! client that leaves in the middle leaves the change whole.

mod alerts;
mod aws;
mod bundles;
mod functions;
mod info;
mod lines;
mod logs;
pub(crate) mod openapi;
mod problem;

use std::sync::Arc;

use axum::Router;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::gateway::Gateway;

pub(crate) use problem::Problem;

/// The routes, and their description.
pub(crate) fn routes() -> (Router<Arc<Gateway>>, OpenApi) {
    let (router, api) = OpenApiRouter::with_openapi(openapi::skeleton())
        .routes(routes!(info::info))
        .routes(routes!(aws::aws))
        .routes(routes!(bundles::has))
        .routes(routes!(bundles::add))
        .routes(routes!(functions::list))
        .routes(routes!(functions::show, functions::deploy, functions::remove))
        .routes(routes!(functions::evict))
        .routes(routes!(logs::logs))
        .routes(routes!(alerts::alerts))
        .routes(routes!(alerts::rules))
        .routes(routes!(openapi::document))
        .split_for_parts();
    (router, api)
}
