//! `ANY /function/NAME[/path]`, `NAME.localhost`, `ALIAS.NAME.localhost`, and the admin API's way to the same functions: one request through the five stations.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use bytes::Bytes;
use functions::payload::{self, RequestHead};
use functions::wire::Invoke;
use functions::{FunctionName, Protocol, Revision, Runtime};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use jiff::Timestamp;
use warm_pool::{AcquireError, Fate, Lease, StartFailure};

use crate::admission::{self, Admitted};
use crate::cors;
use crate::exchange::{self, Answer, Asked, Content, Errors, Failed, Upload};
use crate::gateway::Gateway;
use crate::invocation::Invocation;
use crate::limits;
use crate::live::Delivery;
use crate::outcome::{Code, Outcome, Retry};
use crate::reply;
use crate::request_id::RequestId;
use crate::server::Takeover;

/// A request that is known to be for a function.
#[derive(Clone)]
pub(crate) struct Call {
    /// Its id.
    pub(crate) id: RequestId,
    /// When its head was complete.
    pub(crate) arrived: Instant,
    /// The same on the wall clock.
    pub(crate) time: Timestamp,
    /// The caller's address.
    pub(crate) source: IpAddr,
    /// The function.
    pub(crate) name: FunctionName,
    /// The alias of it that was named.
    pub(crate) alias: Option<String>,
    /// Where the function's own path starts in the request's raw path.
    pub(crate) path_from: usize,
}

/// Answers a request. The reply always has `x-fn-request-id`, and the other `x-fn-*` once an instance was found. Where the function has rules for pages
/// of other origins, the reply goes by them.
pub(crate) async fn invoke(gateway: &Arc<Gateway>, call: Call, request: Request<Body>) -> Response<Body> {
    let revision = match find(gateway, &call) {
        Ok(revision) => revision,
        Err(unanswered) => return unanswered.response,
    };
    let url = gateway.live.url(&call.name, call.alias.as_deref());
    let delivery = url.as_deref().map(|rules| rules.delivery).unwrap_or_default();
    let of_url = url.as_deref().and_then(|rules| rules.cors.as_ref());
    let Some(cors) = of_url.or(revision.settings.cors.as_ref()) else {
        return run(gateway, revision, call, delivery, request)
            .await
            .unwrap_or_else(|unanswered| unanswered.response);
    };
    let (head, body) = request.into_parts();
    if let Some(mut answer) = cors::preflight(cors, &head) {
        answer.headers_mut().insert(reply::REQUEST_ID, call.id.header());
        return answer;
    }
    let origin = head.headers.get(header::ORIGIN).cloned();
    let request = Request::from_parts(head, body);
    let answered = run(gateway, revision.clone(), call, delivery, request).await;
    let mut response = answered.unwrap_or_else(|unanswered| unanswered.response);
    cors::mark(cors, origin.as_ref(), response.headers_mut());
    response
}

/// A call that got no reply of its function.
pub(crate) struct Unanswered {
    /// Why.
    pub(crate) code: Code,
    /// Whether it had an instance and was sent to it: the function may have done part of the work.
    pub(crate) ran: bool,
    /// What its caller reads.
    pub(crate) response: Response<Body>,
}

/// The same without the rules, for who has to know whether it was the function that replied.
pub(crate) async fn answer(
    gateway: &Arc<Gateway>,
    call: Call,
    request: Request<Body>,
) -> Result<Response<Body>, Box<Unanswered>> {
    run(gateway, find(gateway, &call)?, call, Delivery::AsMade, request).await
}

/// The revision that is called: the live one, or that of the alias.
fn find(gateway: &Gateway, call: &Call) -> Result<Arc<Revision>, Box<Unanswered>> {
    let found = admission::find(gateway, &call.name).and_then(|live| match &call.alias {
        None => Ok(live),
        Some(alias) => crate::lambda::revision_of_alias(gateway, &call.name, alias, call.id).ok_or_else(|| {
            let text = format!("the function {} has no alias {alias}", call.name);
            Outcome::new(Code::FunctionNotFound, text)
        }),
    });
    found.map_err(|outcome| {
        outcome.log(call.id);
        gateway.telemetry.refused(outcome.code());
        Box::new(Unanswered {
            code: outcome.code(),
            ran: false,
            response: outcome.response(call.id),
        })
    })
}

async fn run(
    gateway: &Arc<Gateway>,
    revision: Arc<Revision>,
    call: Call,
    delivery: Delivery,
    request: Request<Body>,
) -> Result<Response<Body>, Box<Unanswered>> {
    let (mut head, body) = request.into_parts();
    let mut invocation = Invocation::new(gateway.clone(), revision.clone(), call.id, call.arrived);
    let takes_trailers = exchange::takes_trailers(head.version, &head.headers);
    let answered = async {
        invocation.enter()?;
        let admitted = admission::admit(revision, &head, call.arrived, call.time)?;
        let upgrade = Asked::upgrade(head.version, &head.headers);
        reply::clean_request(&mut head.headers);
        match admitted.revision.settings.runtime {
            Runtime::Python | Runtime::Node | Runtime::Lambda => {
                handler(gateway, &call, &admitted, &head, body, &mut invocation).await
            }
            Runtime::Stdio => stdio(gateway, &call, &admitted, &head, body, &mut invocation).await,
            Runtime::Http | Runtime::Fdk => {
                http(gateway, &call, &admitted, &head, upgrade, body, &mut invocation).await
            }
        }
    };
    let answered = answered.await.and_then(|answer| checked(gateway, &call, answer));
    let delivered = match answered {
        Ok(answer) if delivery == Delivery::Whole && head.method != Method::HEAD => whole(answer)
            .await
            .map_err(|failed| failure(failed, gateway.errors, &invocation)),
        answered => answered,
    };
    match delivered {
        Ok(answer) => {
            let trailers = answer.trailers().filter(|_| takes_trailers);
            let mut response = respond(answer, &head.method, invocation);
            if let Some(names) = trailers {
                // They stand behind chunks, and never behind a body of known length.
                response.headers_mut().remove(header::CONTENT_LENGTH);
                response.headers_mut().insert(header::TRAILER, names);
            }
            Ok(response)
        }
        Err(outcome) => {
            let mut response = outcome.response(call.id);
            invocation.tell(response.headers_mut(), None);
            let ran = invocation.has_instance() && outcome.code().retry() != Retry::Later;
            invocation.end_with(&outcome);
            Err(Box::new(Unanswered {
                code: outcome.code(),
                ran,
                response,
            }))
        }
    }
}

async fn handler(
    gateway: &Gateway,
    call: &Call,
    admitted: &Admitted,
    head: &Parts,
    body: Body,
    invocation: &mut Invocation,
) -> Result<Answer, Outcome> {
    let limit = admitted.revision.settings.max_body.as_u64();
    // Held to the end of the call, with the event that is made of the body.
    let mut charge = gateway.bodies.charge();
    let collected = limits::collect(body, limit, &mut charge);
    let body = match admitted.deadline.bound(collected).await {
        Ok(collected) => collected.map_err(limits::BodyError::outcome)?,
        Err(_) => return Err(Outcome::new(Code::RequestTimeout, "the request's body did not arrive in time").close()),
    };
    let id = call.id.to_string();
    let request = seen(call, head, &id);
    let event = Bytes::from(payload::event(&request, &body));
    let repeated = payload::repeated(&request);
    drop(body);
    let lease = acquire(gateway, admitted, invocation).await?;
    exchange::handler(
        lease,
        Invoke {
            repeated,
            base_path: base_path(head.uri.path().get(..call.path_from).unwrap_or_default()),
            ..asked(call, admitted, head, id, Vec::new())
        },
        event,
        admitted.deadline,
    )
    .await
    .map_err(|failed| failure(failed, gateway.errors, invocation))
}

async fn stdio(
    gateway: &Gateway,
    call: &Call,
    admitted: &Admitted,
    head: &Parts,
    body: Body,
    invocation: &mut Invocation,
) -> Result<Answer, Outcome> {
    let id = call.id.to_string();
    let env = payload::cgi_env(&seen(call, head, &id));
    let lease = acquire(gateway, admitted, invocation).await?;
    let upload = Upload::new(body, admitted.revision.settings.max_body.as_u64());
    exchange::stdio(lease, asked(call, admitted, head, id, env), upload, admitted.deadline)
        .await
        .map_err(|failed| failure(failed, gateway.errors, invocation))
}

async fn http(
    gateway: &Gateway,
    call: &Call,
    admitted: &Admitted,
    head: &Parts,
    upgrade: Option<HeaderValue>,
    body: Body,
    invocation: &mut Invocation,
) -> Result<Answer, Outcome> {
    let settings = &admitted.revision.settings;
    let asked = Asked {
        path: own_path(call, head),
        source: call.source,
        request_id: call.id.header(),
        // HTTP/2 has another way to do that, which is not spoken here.
        upgrade: upgrade.filter(|_| settings.http.protocol == Protocol::Http1),
    };
    let head = exchange::forwarded(head.clone(), asked);
    let lease = acquire(gateway, admitted, invocation).await?;
    let limit = settings.max_body.as_u64();
    let (id, deadline) = (call.id.to_string(), admitted.deadline);
    let answered = match settings.runtime {
        Runtime::Fdk => exchange::fdk(lease, &id, head, body, limit, deadline).await,
        _ => exchange::http(lease, &id, head, body, limit, deadline).await,
    };
    answered.map_err(|failed| failure(failed, gateway.errors, invocation))
}

/// The path below the function.
fn own_path<'a>(call: &Call, head: &'a Parts) -> &'a str {
    head.uri
        .path()
        .get(call.path_from..)
        .filter(|path| !path.is_empty())
        .unwrap_or("/")
}

/// Where the function is called, of what stands before its own path, so that what it links to leads back: empty where it has a host of its own, and for the admin API, whose paths nobody
/// links to. What nobody waits for is linked to where its reply is seen.
fn base_path(before: &str) -> String {
    match before.strip_prefix("/async-function/") {
        Some(name) => format!("/function/{name}"),
        None if before.starts_with("/function/") => before.to_owned(),
        None => String::new(),
    }
}

/// The request as the function sees it.
fn seen<'a>(call: &'a Call, head: &'a Parts, id: &'a str) -> RequestHead<'a> {
    let path = own_path(call, head);
    RequestHead {
        function: &call.name,
        request_id: id,
        method: &head.method,
        path,
        query: head.uri.query(),
        version: head.version,
        headers: &head.headers,
        host: head
            .headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok())
            .unwrap_or_default(),
        scheme: "http",
        source_ip: call.source,
        trace_id: trace(head),
        time: call.time,
    }
}

/// The trace id that a request carries.
pub(crate) fn trace(head: &Parts) -> Option<&str> {
    head.headers
        .get("x-amzn-trace-id")
        .and_then(|trace| trace.to_str().ok())
}

fn asked(call: &Call, admitted: &Admitted, head: &Parts, id: String, env: Vec<(String, String)>) -> Invoke {
    Invoke {
        request_id: id,
        deadline_ms: admitted.deadline.epoch_ms(),
        trace_id: trace(head).map(str::to_owned),
        // Handlers take it apart by its colons, so it has Lambda's shape.
        arn: match &call.alias {
            Some(alias) => format!("{}:{alias}", crate::lambda::function_arn(&call.name)),
            None => crate::lambda::function_arn(&call.name),
        },
        client_context: None,
        repeated: BTreeMap::new(),
        base_path: String::new(),
        env,
    }
}

async fn acquire(gateway: &Gateway, admitted: &Admitted, invocation: &mut Invocation) -> Result<Lease, Outcome> {
    // The body may have taken seconds to arrive. A function that was removed meanwhile must not be started again by it.
    admission::known(gateway, &admitted.revision.name)?;
    match gateway.pool.acquire(&admitted.revision, admitted.deadline.at()).await {
        Ok(lease) => {
            invocation.found(&lease);
            Ok(lease)
        }
        Err(error) => Err(no_lease(&error, gateway.errors, invocation)),
    }
}

/// What a call by HTTP gets that got no lease.
pub(crate) fn no_lease(error: &AcquireError, errors: Errors, invocation: &Invocation) -> Outcome {
    let detail = exchange::chain(error);
    let outcome = match error {
        AcquireError::QueueFull => Outcome::new(Code::QueueFull, "too many requests wait for this function"),
        AcquireError::Deadline => Outcome::new(Code::Timeout, "no instance of the function was free in time"),
        AcquireError::Closing => Outcome::new(Code::Draining, "the server is shutting down").close(),
        AcquireError::Removed => Outcome::new(Code::FunctionNotFound, "the function was removed"),
        AcquireError::StartFailed(cause) => match &**cause {
            StartFailure::Init(failure) => {
                invocation.log_failure(failure);
                return exchange::function_error(
                    Code::InitError,
                    "the function's code could not be loaded",
                    failure,
                    errors,
                );
            }
            StartFailure::NotListening { .. } => Outcome::new(
                Code::InitError,
                "the function's server did not listen on its port in time",
            ),
            StartFailure::InitTimeout(_) => Outcome::new(Code::InitError, "the function's code was not loaded in time"),
            StartFailure::Died(Fate::OutOfMemory) => {
                Outcome::new(Code::OutOfMemory, "the function ran out of memory while it was loaded")
            }
            StartFailure::Died(_) => {
                Outcome::new(Code::FunctionExited, "the function's process ended while it was loaded")
            }
            StartFailure::Protocol(_) => Outcome::new(Code::ProtocolError, "the function's process broke the protocol"),
            StartFailure::CalledOff => Outcome::new(Code::Unavailable, "the start of the function was called off"),
            _ => Outcome::new(Code::StartFailed, "the function could not be started"),
        },
        _ => Outcome::new(Code::Unavailable, "the function can't be served now"),
    };
    outcome.detail(detail)
}

/// What a call by HTTP gets whose exchange failed.
pub(crate) fn failure(failed: Failed, errors: Errors, invocation: &Invocation) -> Outcome {
    if let Failed::Function(failure) = &failed {
        invocation.log_failure(failure);
    }
    failed.outcome(errors)
}

/// Takes from an answer what a function may not say, and refuses one that is too big. Dropping a refused answer ends its call.
fn checked(gateway: &Gateway, call: &Call, mut answer: Answer) -> Result<Answer, Outcome> {
    let dropped = reply::clean_reply(&mut answer.head.headers);
    gateway.telemetry.dropped_headers(&call.name, dropped);
    // The one reply that is not final, which was asked for.
    let status = match answer.body {
        Content::Tunnel(_) => StatusCode::OK,
        _ => answer.head.status,
    };
    match reply::check(status, &answer.head.headers) {
        Ok(()) => Ok(answer),
        Err(error) => {
            let text = "the function answered with something that is no HTTP reply";
            Err(Outcome::new(Code::BadReply, text).detail(format!("the function's reply: {error}")))
        }
    }
}

/// Waits for the rest of an answer that flows. One without a body flows to nobody, as ever.
async fn whole(answer: Answer) -> Result<Answer, Failed> {
    match answer.body {
        Content::Flowing(flow) if !reply::is_bodiless(answer.head.status) => {
            let body = flow.gather().await?;
            Ok(Answer {
                length: Some(body.len() as u64),
                body: Content::Whole(body),
                ..answer
            })
        }
        body => Ok(Answer { body, ..answer }),
    }
}

fn respond(answer: Answer, method: &Method, invocation: Invocation) -> Response<Body> {
    let Answer {
        boot_id,
        handler,
        head,
        bare: _,
        length,
        body,
    } = answer;
    let status = head.status;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    *response.headers_mut() = head.headers;
    invocation.tell(response.headers_mut(), Some((boot_id, handler)));
    let bodiless = reply::is_bodiless(status);
    if let Some(length) = length.filter(|_| !bodiless) {
        response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    }
    match body {
        Content::Whole(bytes) => {
            if !bodiless {
                *response.body_mut() = Body::from(bytes);
            }
            invocation.end(status.as_u16());
        }
        Content::Tunnel(tunnel) => {
            let headers = response.headers_mut();
            headers.insert(header::UPGRADE, tunnel.protocol());
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            let takeover = Takeover::new(move |caller| async move {
                match tunnel.run(caller).await {
                    Ok(()) => invocation.end(status.as_u16()),
                    Err(failed) => invocation.end_with(&failed.outcome(Errors::Hidden)),
                }
            });
            response.extensions_mut().insert(takeover);
        }
        Content::Flowing(flow) => {
            let ended = move |result: Result<(), Failed>| match result {
                Ok(()) => invocation.end(status.as_u16()),
                // The head is out: the status can't be taken back, but the account tells what happened.
                Err(failed) => {
                    let outcome = failure(failed, Errors::Hidden, &invocation);
                    invocation.end_with(&outcome);
                }
            };
            if bodiless || *method == Method::HEAD {
                flow.drain(ended);
            } else {
                *response.body_mut() = flow.start(ended);
            }
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::base_path;

    #[test]
    fn links_lead_to_where_replies_are_seen() {
        for (before, expected) in [
            ("", ""),
            ("/function/a", "/function/a"),
            ("/async-function/a", "/function/a"),
            ("/v1/functions/a/invoke", ""),
        ] {
            assert_eq!(base_path(before), expected, "{before}");
        }
    }
}
