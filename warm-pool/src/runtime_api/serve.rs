//! The HTTP of the Runtime API, and the port at which it is served with the APIs beside it.

use std::convert::Infallible;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::{Bytes, BytesMut};
use functions::wire::Failure;
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinSet};

use super::desk::{Desk, Refusal};
use super::extensions_api::{self, Identity};
use super::reply::broken_off;
use super::resident_api;
use super::{Answer, Invocation, MOST_ANSWER};

const VERSION: &str = "/2018-06-01";
const REQUEST_ID: HeaderName = HeaderName::from_static("lambda-runtime-aws-request-id");
const DEADLINE: HeaderName = HeaderName::from_static("lambda-runtime-deadline-ms");
const ARN: HeaderName = HeaderName::from_static("lambda-runtime-invoked-function-arn");
const TRACE: HeaderName = HeaderName::from_static("lambda-runtime-trace-id");
const CLIENT_CONTEXT: HeaderName = HeaderName::from_static("lambda-runtime-client-context");
const MODE: HeaderName = HeaderName::from_static("lambda-runtime-function-response-mode");
const ERROR_TYPE: HeaderName = HeaderName::from_static("lambda-runtime-function-error-type");
const ERROR_BODY: HeaderName = HeaderName::from_static("lambda-runtime-function-error-body");

/// Connections of one sandbox beside those that its concurrency needs: runtimes keep some for
/// answers, and each extension has one or two.
const SPARE_CONNECTIONS: usize = 32;
/// Most bytes of a description of an error.
pub(super) const MOST_ERROR: usize = 256 * 1024;
/// The pause after a connection could not be accepted: no descriptor was left, most likely.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// How long the rest of a body that nobody wants may take.
const LINGER: Duration = Duration::from_secs(2);

pub(super) type Reply = Response<Full<Bytes>>;

/// A port that is served. Dropping it ends that.
#[derive(Debug)]
pub(crate) struct Server {
    task: AbortHandle,
    desk: Arc<Desk>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Serves a desk on a non-blocking listener. Needs a tokio runtime.
    pub(crate) fn start(listener: OwnedFd, desk: Arc<Desk>, concurrency: u8, identity: Identity) -> io::Result<Server> {
        let listener = TcpListener::from_std(listener.into())?;
        let room = Arc::new(Semaphore::new(usize::from(concurrency) + SPARE_CONNECTIONS));
        let served = Served {
            desk: desk.clone(),
            identity,
        };
        let task = tokio::spawn(accept(listener, Arc::new(served), room)).abort_handle();
        Ok(Server { task, desk })
    }

    /// What is served.
    pub(crate) fn desk(&self) -> &Desk {
        &self.desk
    }
}

/// What requests are answered from.
pub(super) struct Served {
    pub(super) desk: Arc<Desk>,
    pub(super) identity: Identity,
}

async fn accept(listener: TcpListener, served: Arc<Served>, room: Arc<Semaphore>) {
    let mut connections = JoinSet::new();
    loop {
        let permit = room
            .clone()
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                let served = served.clone();
                connections.spawn(async move {
                    let _nodelay = stream.set_nodelay(true);
                    connection(stream, served).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection to the Runtime API could not be accepted");
                tokio::time::sleep(AFTER_FAILURE).await;
            }
        }
    }
}

/// Serves one connection to its end.
pub(super) async fn connection<I: AsyncRead + AsyncWrite + Unpin>(io: I, served: Arc<Served>) {
    let service = service_fn(|request| {
        let served = served.clone();
        async move { Ok::<_, Infallible>(answer(&served, request).await) }
    });
    if let Err(error) = http1::Builder::new().serve_connection(TokioIo::new(io), service).await {
        tracing::debug!(%error, "a connection to the Runtime API ended early");
    }
}

async fn answer(Served { desk, identity }: &Served, request: Request<Incoming>) -> Reply {
    let path = request.uri().path().to_owned();
    if let Some(path) = path.strip_prefix(VERSION) {
        return runtime(desk, path, request).await;
    }
    if let Some(path) = path.strip_prefix(extensions_api::VERSION) {
        return extensions_api::answer(desk, identity, path, request).await;
    }
    if let Some(path) = path.strip_prefix(resident_api::PREFIX) {
        return resident_api::answer(desk, path, request).await;
    }
    match (request.method(), path.as_str()) {
        (&Method::PUT, extensions_api::TELEMETRY | extensions_api::LOGS) => extensions_api::no_telemetry(&path),
        _ => not_found(),
    }
}

async fn runtime(desk: &Desk, path: &str, request: Request<Incoming>) -> Reply {
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    match (request.method(), parts.as_slice()) {
        (&Method::GET, ["runtime", "invocation", "next"]) => next(desk).await,
        (&Method::POST, ["runtime", "invocation", id, "response"]) => respond(desk, id, request).await,
        (&Method::POST, ["runtime", "invocation", id, "error"]) => {
            let answer = desk.answer(id);
            let failure = failure(request).await;
            match answer {
                Ok(answer) => {
                    answer.say(Answer::Failed(failure));
                    accepted()
                }
                Err(refusal) => refused(refusal),
            }
        }
        (&Method::POST, ["runtime", "init" | "restore", "error"]) => match desk.fail(failure(request).await) {
            Ok(()) => accepted(),
            Err(refusal) => refused(refusal),
        },
        // Nothing is restored here: whoever asks may go on.
        (&Method::GET, ["runtime", "restore", "next"]) => Response::new(Full::default()),
        (&Method::GET, ["ping"]) => Response::new(Full::from("pong")),
        _ => not_found(),
    }
}

async fn next(desk: &Desk) -> Reply {
    let mut question = match desk.next() {
        Ok(question) => question,
        Err(refusal) => return refused(refusal),
    };
    // It is over only with the desk, and with that this server.
    let Some(invocation) = question.given().await else {
        return not_found();
    };
    let Invocation {
        id,
        deadline_ms,
        arn,
        trace_id,
        client_context,
        event,
    } = invocation;
    let mut reply = Response::new(Full::from(event));
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(DEADLINE, deadline_ms.into());
    for (name, value) in [
        (REQUEST_ID, Some(id)),
        (ARN, Some(arn)),
        (TRACE, trace_id),
        (CLIENT_CONTEXT, client_context.as_deref().map(in_ascii)),
    ] {
        // A trace is what a caller wrote: what can't be a header is none.
        if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
            headers.insert(name, value);
        }
    }
    reply
}

/// A JSON document as one line of ASCII, as far as it can be one: other characters only stand in its texts, where JSON can escape them, and
/// breaks of lines only between its parts.
pub(super) fn in_ascii(json: &str) -> String {
    let mut ascii = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '\r' | '\n' | '\t' => ascii.push(' '),
            ' '..='~' => ascii.push(character),
            other => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    ascii.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    ascii
}

async fn respond(desk: &Desk, id: &str, request: Request<Incoming>) -> Reply {
    let (head, mut body) = request.into_parts();
    let answer = match desk.answer(id) {
        Ok(answer) => answer,
        Err(refusal) => {
            rest(&mut body).await;
            return refused(refusal);
        }
    };
    match head.headers.get(MODE).map(HeaderValue::as_bytes) {
        None => {}
        Some(mode) if mode.eq_ignore_ascii_case(b"buffered") => {}
        Some(mode) if mode.eq_ignore_ascii_case(b"streaming") => {
            let (sender, pieces) = mpsc::channel(1);
            let content_type = head.headers.get(CONTENT_TYPE).cloned();
            answer.say(Answer::Stream { content_type, pieces });
            stream(body, &sender).await;
            return accepted();
        }
        Some(_) => {
            rest(&mut body).await;
            let text = "Lambda-Runtime-Function-Response-Mode is neither buffered nor streaming";
            answer.say(Answer::Failed(named("Runtime.InvalidResponseModeHeader", text)));
            return error(StatusCode::BAD_REQUEST, "InvalidResponseModeHeader", text);
        }
    }
    match whole(body, MOST_ANSWER).await {
        Ok(body) => {
            answer.say(Answer::Whole(body));
            accepted()
        }
        Err(TooLong::Bound) => {
            let text = format!("the response is over the limit of {MOST_ANSWER} bytes");
            answer.say(Answer::Failed(named("Function.ResponseSizeTooLarge", &text)));
            error(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", &text)
        }
        Err(TooLong::Broken) => {
            let failure = broken_off();
            let refusal = error(StatusCode::BAD_REQUEST, "TruncatedResponse", &failure.error_message);
            answer.say(Answer::Failed(failure));
            refusal
        }
    }
}

/// Passes pieces on as they come. Whoever called may leave; the rest is then read by nobody, and the connection closed.
async fn stream(mut body: Incoming, pieces: &mpsc::Sender<Result<Bytes, Failure>>) {
    loop {
        let piece = match body.frame().await {
            None => return,
            Some(Err(_)) => Err(broken_off()),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => Ok(data),
                Err(frame) => match frame.trailers_ref().and_then(trailed) {
                    Some(failure) => Err(failure),
                    None => continue,
                },
            },
        };
        let last = piece.is_err();
        if pieces.send(piece).await.is_err() || last {
            return;
        }
    }
}

/// The failure that the trailers of a stream tell of.
fn trailed(trailers: &HeaderMap) -> Option<Failure> {
    let kind = trailers.get(ERROR_TYPE)?;
    let body = trailers
        .get(ERROR_BODY)
        .and_then(|body| BASE64_STANDARD.decode(body).ok());
    Some(described(Some(kind), &body.unwrap_or_default()))
}

async fn failure(request: Request<Incoming>) -> Failure {
    let (head, body) = request.into_parts();
    let kind = head.headers.get(ERROR_TYPE);
    match whole(body, MOST_ERROR).await {
        Ok(body) => described(kind, &body),
        Err(TooLong::Bound) => Failure {
            error_message: format!("its description is over the limit of {MOST_ERROR} bytes"),
            ..described(kind, b"{}")
        },
        Err(TooLong::Broken) => Failure {
            error_message: "its description broke off".to_owned(),
            ..described(kind, b"{}")
        },
    }
}

/// Reads a description as a runtime gives it; all of it is optional, and none of it is trusted.
pub(super) fn described(kind: Option<&HeaderValue>, body: &[u8]) -> Failure {
    let kind = kind.and_then(|kind| kind.to_str().ok()).map(str::to_owned);
    let unknown = || "Function.Unknown".to_owned();
    let Ok(serde_json::Value::Object(mut said)) = serde_json::from_slice(body) else {
        return Failure {
            error_message: String::from_utf8_lossy(body).into_owned(),
            error_type: kind.unwrap_or_else(unknown),
            stack_trace: Vec::new(),
        };
    };
    let mut take = |name| said.remove(name).filter(|value| !value.is_null());
    Failure {
        error_message: take("errorMessage").map(text).unwrap_or_default(),
        error_type: take("errorType").map(text).or(kind).unwrap_or_else(unknown),
        stack_trace: match take("stackTrace") {
            Some(serde_json::Value::Array(lines)) => lines.into_iter().map(text).collect(),
            Some(other) => vec![text(other)],
            None => Vec::new(),
        },
    }
}

fn text(value: serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    }
}

fn named(kind: &str, message: &str) -> Failure {
    Failure {
        error_message: message.to_owned(),
        error_type: kind.to_owned(),
        stack_trace: Vec::new(),
    }
}

pub(super) enum TooLong {
    Bound,
    Broken,
}

pub(super) async fn whole(mut body: Incoming, most: usize) -> Result<Bytes, TooLong> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let mut all = BytesMut::with_capacity(announced.min(most));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| TooLong::Broken)?;
        if let Some(data) = frame.data_ref() {
            if all.len() + data.len() > most {
                rest(&mut body).await;
                return Err(TooLong::Bound);
            }
            all.extend_from_slice(data);
        }
    }
    Ok(all.freeze())
}

/// Reads what is left: a runtime that is still sending would not read the reply, and a connection with something left on it is closed.
async fn rest(body: &mut Incoming) {
    let rest = async { while let Some(Ok(_)) = body.frame().await {} };
    let _late = tokio::time::timeout(LINGER, rest).await;
}

pub(super) fn accepted() -> Reply {
    json(StatusCode::ACCEPTED, br#"{"status":"OK"}"#.as_slice().into())
}

fn refused(refusal: Refusal) -> Reply {
    let (status, kind) = match refusal {
        Refusal::State => (StatusCode::FORBIDDEN, "InvalidStateTransition"),
        Refusal::Id => (StatusCode::BAD_REQUEST, "InvalidRequestID"),
    };
    error(status, kind, &refusal.to_string())
}

pub(super) fn not_found() -> Reply {
    error(StatusCode::NOT_FOUND, "NotFound", "there is no such resource")
}

pub(super) fn error(status: StatusCode, kind: &str, message: &str) -> Reply {
    let body = serde_json::json!({ "errorMessage": message, "errorType": kind });
    json(status, body.to_string().into())
}

pub(super) fn json(status: StatusCode, body: Bytes) -> Reply {
    let mut reply = Response::new(Full::from(body));
    *reply.status_mut() = status;
    reply
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}
