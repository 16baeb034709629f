//! What the resident that starts a runtime with its extensions tells and asks: see `functions::runtimes::lambda::resident`, the other side.
//!
//! It is served beside the Runtime API, so code of the function reaches it too. All that such code could do here is to end its own instance.

use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use serde::Deserialize;

use super::desk::{Desk, Reason};
use super::serve::{MOST_ERROR, Reply, accepted, error, not_found, whole};

/// How the paths begin.
pub(super) const PREFIX: &str = "/fn/";

/// A process that ended.
#[derive(Deserialize)]
struct Ended {
    /// The extension; the runtime without one.
    extension: Option<String>,
    /// For people.
    how: String,
}

/// Answers a request whose path begins with [`PREFIX`]; `path` is the rest of it.
pub(super) async fn answer(desk: &Desk, path: &str, request: Request<Incoming>) -> Reply {
    match (request.method(), path) {
        (&Method::POST, "extensions") => match read::<Vec<String>>(request).await.map(|names| desk.announce(names)) {
            Some(Ok(())) => accepted(),
            Some(Err(denial)) => error(StatusCode::FORBIDDEN, denial.kind(), &denial.to_string()),
            None => unreadable(),
        },
        (&Method::GET, "registered") => {
            desk.registered().await;
            Response::new(Full::default())
        }
        (&Method::POST, "ended") => match read::<Ended>(request).await {
            Some(ended) => {
                desk.ended(ended.extension.as_deref(), &functions::one_line(&ended.how, 200));
                accepted()
            }
            None => unreadable(),
        },
        (&Method::GET, "ending") => Response::new(Full::from(match desk.ending().await {
            Reason::Spindown => "TERM",
            Reason::Timeout | Reason::Failure => "KILL",
        })),
        _ => not_found(),
    }
}

async fn read<T: serde::de::DeserializeOwned>(request: Request<Incoming>) -> Option<T> {
    let body = whole(request.into_body(), MOST_ERROR).await.ok()?;
    serde_json::from_slice(&body).ok()
}

fn unreadable() -> Reply {
    error(
        StatusCode::BAD_REQUEST,
        "InvalidRequestFormat",
        "the body can't be read",
    )
}
