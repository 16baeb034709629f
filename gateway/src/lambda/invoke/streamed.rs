//! `POST /2021-11-15/functions/NAME/response-streaming-invocations`: the result comes back while it is made.
//!
//! ```text
//! PayloadChunk*, InvokeComplete     what a handler returns, in one chunk or more
//!                                   what a function streams, piece by piece; a reply with a head of its own begins with that, as JSON and eight NUL
//!                                   bytes, which is what HTTP integrations of Lambda send
//! ```
//!
//! A failure of the function stands in `InvokeComplete`, before or after chunks. Dropping the body means that the caller left, and ends the call.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use functions::BootId;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::json;
use tokio::sync::oneshot;

use super::options::{Tail, Wanted};
use super::outcome::{self, FunctionError};
use super::{Asked, Called, EXECUTED_VERSION};
use crate::exchange::{Answer, Content, Errors, Failed, Made};
use crate::gateway::Gateway;
use crate::invocation::Invocation;
use crate::lambda::fault::Fault;
use crate::lambda::functions::Qualified;
use crate::lambda::query::Parameters;
use crate::lambda::{event_stream, log_tail};
use crate::request_id::RequestId;
use crate::routes::invoke as by_http;

/// Most bytes of one chunk of a result that is whole.
const CHUNK: usize = 1024 * 1024;

/// InvokeWithResponseStream.
pub(in crate::lambda) async fn invoke_with_response_stream(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
    Parameters(Qualified { qualifier }): Parameters<Qualified>,
    request: Request<Body>,
) -> Result<Response, Fault> {
    let (asked, options) = Asked::take_in(&gateway, &name, qualifier.as_deref(), request).await?;
    match options.wanted {
        Wanted::RequestResponse => {}
        Wanted::DryRun => return Ok(StatusCode::NO_CONTENT.into_response()),
        Wanted::Event => {
            return Err(Fault::invalid(
                "X-Amz-Invocation-Type is neither RequestResponse nor DryRun, and an event has no answer to stream",
            ));
        }
    }
    let mut told = HeaderMap::new();
    let (pieces, begun, init, instance) = match asked.call(&gateway).await? {
        Err(error) => (Pieces::failed(error), Instant::now(), None, None),
        Ok(Called {
            made,
            invocation,
            begun,
            init,
            instance,
            timeout,
        }) => {
            let answered = match &made {
                Ok(Made::Result { boot_id, handler, .. }) => Some((*boot_id, *handler)),
                Ok(Made::Stream(answer)) => Some((answer.boot_id, answer.handler)),
                Err(_) => None,
            };
            invocation.tell(&mut told, answered);
            let open = Open {
                id: asked.id,
                timeout,
                invocation,
            };
            let pieces = match made {
                Ok(Made::Result { json, .. }) => {
                    open.end(Ok(()));
                    Pieces::whole(json)
                }
                Ok(Made::Stream(answer)) => Pieces::of(answer, open),
                Err(failed) => Pieces::failed(open.failed(failed)),
            };
            (pieces, begun, init, instance)
        }
    };
    told.insert(CONTENT_TYPE, HeaderValue::from_static(event_stream::CONTENT_TYPE));
    told.insert(EXECUTED_VERSION, asked.version_header());
    let events = Events {
        gateway,
        asked,
        tail: options.tail,
        begun,
        init,
        instance,
        pieces,
        complete: false,
    };
    let events = futures_util::stream::unfold(events, |mut events| async move {
        let event = events.next().await?;
        Some((Ok::<_, Infallible>(event), events))
    });
    let mut response = Response::new(Body::from_stream(events));
    *response.headers_mut() = told;
    Ok(response)
}

/// A call whose account is open.
struct Open {
    id: RequestId,
    timeout: Duration,
    invocation: Invocation,
}

impl Open {
    /// Ends the account. What comes of it is the failure of the function.
    fn end(self, result: Result<(), Failed>) -> Option<FunctionError> {
        match result {
            Ok(()) => {
                self.invocation.end(StatusCode::OK.as_u16());
                None
            }
            Err(failed) => Some(self.failed(failed)),
        }
    }

    fn failed(self, failed: Failed) -> FunctionError {
        let said = outcome::after(&failed, self.id, self.timeout);
        let counted = by_http::failure(failed, Errors::Hidden, &self.invocation);
        self.invocation.end_with(&counted);
        said
    }
}

/// What is still to be sent of a result.
#[derive(Default)]
struct Pieces {
    ready: VecDeque<Bytes>,
    flowing: Option<Flowing>,
    /// How it ended, once nothing is ready or flowing.
    failed: Option<FunctionError>,
}

/// What a function is still making.
struct Flowing {
    body: Body,
    lost: FunctionError,
    ended: oneshot::Receiver<Option<FunctionError>>,
}

impl Pieces {
    fn failed(error: FunctionError) -> Self {
        Self {
            failed: Some(error),
            ..Self::default()
        }
    }

    fn whole(mut bytes: Bytes) -> Self {
        let mut pieces = Self::default();
        pieces.push(&mut bytes);
        pieces
    }

    fn push(&mut self, bytes: &mut Bytes) {
        while !bytes.is_empty() {
            self.ready.push_back(bytes.split_to(bytes.len().min(CHUNK)));
        }
    }

    fn of(answer: Answer, open: Open) -> Self {
        let mut pieces = Self::default();
        if !answer.bare {
            pieces.push(&mut outcome::prelude(answer.head));
        }
        match answer.body {
            Content::Whole(mut body) => {
                pieces.push(&mut body);
                pieces.failed = open.end(Ok(()));
            }
            // Nobody asked for another protocol.
            Content::Tunnel(_) => return Self::failed(open.failed(Failed::HungUp)),
            Content::Flowing(flow) => {
                let (tell, told) = oneshot::channel();
                pieces.flowing = Some(Flowing {
                    // What is said when nobody says how it ended.
                    lost: outcome::after(&Failed::ClientGone, open.id, open.timeout),
                    body: flow.start(move |result| drop(tell.send(open.end(result)))),
                    ended: told,
                });
            }
        }
        pieces
    }

    /// The next one. `None` when there is none left; then [`Pieces::failed`] says how it ended.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(piece) = self.ready.pop_front() {
            return Some(piece);
        }
        let flowing = self.flowing.as_mut()?;
        while let Some(Ok(frame)) = flowing.body.frame().await {
            if let Ok(piece) = frame.into_data() {
                return Some(piece);
            }
        }
        let flowing = self.flowing.take()?;
        self.failed = flowing.ended.await.unwrap_or(Some(flowing.lost));
        None
    }
}

/// The messages of a reply, one after the other.
struct Events {
    gateway: Arc<Gateway>,
    asked: Asked,
    tail: Tail,
    begun: Instant,
    init: Option<Duration>,
    instance: Option<BootId>,
    pieces: Pieces,
    complete: bool,
}

impl Events {
    async fn next(&mut self) -> Option<Bytes> {
        if self.complete {
            return None;
        }
        if let Some(piece) = self.pieces.next().await {
            return Some(event_stream::event("PayloadChunk", "application/octet-stream", &piece));
        }
        self.complete = true;
        let mut document = json!({});
        if let Some(error) = self.pieces.failed.take() {
            document["ErrorCode"] = json!(error.error_type());
            document["ErrorDetails"] = json!(String::from_utf8_lossy(&error.into_json()));
        }
        if self.tail == Tail::Wanted {
            let report = self.asked.report(self.begun.elapsed(), self.init, self.instance);
            document["LogResult"] = json!(log_tail::result(&self.gateway, &report).await);
        }
        let document = document.to_string();
        Some(event_stream::event(
            "InvokeComplete",
            "application/json",
            document.as_bytes(),
        ))
    }
}
