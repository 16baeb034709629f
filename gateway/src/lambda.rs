//! Lambda's Invoke and control API, for the clients that people have: boto3, the AWS command line, the SDKs.
//!
//! | module | answers |
//! |---|---|
//! | `address`, `lookup` | which function, which qualifier, which revision |
//! | `keys`, `signature`, `signed` | who may use the control API |
//! | `invoke`, `events`, `event_stream`, `log_tail` | Invoke: waited for, streamed, in the background, with its log |
//! | `functions`, `configuration`, `code` | what is created, changed and deleted |
//! | `layers`, `layered`, `promise` | layers: versions of them, how they get into a function's code, and what stays until then |
//! | `event_config` | what becomes of events that fail |
//! | `urls` | function URL configs |
//! | `provisioned` | instances that are kept for a version |
//! | `facet` | how a setting of these is read, changed and kept |
//! | `versions`, `tags`, `concurrency`, `account`, `pages`, `query` | versions and aliases, tags, limits, lists |
//! | `fault` | errors in the form of this API |
//!
//! Control calls need a signature of version 4 made with the server's own key pair. Invoke does not: it follows the function's auth, like
//! every other way to call a function. What is supported and what differs stands in `docs/contracts/lambda-api.md`.

mod account;
mod address;
mod code;
pub(crate) mod concurrency;
mod configuration;
mod event_config;
mod event_stream;
mod events;
mod facet;
mod fault;
mod functions;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod invoke;
pub(crate) mod keys;
mod layered;
mod layers;
mod log_tail;
mod lookup;
mod pages;
mod promise;
mod provisioned;
mod query;
mod signature;
mod signed;
mod tags;
mod urls;
mod versions;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use http::HeaderName;

pub(crate) use address::{REGION, function_arn};
pub use keys::{KeyError, KeyPair};
pub(crate) use lookup::revision_of_alias;
pub(crate) use provisioned::{Kept, kept as kept_of};
pub(crate) use urls::{Rules, rules as rules_of_urls};

use crate::gateway::Gateway;
use crate::request_id::RequestId;
use fault::{Fault, Kind};

/// How AWS calls the id of a request.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");

/// The routes.
pub(crate) fn routes() -> Router<Arc<Gateway>> {
    Router::new()
        .route("/2015-03-31/functions/{name}/invocations", post(invoke::invoke))
        .route(
            "/2021-11-15/functions/{name}/response-streaming-invocations",
            post(invoke::invoke_with_response_stream),
        )
        .route("/2015-03-31/functions", get(functions::list).post(functions::create))
        .route("/2015-03-31/functions/", get(functions::list).post(functions::create))
        .route(
            "/2015-03-31/functions/{name}",
            get(functions::get).delete(functions::delete),
        )
        .route("/2015-03-31/functions/{name}/code", put(functions::update_code))
        .route(
            "/2015-03-31/functions/{name}/configuration",
            get(functions::get_configuration).put(functions::update_configuration),
        )
        .route(
            "/2015-03-31/functions/{name}/versions",
            get(versions::list).post(versions::publish),
        )
        .route(
            "/2015-03-31/functions/{name}/aliases",
            get(versions::list_aliases).post(versions::create_alias),
        )
        .route(
            "/2015-03-31/functions/{name}/aliases/{alias}",
            get(versions::get_alias)
                .put(versions::update_alias)
                .delete(versions::delete_alias),
        )
        .route(
            "/2021-10-31/functions/{name}/url",
            get(urls::get).post(urls::create).put(urls::update).delete(urls::delete),
        )
        .route(
            "/2019-09-25/functions/{name}/event-invoke-config",
            get(event_config::get)
                .put(event_config::put)
                .post(event_config::update)
                .delete(event_config::delete),
        )
        .route(
            "/2019-09-25/functions/{name}/event-invoke-config/list",
            get(event_config::list),
        )
        .route("/2021-10-31/functions/{name}/urls", get(urls::list))
        .route(
            "/2017-10-31/functions/{name}/concurrency",
            put(concurrency::put).delete(concurrency::delete),
        )
        .route("/2019-09-30/functions/{name}/concurrency", get(concurrency::get))
        .route(
            "/2019-09-30/functions/{name}/provisioned-concurrency",
            get(provisioned::get).put(provisioned::put).delete(provisioned::delete),
        )
        .route(
            "/2017-03-31/tags/{arn}",
            get(tags::list).post(tags::add).delete(tags::remove),
        )
        .merge(layers::routes())
        .route("/2016-08-19/account-settings", get(account::settings))
        .route("/2016-08-19/account-settings/", get(account::settings))
        .layer(middleware::from_fn(named))
}

/// Names the request as this API's clients look for it.
async fn named(request: Request, next: Next) -> Response {
    let id = id(&request);
    let mut response = next.run(request).await;
    response.headers_mut().insert(REQUEST_ID, id.header());
    response
}

fn id(request: &Request) -> RequestId {
    request.extensions().get::<RequestId>().copied().unwrap_or_default()
}

/// The answer to a path of this API that has no route here; `None` for a path that is not of this API. Its paths begin with the date of the
/// operation's version.
pub(crate) fn unknown(request: &Request<Body>) -> Option<Response> {
    let path = request.uri().path().as_bytes();
    let date = path.len() > 12
        && path[0] == b'/'
        && path[11] == b'/'
        && path[1..11].iter().enumerate().all(|(at, byte)| {
            if matches!(at, 4 | 7) {
                *byte == b'-'
            } else {
                byte.is_ascii_digit()
            }
        });
    date.then(|| {
        let text = "this server does not have this operation; docs/contracts/lambda-api.md lists those that it has";
        let mut response = Fault::new(Kind::UnknownOperation, text).into_response();
        response.headers_mut().insert(REQUEST_ID, id(request).header());
        response
    })
}
