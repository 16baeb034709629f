//! `POST /2015-03-31/functions/NAME/invocations`: an event goes to the handler as it is, and its result comes back as it is. In [`streamed`]
//! the result comes back while it is made.
//!
//! ```text
//! name, qualifier --> revision     event --> JSON? small enough? --+--> DryRun            204
//!                                                                  +--> Event             202, runs in the background
//!                                                                  +--> RequestResponse   200, a failure of the function too
//! ```
//!
//! Same stations as a call by HTTP: one deadline, the pool's queue, the account at the end. A failure of the function is a 200 with
//! `X-Amz-Function-Error`, and the caller reads what the function said, for that is the contract.

pub(super) mod options;
mod outcome;
mod streamed;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use functions::payload::{self, RequestHead};
use functions::wire::Invoke;
use functions::{BootId, Revision, Runtime};
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Version};
use jiff::Timestamp;

use super::address::Address;
use super::events::Event;
use super::fault::{Fault, Kind};
use super::functions::Qualified;
use super::log_tail::{self, Report};
use super::lookup;
use super::query::Parameters;
use crate::admission;
use crate::background;
use crate::bodies::Charge;
use crate::deadline::Deadline;
use crate::exchange::{self, Errors, Failed, Made, Upload};
use crate::gateway::Gateway;
use crate::invocation::Invocation;
use crate::limits;
use crate::request_id::RequestId;
use crate::routes::invoke as by_http;
use options::{Options, Tail, Wanted};
use outcome::FunctionError;
pub(super) use streamed::invoke_with_response_stream;

/// Most bytes of an event that is waited for, counted as JSON.
const MOST_EVENT: u64 = 6 * 1024 * 1024;

const EXECUTED_VERSION: HeaderName = HeaderName::from_static("x-amz-executed-version");
const FUNCTION_ERROR: HeaderName = HeaderName::from_static("x-amz-function-error");
const LOG_RESULT: HeaderName = HeaderName::from_static("x-amz-log-result");

/// An invocation whose event is complete.
pub(super) struct Asked {
    /// Its id.
    pub(super) id: RequestId,
    /// As it was addressed.
    pub(super) address: Address,
    arrived: Instant,
    time: Timestamp,
    revision: Arc<Revision>,
    /// The version that runs, as `X-Amz-Executed-Version` names it.
    pub(super) version: String,
    pub(super) event: Bytes,
    context: Option<String>,
    trace_id: Option<String>,
    /// The room that the event takes.
    _charge: Charge,
}

/// What an instance made of an event, and the account of it, which is open.
struct Called {
    made: Result<Made, Failed>,
    invocation: Invocation,
    /// When the event was handed over.
    begun: Instant,
    /// Time of loading the function, when the call waited for that.
    init: Option<Duration>,
    /// Where it runs.
    instance: Option<BootId>,
    timeout: Duration,
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
    let (asked, options) = Asked::take_in(&gateway, &name, qualifier.as_deref(), request).await?;
    match options.wanted {
        Wanted::DryRun => Ok(StatusCode::NO_CONTENT.into_response()),
        Wanted::Event => {
            gateway
                .background
                .accept(gateway.clone(), Event::new(asked))
                .map_err(|full| Fault::throttled("ConcurrentInvocationLimitExceeded", full.to_string()))?;
            Ok(StatusCode::ACCEPTED.into_response())
        }
        Wanted::RequestResponse => {
            let ran = asked.run(&gateway).await?;
            Ok(respond(&gateway, &asked, ran, options.tail).await)
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

async fn respond(gateway: &Gateway, asked: &Asked, ran: Ran, tail: Tail) -> Response {
    let log = match tail {
        Tail::Wanted => {
            let report = asked.report(ran.took, ran.init, ran.instance);
            Some(log_tail::result(gateway, &report).await)
        }
        Tail::None => None,
    };
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    *headers = ran.told;
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(EXECUTED_VERSION, asked.version_header());
    if let Some(log) = log {
        let log = HeaderValue::try_from(log).expect("base64 is valid in a header");
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

impl Asked {
    /// Reads what is asked for, and takes the event in.
    async fn take_in(
        gateway: &Gateway,
        name: &str,
        qualifier: Option<&str>,
        request: Request<Body>,
    ) -> Result<(Self, Options), Fault> {
        let (arrived, time) = (Instant::now(), Timestamp::now());
        let (head, body) = request.into_parts();
        let id = head.extensions.get::<RequestId>().copied().unwrap_or_default();
        let address = Address::read(name, qualifier)?;
        let (revision, version) = find(gateway, &address, id)?;
        let mut options = Options::read(&head.headers)?;
        let (limit, mut charge) = match options.wanted {
            Wanted::Event => (background::MOST_EVENT, gateway.background.charge()),
            Wanted::RequestResponse | Wanted::DryRun => (MOST_EVENT, gateway.bodies.charge()),
        };
        limits::check_declared(&head, limit)?;
        let event = tokio::time::timeout(background::PATIENCE, limits::collect(body, limit, &mut charge))
            .await
            .map_err(|_| Fault::new(Kind::RequestTimeout, "the event did not arrive in time"))??;
        let asked = Self {
            id,
            arrived,
            time,
            revision,
            version,
            event: options::checked(event)?,
            context: options.context.take(),
            trace_id: by_http::trace(&head).map(str::to_owned),
            address,
            _charge: charge,
        };
        Ok((asked, options))
    }

    fn version_header(&self) -> HeaderValue {
        HeaderValue::from_str(&self.version).expect("$LATEST and digits are valid in a header")
    }

    fn report(&self, took: Duration, init: Option<Duration>, instance: Option<BootId>) -> Report<'_> {
        Report {
            request: self.id,
            revision: &self.revision,
            version: &self.version,
            took,
            init,
            instance,
        }
    }

    /// An event that comes from within: `event` is JSON.
    ///
    /// # Errors
    /// When there is no such function, or no room.
    pub(super) async fn within(gateway: &Gateway, address: Address, event: Vec<u8>) -> Result<Self, Fault> {
        let id = RequestId::new();
        let (revision, version) = find(gateway, &address, id)?;
        let mut charge = gateway.background.charge();
        let event = limits::collect(Body::from(event), background::MOST_EVENT, &mut charge).await?;
        Ok(Self {
            id,
            address,
            arrived: Instant::now(),
            time: Timestamp::now(),
            revision,
            version,
            event,
            context: None,
            trace_id: None,
            _charge: charge,
        })
    }

    /// Makes it one that comes now, for what its address means now.
    ///
    /// # Errors
    /// When nothing is there any more, or the server is shutting down.
    pub(super) fn begin_again(&mut self, gateway: &Gateway) -> Result<(), Fault> {
        (self.revision, self.version) = find(gateway, &self.address, self.id)?;
        (self.arrived, self.time) = (Instant::now(), Timestamp::now());
        Ok(())
    }

    /// Runs it. Dropping the future means that the caller left.
    ///
    /// # Errors
    /// When the function did not run, or the platform failed. What the function did wrong is in [`Ran`].
    pub(super) async fn run(&self, gateway: &Arc<Gateway>) -> Result<Ran, Fault> {
        let Called {
            made,
            invocation,
            begun,
            init,
            instance,
            timeout,
        } = match self.call(gateway).await? {
            Ok(called) => called,
            Err(error) => return Ok(Ran::failed(error, HeaderMap::new())),
        };
        let made = match made {
            Ok(Made::Result { boot_id, handler, json }) => Ok((boot_id, handler, json)),
            Ok(Made::Stream(answer)) => outcome::gathered(answer).await,
            Err(failed) => Err(failed),
        };
        let mut told = HeaderMap::new();
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

    /// Finds an instance and hands the event over. What comes inside is a failure of the function that left it without an instance.
    async fn call(&self, gateway: &Arc<Gateway>) -> Result<Result<Called, FunctionError>, Fault> {
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
                return told.map(Err);
            }
        };
        invocation.found(&lease);
        let init = Some(lease.phases().init).filter(|init| !init.is_zero());
        let instance = Some(lease.boot_id());
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
        Ok(Ok(Called {
            made,
            invocation,
            begun,
            init,
            instance,
            timeout,
        }))
    }

    fn frame(&self, deadline: Deadline, env: Vec<(String, String)>) -> Invoke {
        Invoke {
            request_id: self.id.to_string(),
            deadline_ms: deadline.epoch_ms(),
            trace_id: self.trace_id.clone(),
            arn: self.address.arn(),
            client_context: self.context.clone(),
            repeated: Default::default(),
            base_path: String::new(),
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
    /// The function's own result, or what it says about its failure.
    pub(super) fn into_payload(self) -> Result<Bytes, Bytes> {
        self.result.map_err(|error| error.into_json().into())
    }

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
