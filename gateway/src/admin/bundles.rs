//! `HEAD|POST /v1/bundles`: code on its way into the store.

use std::io::{self, Read};
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use bytes::{Buf, Bytes};
use ::functions::Digest;
use ::functions::bundle::BundleError;
use ::functions::store::StoreError;
use http::StatusCode;
use http_body_util::BodyExt;
use serde::Serialize;
use tokio::sync::mpsc;
use utoipa::ToSchema;

use super::Problem;
use crate::gateway::Gateway;
use crate::outcome::Code;

/// What the store made of a bundle.
#[derive(Serialize, ToSchema)]
pub(crate) struct Bundle {
    /// SHA-256 of the archive, in hexadecimal: the name under which it is deployed.
    #[schema(value_type = String)]
    digest: Digest,
    /// Bytes of the archive.
    bytes: u64,
    /// Files and links in it.
    files: u64,
}

/// Whether the store has a bundle: then it need not be sent.
#[utoipa::path(
    head, path = "/v1/bundles/{digest}", tag = "bundles",
    params(("digest" = String, Path, description = "SHA-256 in hexadecimal")),
    responses((status = 200, description = "It has"), (status = 404, description = "It has not")),
)]
pub(super) async fn has(State(gateway): State<Arc<Gateway>>, Path(digest): Path<String>) -> Result<StatusCode, Problem> {
    let digest: Digest = digest.parse().map_err(|_| Problem::of(Code::BadRequest, "a digest has 64 hexadecimal digits"))?;
    let store = gateway.store.clone();
    let has = tokio::task::spawn_blocking(move || store.has_bundle(&digest)).await.map_err(|error| Problem::internal(&error))?;
    Ok(if has { StatusCode::OK } else { StatusCode::NOT_FOUND })
}

/// Takes in a bundle: a tar archive as `fn deploy` packs it. It is checked while it comes in; one that no function names is removed at the next start.
#[utoipa::path(
    post, path = "/v1/bundles", tag = "bundles",
    request_body(content = Vec<u8>, content_type = "application/x-tar"),
    responses(
        (status = 200, body = Bundle),
        (status = 422, description = "The archive is refused; `code` says why", body = super::problem::ErrorDocument),
        (status = 507, description = "The disk is full", body = super::problem::ErrorDocument),
    ),
)]
pub(super) async fn add(State(gateway): State<Arc<Gateway>>, body: Body) -> Result<Json<Bundle>, Problem> {
    let (sender, receiver) = mpsc::channel(4);
    let store = gateway.store.clone();
    let adding = tokio::task::spawn_blocking(move || store.add_bundle(Incoming { receiver, piece: Bytes::new(), ended: false }));
    feed(body, sender).await;
    let added = adding.await.map_err(|error| Problem::internal(&error))?.map_err(|error| refused(&error))?;
    Ok(Json(Bundle { digest: added.digest, bytes: added.bytes, files: added.files }))
}

/// A store error as a problem.
pub(super) fn refused(error: &StoreError) -> Problem {
    let status = match error {
        StoreError::DiskFull { .. } => StatusCode::INSUFFICIENT_STORAGE,
        StoreError::Bundle(BundleError::Receive { .. }) => StatusCode::BAD_REQUEST,
        StoreError::Bundle(_) => StatusCode::UNPROCESSABLE_ENTITY,
        StoreError::NoBundle { .. } | StoreError::NoFunction { .. } => StatusCode::NOT_FOUND,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    Problem::new(status, error.code(), crate::exchange::chain(error)).hint(error.hint())
}

/// Hands the body over, piece by piece, until either side ends.
async fn feed(mut body: Body, sender: mpsc::Sender<Option<Bytes>>) {
    while let Some(frame) = body.frame().await {
        match frame.map(http_body::Frame::into_data) {
            Ok(Ok(data)) => {
                if sender.send(Some(data)).await.is_err() {
                    return;
                }
            }
            Ok(Err(_trailers)) => {}
            Err(_) => return,
        }
    }
    let _ = sender.send(None).await;
}

/// The body as a blocking reader. A body that broke off is an error, never an end.
struct Incoming {
    receiver: mpsc::Receiver<Option<Bytes>>,
    piece: Bytes,
    ended: bool,
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && !self.ended {
            match self.receiver.blocking_recv() {
                Some(Some(piece)) => self.piece = piece,
                Some(None) => self.ended = true,
                None => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the upload broke off")),
            }
        }
        let length = buffer.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}
