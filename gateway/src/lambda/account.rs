//! `GetAccountSettings`: the limits of this server in the words of an account's.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use functions::bundle::Limits;
use serde_json::{Value, json};

use super::fault::Fault;
use super::signed::Signed;
use crate::gateway::Gateway;

/// Most bytes of a zip in a call.
const ZIPPED: u64 = 50 * 1024 * 1024;

/// GetAccountSettings. The concurrency of an account is the sum of what its functions may have.
pub(super) async fn settings(State(gateway): State<Arc<Gateway>>, _signed: Signed) -> Result<Json<Value>, Fault> {
    let live = gateway.live.all();
    let concurrency: u64 = live
        .iter()
        .map(|revision| u64::from(revision.settings.scale.max) * u64::from(revision.settings.concurrency))
        .sum();
    let limits = Limits::default();
    Ok(Json(json!({
        "AccountLimit": {
            "TotalCodeSize": limits.bytes,
            "CodeSizeUnzipped": limits.bytes,
            "CodeSizeZipped": ZIPPED,
            "ConcurrentExecutions": concurrency,
            "UnreservedConcurrentExecutions": concurrency,
        },
        "AccountUsage": { "FunctionCount": live.len() },
    })))
}
