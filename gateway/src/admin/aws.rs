//! `GET /v1/aws`: what an AWS client needs to reach the Lambda API of this server.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::header::CACHE_CONTROL;
use http::{HeaderName, HeaderValue};
use serde::Serialize;
use utoipa::ToSchema;

use crate::gateway::Gateway;
use crate::lambda::REGION;

/// What an AWS client needs to reach the Lambda API of this server.
#[derive(Serialize, ToSchema)]
pub(crate) struct AwsEnvironment {
    /// The public half of the key pair that signs control calls.
    access_key_id: String,
    /// Its secret half.
    secret_access_key: String,
    /// The region in the server's ARNs.
    region: &'static str,
    /// Where the Lambda API is.
    endpoint_url: String,
}

/// The key pair that signs calls of the Lambda control API, and where that API is.
#[utoipa::path(get, path = "/v1/aws", tag = "server", responses((status = 200, body = AwsEnvironment)))]
pub(super) async fn aws(State(gateway): State<Arc<Gateway>>) -> ([(HeaderName, HeaderValue); 1], Json<AwsEnvironment>) {
    let environment = AwsEnvironment {
        access_key_id: gateway.keys.access_key_id().to_owned(),
        secret_access_key: gateway.keys.secret_access_key().to_owned(),
        region: REGION,
        endpoint_url: gateway.about.url.clone(),
    };
    (
        [(CACHE_CONTROL, HeaderValue::from_static("no-store"))],
        Json(environment),
    )
}
