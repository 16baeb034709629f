//! `GET /v1/functions/NAME/logs`: a function's log as lines of JSON.

use std::sync::Arc;

use ::functions::FunctionName;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use serde::Deserialize;
use tokio::sync::broadcast::error::RecvError;
use utoipa::IntoParams;

use super::Problem;
use super::functions::{known, named};
use super::lines::lines;
use crate::gateway::Gateway;
use crate::logs::{self, Answer, LogsError};
use crate::outcome::Code;

/// Most lines of the past that one reply holds.
const MOST_LINES: usize = 100_000;

/// Which lines.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Keep the reply open and send what comes. Default false.
    #[serde(default)]
    follow: bool,
    /// Only lines of this request.
    request: Option<String>,
    /// At most this many lines of the past. Default: all that are kept, at most 100,000.
    tail: Option<usize>,
}

/// The newest lines of a function's log, oldest first, one JSON document a line: `{time, function, revision, instance, request_id?, text}`. With
/// `follow` the reply goes on; a follower that is too slow gets a line that says how many it missed.
#[utoipa::path(
    get, path = "/v1/functions/{name}/logs", tag = "functions",
    params(("name" = String, Path, description = "The function"), Wanted),
    responses(
        (status = 200, description = "Lines of JSON", content_type = "application/x-ndjson", body = String),
        (status = 404, description = "There is no such function", body = super::problem::ErrorDocument),
    ),
)]
pub(super) async fn logs(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
    wanted: Result<Query<Wanted>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    let Query(wanted) = wanted.map_err(|error| Problem::of(Code::BadRequest, error.body_text()))?;
    let name = named(&name)?;
    known(&gateway, &name)?;
    let query = logs::Query {
        function: name.clone(),
        request: wanted.request.clone(),
        tail: wanted.tail.unwrap_or(MOST_LINES).min(MOST_LINES),
    };
    let Answer { lines: past, follow } = gateway.logs.ask(query).await.map_err(|error| match error {
        LogsError::Stopped => Problem::of(Code::Draining, error.to_string()),
        LogsError::Files(_) => Problem::internal(&error),
    })?;
    let past = stream::iter(past).map(|mut line| {
        line.push('\n');
        Bytes::from(line)
    });
    let coming = wanted.follow.then(|| following(follow, name, wanted.request));
    Ok(lines(past, coming, &gateway.drain))
}

/// What comes, for one function and maybe one request.
fn following(
    lines: tokio::sync::broadcast::Receiver<Arc<logs::Line>>,
    function: FunctionName,
    request: Option<String>,
) -> impl Stream<Item = Bytes> {
    stream::unfold((lines, function, request), |(mut lines, function, request)| async {
        loop {
            let text = match lines.recv().await {
                Ok(line) => {
                    if line.function != function
                        || request
                            .as_deref()
                            .is_some_and(|id| line.request_id.as_deref() != Some(id))
                    {
                        continue;
                    }
                    line.json()
                }
                Err(RecvError::Lagged(missed)) => {
                    // Of all functions together; how many were this one's is not known.
                    serde_json::json!({ "time": jiff::Timestamp::now(), "text": format!("[up to {missed} lines missed]") }).to_string()
                }
                Err(RecvError::Closed) => return None,
            };
            return Some((Bytes::from(text + "\n"), (lines, function, request)));
        }
    })
}
