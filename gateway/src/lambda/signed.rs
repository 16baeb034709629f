//! A call of the control API that was signed with the server's key pair.
//!
//! The only way to a control route's body: whoever takes a [`Signed`] gets it verified. The body is taken in after the key and the time of the
//! signature were looked at, so a stranger can't make the server hold one.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use jiff::Timestamp;
use serde::de::DeserializeOwned;

use super::fault::{Fault, Kind};
use super::signature::{Claim, SignatureError};
use crate::bodies::Charge;
use crate::gateway::Gateway;
use crate::limits;

/// Most bytes of a control call: what AWS takes, enough for a zip of 50 MB in base64.
const MOST_BODY: u64 = 70_167_211;
/// How long a body may take to arrive.
const PATIENCE: Duration = Duration::from_secs(300);

/// See the module's head.
pub(super) struct Signed {
    body: Bytes,
    /// The room that the body takes, given back with it.
    _charge: Charge,
}

impl FromRequest<Arc<Gateway>> for Signed {
    type Rejection = Fault;

    async fn from_request(request: Request<Body>, gateway: &Arc<Gateway>) -> Result<Self, Fault> {
        let (head, body) = request.into_parts();
        let claim = Claim::read(&head, Timestamp::now())?;
        if claim.key_id() != gateway.keys.access_key_id() {
            return Err(SignatureError::UnknownKey.into());
        }
        limits::check_declared(&head, MOST_BODY)?;
        let mut charge = gateway.bodies.charge();
        let body = tokio::time::timeout(PATIENCE, limits::collect(body, MOST_BODY, &mut charge))
            .await
            .map_err(|_| Fault::new(Kind::RequestTimeout, "the request's body did not arrive in time"))??;
        claim.verify(&head, &body, gateway.keys.secret_access_key())?;
        if gateway.drain.is_begun() {
            return Err(Fault::new(Kind::Unavailable, "the server is shutting down"));
        }
        Ok(Self { body, _charge: charge })
    }
}

impl Signed {
    /// The body as a document. An empty one is an empty document.
    pub(super) fn document<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        let body: &[u8] = if self.body.is_empty() { b"{}" } else { &self.body };
        serde_json::from_slice(body).map_err(|error| {
            Fault::new(
                Kind::InvalidContent,
                format!("Could not parse request body into json: {error}"),
            )
        })
    }
}
