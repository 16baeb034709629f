//! `/metrics`: everything in the Prometheus text format.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::CONTENT_TYPE;

use crate::gateway::Gateway;
use crate::outcome::{Code, Outcome};
use crate::request_id::RequestId;

pub(super) fn routes() -> Router<Arc<Gateway>> {
    Router::new().route("/metrics", get(metrics))
}

async fn metrics(State(gateway): State<Arc<Gateway>>) -> Response {
    // The pool reads the kernel's files for it, which may take a while when there are many instances.
    match tokio::task::spawn_blocking(move || gateway.metrics()).await {
        Ok(text) => ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response(),
        Err(error) => {
            let id = RequestId::new();
            let outcome = Outcome::new(Code::Internal, "the metrics can't be read").detail(error.to_string());
            outcome.log(id);
            outcome.response(id)
        }
    }
}
