//! The HTTP of the Extensions API, and of the Telemetry API as far as it is here: it says that there is none.

use functions::Revision;
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use hyper::body::Incoming;
use serde::Deserialize;
use uuid::Uuid;

use super::desk::Desk;
use super::extensions::Denial;
use super::serve::{MOST_ERROR, Reply, accepted, error, json, not_found, whole};

/// How the paths of the Extensions API begin.
pub(super) const VERSION: &str = "/2020-01-01/extension/";
/// Where extensions would subscribe to telemetry, in two generations.
pub(super) const TELEMETRY: &str = "/2022-07-01/telemetry";
pub(super) const LOGS: &str = "/2020-08-15/logs";

const NAME: HeaderName = HeaderName::from_static("lambda-extension-name");
const IDENTIFIER: HeaderName = HeaderName::from_static("lambda-extension-identifier");
const EVENT_IDENTIFIER: HeaderName = HeaderName::from_static("lambda-extension-event-identifier");
const FEATURES: HeaderName = HeaderName::from_static("lambda-extension-accept-feature");
const ERROR_TYPE: HeaderName = HeaderName::from_static("lambda-extension-function-error-type");

/// The account of every function, as in its ARN.
const ACCOUNT: &str = "000000000000";

/// The function, as an extension is told when it registers.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    name: String,
    version: String,
    handler: String,
}

impl From<&Revision> for Identity {
    fn from(revision: &Revision) -> Identity {
        Identity {
            name: revision.name.to_string(),
            version: revision.number.to_string(),
            handler: revision.settings.handler.clone(),
        }
    }
}

#[cfg(feature = "fuzzing")]
impl Identity {
    /// A function that there is not.
    pub(super) fn nobodys() -> Self {
        Self {
            name: "fuzzed".to_owned(),
            version: "1".to_owned(),
            handler: "handler".to_owned(),
        }
    }
}

/// Answers a request whose path begins with [`VERSION`]; `path` is the rest of it.
pub(super) async fn answer(desk: &Desk, identity: &Identity, path: &str, request: Request<Incoming>) -> Reply {
    match (request.method(), path) {
        (&Method::POST, "register") => register(desk, identity, request).await,
        (&Method::GET, "event/next") => next(desk, request.headers()).await,
        (&Method::POST, "init/error") => give_up(desk, "Extension.InitError", request).await,
        (&Method::POST, "exit/error") => give_up(desk, "Extension.ExitError", request).await,
        _ => not_found(),
    }
}

/// What Lambda's own emulator says: the request is accepted, and nothing will come of it.
pub(super) fn no_telemetry(path: &str) -> Reply {
    let what = if path == LOGS { "Logs" } else { "Telemetry" };
    let kind = format!("{what}.NotSupported");
    error(StatusCode::ACCEPTED, &kind, &format!("{what} API is not supported"))
}

#[derive(Deserialize)]
struct Register {
    #[serde(default)]
    events: Vec<String>,
}

async fn register(desk: &Desk, identity: &Identity, request: Request<Incoming>) -> Reply {
    let (head, body) = request.into_parts();
    let name = text(&head.headers, &NAME).unwrap_or_default().to_owned();
    let body = whole(body, MOST_ERROR).await.unwrap_or_default();
    let Ok(Register { events }) = serde_json::from_slice(&body) else {
        return error(
            StatusCode::FORBIDDEN,
            "InvalidRequestFormat",
            "the body is not of the form {\"events\": [\"INVOKE\", \"SHUTDOWN\"]}",
        );
    };
    let id = match desk.register(&name, &events) {
        Ok(id) => id,
        Err(denial) => return denied(denial),
    };
    let mut document = serde_json::json!({
        "functionName": identity.name, "functionVersion": identity.version, "handler": identity.handler,
    });
    let features = text(&head.headers, &FEATURES).unwrap_or_default();
    if features.split(',').any(|feature| feature.trim() == "accountId") {
        document["accountId"] = ACCOUNT.into();
    }
    let mut reply = json(StatusCode::OK, document.to_string().into());
    reply.headers_mut().insert(IDENTIFIER, identifier(id));
    reply
}

async fn next(desk: &Desk, headers: &HeaderMap) -> Reply {
    let mut told = match known(headers).and_then(|id| desk.next_event(id)) {
        Ok(told) => told,
        Err(denial) => return denied(denial),
    };
    // It is over only with the desk, and with that this server.
    let Some(event) = told.given().await else {
        return not_found();
    };
    let document = serde_json::to_vec(&event).expect("events are plain data with text keys");
    let mut reply = json(StatusCode::OK, document.into());
    reply.headers_mut().insert(EVENT_IDENTIFIER, identifier(Uuid::new_v4()));
    reply
}

async fn give_up(desk: &Desk, of: &str, request: Request<Incoming>) -> Reply {
    let (head, body) = request.into_parts();
    // What it says beside its type is read and not kept: extensions write their logs themselves.
    let _said = whole(body, MOST_ERROR).await;
    let id = match known(&head.headers) {
        Ok(id) => id,
        Err(denial) => return denied(denial),
    };
    let Some(kind) = text(&head.headers, &ERROR_TYPE) else {
        return error(
            StatusCode::FORBIDDEN,
            "Extension.MissingHeader",
            "Lambda-Extension-Function-Error-Type not found",
        );
    };
    match desk.give_up(id, of, &functions::one_line(kind, 200)) {
        Ok(()) => accepted(),
        Err(denial) => denied(denial),
    }
}

/// The identifier of whoever asks.
fn known(headers: &HeaderMap) -> Result<Uuid, Denial> {
    let id = text(headers, &IDENTIFIER).ok_or(Denial::NoIdentifier)?;
    id.parse().map_err(|_| Denial::BadIdentifier)
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn identifier(id: Uuid) -> HeaderValue {
    HeaderValue::try_from(id.to_string()).expect("a UUID is valid in a header")
}

fn denied(denial: Denial) -> Reply {
    error(StatusCode::FORBIDDEN, denial.kind(), &denial.to_string())
}
