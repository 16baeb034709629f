//! `POST /2015-03-31/functions/NAME/invocations`: an event goes to the handler as it is, and its result comes back as it is.
//!
//! ```text
//! name, qualifier --> revision     event --> JSON? small enough? --+--> DryRun            204
//!                                                                  +--> Event             202, runs in the background
//!                                                                  +--> RequestResponse   200, a failure of the function too
//! ```
//!
//! Same stations as a call by HTTP: one deadline, the pool's queue, the account at the end. A failure of the function is a 200 with
//! `X-Amz-Function-Error`, and the caller reads what the function said, for that is the contract.

mod outcome;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use functions::payload::{self, RequestHead};
use functions::wire::Invoke;
use functions::{BootId, FunctionName, Revision, Runtime};
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Version};
use jiff::Timestamp;
use serde::de::IgnoredAny;

use super::address::Address;
use super::fault::{Fault, Kind};
use super::functions::Qualified;
use super::log_tail::{self, Report};
use super::lookup;
use super::query::Parameters;
use crate::admission;
use crate::background::{self, Attempt, Job};
use crate::bodies::Charge;
use crate::deadline::Deadline;
use crate::exchange::{self, Errors, Made, Upload};
use crate::gateway::Gateway;
use crate::invocation::Invocation;
use crate::limits;
use crate::request_id::RequestId;
use crate::routes::invoke as by_http;
use outcome::FunctionError;

/// Most bytes of an event that is waited for, counted as JSON.
const MOST_EVENT: u64 = 6 * 1024 * 1024;
/// Most bytes of `X-Amz-Client-Context`, in base64.
const MOST_CONTEXT: usize = 3583;

const INVOCATION_TYPE: HeaderName = HeaderName::from_static("x-amz-invocation-type");
const LOG_TYPE: HeaderName = HeaderName::from_static("x-amz-log-type");
const CLIENT_CONTEXT: HeaderName = HeaderName::from_static("x-amz-client-context");
const EXECUTED_VERSION: HeaderName = HeaderName::from_static("x-amz-executed-version");
const FUNCTION_ERROR: HeaderName = HeaderName::from_static("x-amz-function-error");
const LOG_RESULT: HeaderName = HeaderName::from_static("x-amz-log-result");

/// How an invocation is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    RequestResponse,
    Event,
    DryRun,
}

/// An invocation whose event is complete.
pub(super) struct Asked {
    id: RequestId,
    address: Address,
    arrived: Instant,
    time: Timestamp,
    revision: Arc<Revision>,
    version: String,
    event: Bytes,
    context: Option<String>,
    trace_id: Option<String>,
    /// The room that the event takes.
    _charge: Charge,
}

/// An invocation that came to its end.
pub(super) struct Ran {
    result: Result<Bytes, FunctionError>,
    /// What the platform says about it.
    told: HeaderMap,
    took: Duration,
    init: Option<Duration>,
    /// Where it ran.
    instance: Option<BootId>,
}

/// Invoke.
pub(super) async fn invoke(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
    Parameters(Qualified { qualifier }): Parameters<Qualified>,
    request: Request<Body>,
) -> Result<Response, Fault> {
    let (arrived, time) = (Instant::now(), Timestamp::now());
    let (head, body) = request.into_parts();
    let id = head.extensions.get::<RequestId>().copied().unwrap_or_default();
    let address = Address::read(&name, qualifier.as_deref())?;
    let (revision, version) = find(&gateway, &address, id)?;
    let wanted = wanted(&head.headers)?;
    let tail = log_type(&head.headers)?;
    let context = client_context(&head.headers)?;
    let limit = match wanted {
        Wanted::Event => background::MOST_BODY,
        Wanted::RequestResponse | Wanted::DryRun => MOST_EVENT,
    };
    limits::check_declared(&head, limit)?;
    let mut charge = gateway.bodies.charge();
    let event = tokio::time::timeout(background::PATIENCE, limits::collect(body, limit, &mut charge))
        .await
        .map_err(|_| Fault::new(Kind::RequestTimeout, "the event did not arrive in time"))??;
    let asked = Asked {
        id,
        arrived,
        time,
        revision,
        version,
        event: checked(event)?,
        context,
        trace_id: by_http::trace(&head).map(str::to_owned),
        address,
        _charge: charge,
    };
    match wanted {
        Wanted::DryRun => Ok(StatusCode::NO_CONTENT.into_response()),
        Wanted::Event => {
            gateway
                .background
                .accept(gateway.clone(), asked)
                .map_err(|full| Fault::throttled("ConcurrentInvocationLimitExceeded", full.to_string()))?;
            Ok(StatusCode::ACCEPTED.into_response())
        }
        Wanted::RequestResponse => {
            let ran = asked.run(&gateway).await?;
            Ok(respond(&gateway, &asked, ran, tail).await)
        }
    }
}

/// The revision that an address means, and the version under which it is known. The id decides for an alias that shifts calls.
fn find(gateway: &Gateway, address: &Address, id: RequestId) -> Result<(Arc<Revision>, String), Fault> {
    if gateway.drain.is_begun() {
        return Err(Fault::new(Kind::Unavailable, "the server is shutting down"));
    }
    let found = lookup::find(gateway, address, id.dice())?;
    let version = found.version_name();
    Ok((found.revision, version))
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Fault> {
    headers
        .get(name)
        .map(|value| value.to_str())
        .transpose()
        .map_err(|_| Fault::invalid(format!("the header {name} is not ASCII")))
}

fn wanted(headers: &HeaderMap) -> Result<Wanted, Fault> {
    match text(headers, &INVOCATION_TYPE)? {
        None | Some("RequestResponse") => Ok(Wanted::RequestResponse),
        Some("Event") => Ok(Wanted::Event),
        Some("DryRun") => Ok(Wanted::DryRun),
        Some(_) => Err(Fault::invalid(
            "X-Amz-Invocation-Type is none of RequestResponse, Event and DryRun",
        )),
    }
}

fn log_type(headers: &HeaderMap) -> Result<bool, Fault> {
    match text(headers, &LOG_TYPE)? {
        None | Some("None") => Ok(false),
        Some("Tail") => Ok(true),
        Some(_) => Err(Fault::invalid("X-Amz-Log-Type is neither None nor Tail")),
    }
}

/// The client context, out of base64: a JSON object.
fn client_context(headers: &HeaderMap) -> Result<Option<String>, Fault> {
    let Some(coded) = text(headers, &CLIENT_CONTEXT)? else {
        return Ok(None);
    };
    if coded.len() > MOST_CONTEXT {
        return Err(Fault::invalid(format!(
            "X-Amz-Client-Context has {} bytes, at most {MOST_CONTEXT} are allowed",
            coded.len()
        )));
    }
    let json = STANDARD
        .decode(coded)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .filter(|json| serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(json).is_ok());
    match json {
        Some(json) => Ok(Some(json)),
        None => Err(Fault::new(
            Kind::InvalidContent,
            "X-Amz-Client-Context is not a JSON object in base64",
        )),
    }
}

/// An event that is JSON. Without one the handler gets an empty object.
fn checked(event: Bytes) -> Result<Bytes, Fault> {
    if event.is_empty() {
        return Ok(Bytes::from_static(b"{}"));
    }
    let refused = |why: String| {
        Fault::new(
            Kind::InvalidContent,
            format!("Could not parse request body into json: {why}"),
        )
    };
    std::str::from_utf8(&event).map_err(|error| refused(error.to_string()))?;
    serde_json::from_slice::<IgnoredAny>(&event).map_err(|error| refused(error.to_string()))?;
    Ok(event)
}

async fn respond(gateway: &Gateway, asked: &Asked, ran: Ran, tail: bool) -> Response {
    let log = match tail {
        true => {
            let report = Report {
                request: asked.id,
                revision: &asked.revision,
                version: &asked.version,
                took: ran.took,
                init: ran.init,
                instance: ran.instance,
            };
            Some(log_tail::header(gateway, &report).await)
        }
        false => None,
    };
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    *headers = ran.told;
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(
        EXECUTED_VERSION,
        HeaderValue::from_str(&asked.version).expect("$LATEST and digits are valid in a header"),
    );
    if let Some(log) = log {
        headers.insert(LOG_RESULT, log);
    }
    match ran.result {
        Ok(json) => *response.body_mut() = Body::from(json),
        Err(error) => {
            headers.insert(FUNCTION_ERROR, HeaderValue::from_static("Unhandled"));
            *response.body_mut() = Body::from(error.into_json());
        }
    }
    response
}

impl Job for Asked {
    fn function(&self) -> &FunctionName {
        &self.revision.name
    }

    fn id(&self) -> RequestId {
        self.id
    }

    async fn attempt(&mut self, gateway: &Arc<Gateway>) -> Attempt {
        // Each attempt has the time that one has which comes now.
        (self.arrived, self.time) = (Instant::now(), Timestamp::now());
        // What the function did wrong is an end like another: its log and the metrics tell.
        match self.run(gateway).await {
            Ok(_) => Attempt::Done,
            Err(fault) if matches!(fault.kind(), Kind::TooManyRequests | Kind::Unavailable) => {
                Attempt::Later(fault.message().to_owned())
            }
            Err(fault) => Attempt::Never(fault.message().to_owned()),
        }
    }

    async fn lost(self, _: &Arc<Gateway>) {}
}

impl Asked {
    /// Runs it. Dropping the future means that the caller left.
    ///
    /// # Errors
    /// When the function did not run, or the platform failed. What the function did wrong is in [`Ran`].
    async fn run(&self, gateway: &Arc<Gateway>) -> Result<Ran, Fault> {
        let revision = &self.revision;
        let timeout = Duration::from_millis(revision.settings.timeout.as_millis());
        let deadline = Deadline::after(self.arrived, self.time, timeout);
        let mut invocation = Invocation::new(gateway.clone(), revision.clone(), self.id, self.arrived);
        if let Err(full) = invocation.enter() {
            invocation.end_with(&full);
            return Err(Fault::throttled(
                "ReservedFunctionConcurrentInvocationLimitExceeded",
                "Rate Exceeded: as many calls are there as are reserved for the function",
            ));
        }
        // The event may have taken seconds to arrive. A function that was removed meanwhile must not be started again by it.
        admission::known(gateway, &revision.name).map_err(|_| Fault::no_function(&self.address.arn()))?;
        let lease = match gateway.pool.acquire(revision, deadline.at()).await {
            Ok(lease) => lease,
            Err(error) => {
                let told = outcome::without_lease(&error, self.id);
                let counted = by_http::no_lease(&error, Errors::Hidden, &invocation);
                invocation.end_with(&counted);
                return told.map(|error| Ran::failed(error, HeaderMap::new()));
            }
        };
        invocation.found(&lease);
        let (start, instance) = (lease.phases(), Some(lease.boot_id()));
        let begun = Instant::now();
        let made = match revision.settings.runtime {
            Runtime::Python | Runtime::Node | Runtime::Lambda => {
                exchange::event(lease, self.frame(deadline, Vec::new()), self.event.clone(), deadline).await
            }
            Runtime::Stdio => exchange::stdio(
                lease,
                self.frame(deadline, self.environment()),
                Upload::new(Body::from(self.event.clone()), MOST_EVENT),
                deadline,
            )
            .await
            .map(Made::Stream),
            Runtime::Http | Runtime::Fdk => {
                let (head, ()) = Request::post("/")
                    .header(HOST, "localhost")
                    .header(CONTENT_TYPE, "application/json")
                    .body(())
                    .expect("the request is valid")
                    .into_parts();
                let (id, body) = (self.id.to_string(), Body::from(self.event.clone()));
                let answered = match revision.settings.runtime {
                    Runtime::Fdk => exchange::fdk(lease, &id, head, body, MOST_EVENT, deadline).await,
                    _ => exchange::http(lease, &id, head, body, MOST_EVENT, deadline).await,
                };
                answered.map(Made::Stream)
            }
        };
        let made = match made {
            Ok(Made::Result { boot_id, handler, json }) => Ok((boot_id, handler, json)),
            Ok(Made::Stream(answer)) => outcome::gathered(answer).await,
            Err(failed) => Err(failed),
        };
        let mut told = HeaderMap::new();
        let init = (start.init > Duration::ZERO).then_some(start.init);
        match made {
            Ok((boot_id, handler, json)) => {
                invocation.tell(&mut told, Some((boot_id, handler)));
                invocation.end(StatusCode::OK.as_u16());
                Ok(Ran {
                    result: Ok(json),
                    told,
                    took: handler,
                    init,
                    instance,
                })
            }
            Err(failed) => {
                invocation.tell(&mut told, None);
                let said = outcome::after(&failed, self.id, timeout);
                let counted = by_http::failure(failed, Errors::Hidden, &invocation);
                invocation.end_with(&counted);
                Ok(Ran {
                    took: begun.elapsed(),
                    init,
                    instance,
                    ..Ran::failed(said, told)
                })
            }
        }
    }

    fn frame(&self, deadline: Deadline, env: Vec<(String, String)>) -> Invoke {
        Invoke {
            request_id: self.id.to_string(),
            deadline_ms: deadline.epoch_ms(),
            trace_id: self.trace_id.clone(),
            arn: self.address.arn(),
            client_context: self.context.clone(),
            repeated: Default::default(),
            env,
        }
    }

    /// What a `stdio` program sees: a POST of the event.
    fn environment(&self) -> Vec<(String, String)> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(HOST, HeaderValue::from_static("localhost"));
        headers.insert(http::header::CONTENT_LENGTH, HeaderValue::from(self.event.len()));
        payload::cgi_env(&RequestHead {
            function: &self.revision.name,
            request_id: &self.id.to_string(),
            method: &Method::POST,
            path: "/",
            query: None,
            version: Version::HTTP_11,
            headers: &headers,
            host: "localhost",
            scheme: "http",
            source_ip: std::net::Ipv4Addr::LOCALHOST.into(),
            trace_id: self.trace_id.as_deref(),
            time: self.time,
        })
    }
}

impl Ran {
    fn failed(error: FunctionError, told: HeaderMap) -> Self {
        Self {
            result: Err(error),
            told,
            took: Duration::ZERO,
            init: None,
            instance: None,
        }
    }
}
