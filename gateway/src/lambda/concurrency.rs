//! PutFunctionConcurrency, GetFunctionConcurrency, DeleteFunctionConcurrency: how many calls of a function may be there at one time.
//!
//! It holds for every way to call the function. Nothing is set aside for it: what others use, it can't.

use std::sync::Arc;

use ::functions::published::Facet;
use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::fault::Fault;
use super::functions::{Document, blocking};
use super::provisioned;
use super::signed::Signed;
use super::versions::function;
use crate::changes::whole;
use crate::gateway::Gateway;

/// The setting's document, as it is kept and told.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Concurrency {
    /// Calls at one time.
    #[serde(rename = "ReservedConcurrentExecutions")]
    pub(crate) reserved: u32,
}

async fn set(gateway: Arc<Gateway>, name: String, to: Option<Concurrency>) -> Result<(), Fault> {
    whole(async move {
        let _turn = gateway.changes.turn(&gateway).await;
        let name = function(&gateway, &name)?;
        let (store, writing) = (gateway.store.clone(), name.clone());
        let document = to.map(|to| json!(to));
        blocking(move || {
            let provisioned = provisioned::total(&store, &writing)?;
            if let Some(to) = to.filter(|to| u64::from(to.reserved) < provisioned) {
                return Err(Fault::invalid(format!(
                    "ReservedConcurrentExecutions {} should not be lower than function's total provisioned concurrency [{provisioned}].",
                    to.reserved
                )));
            }
            Ok(store.set_facet(&writing, Facet::Concurrency, "", document.as_ref())?)
        })
        .await?;
        gateway.live.reserve(name, to.map(|to| to.reserved));
        Ok(())
    })
    .await
}

/// PutFunctionConcurrency.
pub(super) async fn put(State(gateway): State<Arc<Gateway>>, Path(name): Path<String>, signed: Signed) -> Document {
    let asked: Concurrency = signed.document()?;
    set(gateway, name, Some(asked)).await?;
    Ok(Json(json!(asked)))
}

/// GetFunctionConcurrency. An empty document when none is set.
pub(super) async fn get(State(gateway): State<Arc<Gateway>>, Path(name): Path<String>, _signed: Signed) -> Document {
    let name = function(&gateway, &name)?;
    Ok(Json(match gateway.live.reserved(&name) {
        Some(reserved) => json!(Concurrency {
            reserved: reserved.most()
        }),
        None => json!({}),
    }))
}

/// DeleteFunctionConcurrency.
pub(super) async fn delete(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
    _signed: Signed,
) -> Result<StatusCode, Fault> {
    set(gateway, name, None).await?;
    Ok(StatusCode::NO_CONTENT)
}
