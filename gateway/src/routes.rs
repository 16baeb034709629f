//! From a parsed request to whoever answers it: the first station.
//!
//! ```text
//! TCP     head limits --> Host --> function? --> invoke, or async_invoke
//!                                      \-------> /healthz /readyz /metrics, Lambda's API, else 404
//! socket  head limits --> /v1/functions/NAME/invoke --> invoke
//!                     \-> /v1/..., /metrics, else 404
//! ```
//!
//! Whatever answers, the reply carries `x-fn-request-id`.

mod async_invoke;
mod health;
pub(crate) mod invoke;
mod metrics;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use http::request::Parts;
use http::{Request, Response, header};
use hyper::body::Incoming;
use jiff::Timestamp;
use tower::ServiceExt;

use crate::admin::Problem;
use crate::gateway::Gateway;
use crate::outcome::{Code, Outcome};
use crate::reply;
use crate::request_id::RequestId;
use crate::resolve::{self, Target};
use crate::server::{Arrival, Framing};
use async_invoke::async_invoke;
use invoke::{Call, invoke};

/// The prefix of functions on the admin socket.
const ADMIN_FUNCTIONS: &str = "/v1/functions/";
/// What follows the name there.
const ADMIN_INVOKE: &str = "/invoke";

/// The gateway's own routes on TCP.
pub(crate) fn public(gateway: Arc<Gateway>) -> Router {
    with_fallbacks(
        Router::new()
            .merge(health::routes())
            .merge(metrics::routes())
            .merge(crate::lambda::routes())
            .with_state(gateway),
    )
}

/// The routes of the admin socket.
pub(crate) fn private(gateway: Arc<Gateway>) -> Router {
    let (admin, _) = crate::admin::routes();
    with_fallbacks(
        admin
            .merge(health::routes())
            .merge(metrics::routes())
            .with_state(gateway),
    )
}

/// Answers one request on TCP.
pub(crate) async fn serve_public(
    gateway: Arc<Gateway>,
    router: Router,
    arrival: Arrival,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    serve(&gateway, router, arrival, request, |head| {
        resolve::resolve(head, &gateway.hosts)
    })
    .await
}

/// Answers one request on the admin socket. Its file mode has said who may come; a browser can't reach it, so the Host is not looked at.
pub(crate) async fn serve_private(
    gateway: Arc<Gateway>,
    router: Router,
    arrival: Arrival,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    serve(&gateway, router, arrival, request, |head| {
        by_admin_path(head.uri.path())
    })
    .await
}

async fn serve(
    gateway: &Arc<Gateway>,
    router: Router,
    arrival: Arrival,
    request: Request<Incoming>,
    resolve: impl FnOnce(&Parts) -> Result<Target, Outcome>,
) -> Result<Response<Body>, Infallible> {
    let (arrived, time, id) = (Instant::now(), Timestamp::now(), RequestId::new());
    let (mut head, body) = request.into_parts();
    let target = framing(&head, arrival.framing)
        .and_then(|()| gateway.limits.check(&head))
        .and_then(|()| resolve(&head));
    let call = |name, alias, path_from| Call {
        id,
        arrived,
        time,
        source: arrival.peer.ip(),
        name,
        alias,
        path_from,
    };
    match target {
        Ok(Target::Function { name, alias, path_from }) => {
            let request = Request::from_parts(head, Body::new(body));
            Ok(invoke(gateway, call(name, alias, path_from), request).await)
        }
        Ok(Target::Background { name, path_from }) => {
            let request = Request::from_parts(head, Body::new(body));
            Ok(async_invoke(gateway, call(name, None, path_from), request).await)
        }
        Ok(Target::Platform) => {
            head.extensions.insert(id);
            let mut response = router.oneshot(Request::from_parts(head, Body::new(body))).await?;
            if let Some(problem) = response.extensions_mut().remove::<Problem>() {
                response = problem.response(id);
            }
            response.headers_mut().insert(reply::REQUEST_ID, id.header());
            Ok(response)
        }
        Err(outcome) => {
            outcome.log(id);
            gateway.telemetry.refused(outcome.code());
            Ok(outcome.response(id))
        }
    }
}

/// Refuses a request whose body could end in two places, or is coded in a way that nobody here takes apart.
fn framing(head: &Parts, seen: Framing) -> Result<(), Outcome> {
    if seen == Framing::Ambiguous {
        let text = "the request has both Content-Length and Transfer-Encoding";
        return Err(Outcome::new(Code::BadRequest, text).close());
    }
    let mut codings = head.headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(only), None) if only.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(Outcome::new(
            Code::BadRequest,
            "chunked is the only transfer coding that is understood",
        )
        .close()),
    }
}

/// `/v1/functions/NAME/invoke[/path]` is a call; everything else is the API.
fn by_admin_path(path: &str) -> Result<Target, Outcome> {
    let call = path
        .strip_prefix(ADMIN_FUNCTIONS)
        .and_then(|rest| rest.split_once('/'))
        .and_then(|(name, rest)| {
            let own = rest.strip_prefix(&ADMIN_INVOKE[1..])?;
            (own.is_empty() || own.starts_with('/')).then_some(name)
        });
    match call {
        Some(name) => {
            let path_from = ADMIN_FUNCTIONS.len() + name.len() + ADMIN_INVOKE.len();
            Ok(Target::Function {
                name: resolve::parse_name(name)?,
                alias: None,
                path_from,
            })
        }
        None => Ok(Target::Platform),
    }
}

/// Gives paths and methods that no route has a reply like every other error's.
fn with_fallbacks(router: Router) -> Router {
    router
        .fallback(async |request: Request<Body>| {
            crate::lambda::unknown(&request)
                .unwrap_or_else(|| refuse(&request, Code::NotFound, "there is no such route"))
        })
        .method_not_allowed_fallback(async |request: Request<Body>| {
            crate::lambda::unknown(&request)
                .unwrap_or_else(|| refuse(&request, Code::MethodNotAllowed, "this route has other methods"))
        })
}

fn refuse(request: &Request<Body>, code: Code, message: &'static str) -> Response<Body> {
    let id = request.extensions().get().copied().unwrap_or_default();
    Outcome::new(code, message).response(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_over_the_admin_socket_are_told_from_the_api() {
        let call = |path: &str| match by_admin_path(path) {
            Ok(Target::Function { name, path_from, .. }) => Some((name.to_string(), path[path_from..].to_owned())),
            _ => None,
        };
        assert_eq!(call("/v1/functions/a/invoke"), Some(("a".into(), String::new())));
        assert_eq!(call("/v1/functions/a/invoke/"), Some(("a".into(), "/".into())));
        assert_eq!(
            call("/v1/functions/a/invoke/x/invoke"),
            Some(("a".into(), "/x/invoke".into()))
        );
        for path in [
            "/v1/functions/a",
            "/v1/functions/a/invoked",
            "/v1/functions/a/evict",
            "/v1/functions",
            "/function/a",
        ] {
            assert_eq!(by_admin_path(path).unwrap(), Target::Platform, "{path}");
        }
        assert!(by_admin_path("/v1/functions/../invoke").is_err());
        assert!(by_admin_path("/v1/functions/a%2fb/invoke").is_err());
    }
}
