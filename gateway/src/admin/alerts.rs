//! `GET /v1/alerts`: what the rules of the watch said, as lines of JSON. `GET /v1/rules`: the rules.

use std::sync::Arc;

use ::functions::FunctionName;
use axum::Json;
use axum::extract::{Query, State};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use serde::Deserialize;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use utoipa::IntoParams;
use warm_pool::watch::{Alert, rules};

use super::Problem;
use super::functions::named;
use super::lines::lines;
use crate::gateway::Gateway;
use crate::outcome::Code;

/// Which alerts.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Keep the reply open and send what comes. Default false.
    #[serde(default)]
    follow: bool,
    /// Only those of this function, which may be gone.
    function: Option<String>,
    /// At most this many of the past. Default: all that are kept, 1000 over all functions.
    tail: Option<usize>,
}

/// The last alerts since the server started, oldest first, one JSON document a line: `{time, number, rule, severity, action, done, function, runtime,
/// instance?, event, detail, untold}`. With `follow` the reply goes on; a follower that is too slow gets a line `{missed}` that says how many
/// it missed, over all functions.
#[utoipa::path(
    get, path = "/v1/alerts", tag = "watch", params(Wanted),
    responses(
        (status = 200, description = "Lines of JSON", content_type = "application/x-ndjson", body = String),
        (status = 400, description = "The function's name is none", body = super::problem::ErrorDocument),
    ),
)]
pub(super) async fn alerts(
    State(gateway): State<Arc<Gateway>>,
    wanted: Result<Query<Wanted>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    let Query(wanted) = wanted.map_err(|error| Problem::of(Code::BadRequest, error.body_text()))?;
    let function = wanted.function.as_deref().map(named).transpose()?;
    let (past, coming) = gateway.pool.alerts().follow();
    let past: Vec<_> = past
        .into_iter()
        .filter(|alert| is_of(alert, function.as_ref()))
        .collect();
    let skipped = past.len().saturating_sub(wanted.tail.unwrap_or(usize::MAX));
    let past = stream::iter(past.into_iter().skip(skipped)).map(|alert| line(&*alert));
    let coming = wanted.follow.then(|| following(coming, function));
    Ok(lines(past, coming, &gateway.drain))
}

/// The rules of the watch, and the text in which they are written: what is shipped, and what the file of `--rules` changes.
#[utoipa::path(
    get, path = "/v1/rules", tag = "watch",
    responses((status = 200, description = "`{rules, shipped, changes}`", body = Object)),
)]
pub(super) async fn rules(State(gateway): State<Arc<Gateway>>) -> Json<serde_json::Value> {
    let own = gateway.pool.rules();
    Json(serde_json::json!({ "rules": own.all(), "shipped": rules::SHIPPED, "changes": own.changes() }))
}

fn is_of(alert: &Alert, function: Option<&FunctionName>) -> bool {
    function.is_none_or(|function| alert.function == *function)
}

fn line(value: &impl serde::Serialize) -> Bytes {
    let mut line = serde_json::to_vec(value).expect("an alert has no map with odd keys");
    line.push(b'\n');
    line.into()
}

fn following(coming: Receiver<Arc<Alert>>, function: Option<FunctionName>) -> impl Stream<Item = Bytes> {
    stream::unfold((coming, function), |(mut coming, function)| async {
        loop {
            let line = match coming.recv().await {
                Ok(alert) if is_of(&alert, function.as_ref()) => line(&*alert),
                Ok(_) => continue,
                Err(RecvError::Lagged(missed)) => line(&serde_json::json!({ "missed": missed })),
                Err(RecvError::Closed) => return None,
            };
            return Some((line, (coming, function)));
        }
    })
}
