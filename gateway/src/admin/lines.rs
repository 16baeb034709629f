//! A reply that is a line of JSON for each thing: what there is, and if that is wanted what comes, until the server drains.

use std::convert::Infallible;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::HeaderValue;
use http::header::CONTENT_TYPE;

use crate::server::Drain;

/// `past`, and behind it `coming`. Each item is a whole line with its end.
pub(super) fn lines(
    past: impl Stream<Item = Bytes> + Send + 'static,
    coming: Option<impl Stream<Item = Bytes> + Send + 'static>,
    drain: &Drain,
) -> Response {
    let body = match coming {
        Some(coming) => {
            let ended = drain.clone();
            let all = past.chain(coming).take_until(async move { ended.begun().await });
            Body::from_stream(all.map(Ok::<_, Infallible>))
        }
        None => Body::from_stream(past.map(Ok::<_, Infallible>)),
    };
    let mut response = Response::new(body);
    let kind = HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
