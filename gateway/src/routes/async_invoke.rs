//! `POST /async-function/NAME[/path]`, as OpenFaaS has it: accepted at once, run in the background, and the result sent on.
//!
//! ```text
//! POST --> function, length, callback --> body, whole --> 202 with X-Call-Id
//!                                                           \--> a call by HTTP like another --> POST of its reply to X-Callback-Url
//! ```
//!
//! What runs is the request as it came, with `X-Call-Id` and `X-Start-Time`. What was accepted and never ran is reported to the callback as well, with the
//! status that a caller who waits would have got.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use functions::FunctionName;
use futures_util::StreamExt;
use http::header::{ALLOW, CONTENT_LENGTH};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use jiff::Timestamp;

use super::invoke::{self, Call, Unanswered};
use crate::admission;
use crate::background::{self, Attempt, Job, Lost};
use crate::bodies::Charge;
use crate::callback::{Address, Sent};
use crate::exchange::MOST_RESULT;
use crate::gateway::Gateway;
use crate::limits;
use crate::outcome::{Code, Outcome};
use crate::reply;
use crate::request_id::RequestId;

/// The id of the call: what its caller sent, else the request's id.
const CALL_ID: HeaderName = HeaderName::from_static("x-call-id");
const CALLBACK_URL: HeaderName = HeaderName::from_static("x-callback-url");
/// When the call was accepted, in nanoseconds since the Unix epoch.
const START_TIME: HeaderName = HeaderName::from_static("x-start-time");
const FUNCTION_NAME: HeaderName = HeaderName::from_static("x-function-name");
const FUNCTION_STATUS: HeaderName = HeaderName::from_static("x-function-status");
const DURATION_SECONDS: HeaderName = HeaderName::from_static("x-duration-seconds");

/// Accepts a call, or says why not.
pub(crate) async fn async_invoke(gateway: &Arc<Gateway>, call: Call, request: Request<Body>) -> Response<Body> {
    let id = call.id;
    match accept(gateway, call, request).await {
        Ok((call_id, started)) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::ACCEPTED;
            let headers = response.headers_mut();
            headers.insert(reply::REQUEST_ID, id.header());
            headers.insert(CALL_ID, call_id);
            headers.insert(START_TIME, started);
            response
        }
        Err(outcome) => {
            outcome.log(id);
            gateway.telemetry.refused(outcome.code());
            let mut response = outcome.response(id);
            if outcome.code() == Code::MethodNotAllowed {
                response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            }
            response
        }
    }
}

async fn accept(
    gateway: &Arc<Gateway>,
    call: Call,
    request: Request<Body>,
) -> Result<(HeaderValue, HeaderValue), Outcome> {
    let (mut head, body) = request.into_parts();
    let revision = admission::find(gateway, &call.name)?;
    if head.method != Method::POST {
        let text = "a call in the background is a POST";
        return Err(Outcome::new(Code::MethodNotAllowed, text).close());
    }
    let callback = match head.headers.get(&CALLBACK_URL) {
        Some(address) => Some(gateway.callbacks.address(address)?),
        None => None,
    };
    let limit = revision.settings.max_body.as_u64().min(background::MOST_BODY);
    limits::check_declared(&head, limit).map_err(limits::BodyError::outcome)?;
    let mut charge = gateway.background.charge();
    let body = tokio::time::timeout(background::PATIENCE, limits::collect(body, limit, &mut charge))
        .await
        .map_err(|_| Outcome::new(Code::RequestTimeout, "the request's body did not arrive in time").close())?
        .map_err(limits::BodyError::outcome)?;
    // Nobody is there any more to speak another protocol with.
    reply::clean_request(&mut head.headers);
    let call_id = head.headers.entry(CALL_ID).or_insert_with(|| call.id.header()).clone();
    let started = HeaderValue::from_str(&call.time.as_nanosecond().to_string()).expect("digits are valid in a header");
    head.headers.insert(START_TIME, started.clone());
    head.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    let posted = Posted {
        call,
        head,
        body,
        callback,
        call_id: call_id.clone(),
        refused: None,
        charge,
    };
    gateway
        .background
        .accept(gateway.clone(), posted)
        .map_err(|full| Outcome::new(Code::QueueFull, full.to_string()))?;
    Ok((call_id, started))
}

/// A call that was accepted.
struct Posted {
    call: Call,
    head: Parts,
    body: Bytes,
    callback: Option<Address>,
    call_id: HeaderValue,
    /// What the last attempt would have answered, with the time that it took.
    refused: Option<(Response<Body>, Duration)>,
    /// The room that the body takes, and then that of the reply.
    charge: Charge,
}

impl Job for Posted {
    fn function(&self) -> &FunctionName {
        &self.call.name
    }

    fn id(&self) -> RequestId {
        self.call.id
    }

    async fn attempt(&mut self, gateway: &Arc<Gateway>) -> Attempt {
        // Each attempt has the time that a call has which comes now.
        let begun = Instant::now();
        (self.call.arrived, self.call.time) = (begun, Timestamp::now());
        let request = Request::from_parts(self.head.clone(), Body::from(self.body.clone()));
        let response = match invoke::answer(gateway, self.call.clone(), request).await {
            Ok(response) => response,
            Err(unanswered) => {
                let Unanswered { code, ran, response } = *unanswered;
                let reason = code.as_str().to_owned();
                let later = match code {
                    _ if ran => None,
                    Code::QueueFull | Code::Draining | Code::Unavailable | Code::Timeout => {
                        Some(Attempt::Later(reason))
                    }
                    Code::FunctionNotFound => Some(Attempt::Never(reason)),
                    _ => None,
                };
                if let Some(later) = later {
                    self.refused = Some((response, begun.elapsed()));
                    return later;
                }
                response
            }
        };
        self.deliver(gateway, response, begun).await;
        Attempt::Done
    }

    async fn lost(mut self, gateway: &Arc<Gateway>, _: Lost) {
        if let Some((response, took)) = self.refused.take()
            && let Some(callback) = self.callback.take()
        {
            let result = self.result(gateway, response).await;
            self.send(gateway, &callback, result, took).await;
        }
    }
}

impl Posted {
    /// Reads the reply to its end and sends it to the callback, if there is one.
    async fn deliver(&mut self, gateway: &Arc<Gateway>, response: Response<Body>, begun: Instant) {
        match self.callback.take() {
            Some(callback) => {
                let result = self.result(gateway, response).await;
                self.send(gateway, &callback, result, begun.elapsed()).await;
            }
            // A body that is dropped means a caller who left: the function would be stopped.
            None => {
                let mut body = response.into_body().into_data_stream();
                while let Some(Ok(_)) = body.next().await {}
            }
        }
    }

    /// The whole reply; one that breaks off, is too long, or finds no room is an error of ours.
    async fn result(&mut self, gateway: &Gateway, response: Response<Body>) -> (StatusCode, Sent) {
        let (head, body) = response.into_parts();
        // The request has done its work. The reply is held for minutes at most, and must not be lost because others wait for hours.
        self.body = Bytes::new();
        self.charge = gateway.bodies.charge();
        let error = match limits::collect(body, MOST_RESULT as u64, &mut self.charge).await {
            Ok(body) => {
                let headers = head.headers;
                return (head.status, Sent { headers, body });
            }
            Err(error) => error,
        };
        let outcome = match &error {
            limits::BodyError::TooLarge { limit } => Outcome::new(
                Code::BadReply,
                format!("the function's reply is over the limit of {limit} bytes"),
            ),
            limits::BodyError::NoRoom(_) => {
                Outcome::new(Code::Unavailable, "the server holds as many bodies as it may")
            }
            limits::BodyError::Broken(_) => Outcome::new(Code::BadReply, "the function's reply broke off"),
        };
        outcome.log(self.call.id);
        gateway.telemetry.refused(outcome.code());
        let (head, body) = outcome.response(self.call.id).into_parts();
        // It is short, and in memory.
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
        (
            head.status,
            Sent {
                headers: head.headers,
                body,
            },
        )
    }

    async fn send(
        &mut self,
        gateway: &Gateway,
        callback: &Address,
        (status, mut sent): (StatusCode, Sent),
        took: Duration,
    ) {
        let value =
            |text: &str| HeaderValue::from_str(text).expect("digits and a function's name are valid in a header");
        let headers = &mut sent.headers;
        headers.insert(CALL_ID, self.call_id.clone());
        headers.insert(FUNCTION_NAME, value(self.call.name.as_str()));
        headers.insert(FUNCTION_STATUS, HeaderValue::from(status.as_u16()));
        headers.insert(DURATION_SECONDS, value(&format!("{:.6}", took.as_secs_f64())));
        let end = gateway.callbacks.send(callback, sent, self.call.id).await;
        gateway.telemetry.callback(end);
    }
}
