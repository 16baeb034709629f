//! What is asked of the admin API: evictions, deploys, and which process the server is.
//!
//! Each request opens its own connection: none of them is part of a measured time, except where a list is what is timed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use clap::ValueEnum;
use http::{HeaderValue, Method, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;

use crate::once::{self, OnceError, Payload};

/// The server answers an eviction only when everything is gone, so it may take a while.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What an eviction ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scope {
    /// Everything: what ran a call, what waits ahead of one, and the template
    #[default]
    All,
    /// What ran a call; what waits ahead stays, so that the next call meets what the platform made ready
    Used,
}

impl Scope {
    /// The words of a report.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::All => "evict everything",
            Self::Used => "evict what ran a call",
        }
    }

    fn query(self) -> &'static str {
        match self {
            Self::All => "?all=true",
            Self::Used => "",
        }
    }
}

/// Whether the server loads the handler before a deploy goes live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    /// It does.
    Before,
    /// It takes our word for it.
    Skipped,
}

#[derive(Deserialize)]
struct Uploaded {
    digest: String,
}

#[derive(Deserialize)]
struct Info {
    url: String,
}

/// The admin socket of a server.
#[derive(Debug, Clone)]
pub(crate) struct Admin {
    socket: PathBuf,
}

/// Why a request to the admin API failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdminError {
    /// The socket does not answer.
    #[error("the admin socket {} does not answer: {source}; is `fn serve` running, and is this its --admin-socket?", socket.display())]
    Connect {
        /// Its path.
        socket: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// The exchange broke.
    #[error("the admin socket: {0}")]
    Exchange(#[from] OnceError),
    /// The server refused.
    #[error("the server refused {what}: {status}: {body}")]
    Status {
        /// What was asked.
        what: &'static str,
        /// What it answered.
        status: StatusCode,
        /// The start of the reply.
        body: String,
    },
    /// The reply is not JSON.
    #[error("the admin API answered with something else than JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// No answer in time.
    #[error("the admin API did not answer within {TIMEOUT:?}")]
    Timeout,
}

impl Admin {
    /// Connects to nothing yet.
    pub(crate) fn new(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
        }
    }

    /// Returns when no process of `function` that `scope` names is left.
    pub(crate) async fn evict(&self, function: &str, scope: Scope) -> Result<(), AdminError> {
        let path = format!("/v1/functions/{function}/evict{}", scope.query());
        self.ask("to evict", Method::POST, &path, None).await.map(drop)
    }

    /// Hands over a bundle, an uncompressed tar; returns its digest. One that is there already is taken once more.
    pub(crate) async fn upload(&self, tar: Bytes) -> Result<String, AdminError> {
        let payload = Some(("application/x-tar", tar));
        let reply = self.ask("the bundle", Method::POST, "/v1/bundles", payload).await?;
        let reply: Uploaded = serde_json::from_slice(&reply)?;
        Ok(reply.digest)
    }

    /// Makes a bundle the live revision of `function`, with `manifest` as keys of fn.toml.
    pub(crate) async fn deploy(
        &self,
        function: &str,
        digest: &str,
        manifest: &serde_json::Value,
        check: Check,
    ) -> Result<(), AdminError> {
        let check = check == Check::Before;
        let document = serde_json::json!({ "bundle": digest, "manifest": manifest, "check": check });
        let payload = Some(("application/json", Bytes::from(document.to_string())));
        let path = format!("/v1/functions/{function}");
        self.ask("the deploy", Method::PUT, &path, payload).await.map(drop)
    }

    /// Removes a function with all that runs of it.
    pub(crate) async fn remove(&self, function: &str) -> Result<(), AdminError> {
        let path = format!("/v1/functions/{function}");
        self.ask("to remove", Method::DELETE, &path, None).await.map(drop)
    }

    /// Where callers reach the server.
    pub(crate) async fn url(&self) -> Result<String, AdminError> {
        let reply = self.ask("to tell about itself", Method::GET, "/v1/info", None).await?;
        let info: Info = serde_json::from_slice(&reply)?;
        Ok(info.url)
    }

    /// The directories below which the server says that it makes its cgroups.
    pub(crate) async fn cgroups(&self) -> Result<Vec<PathBuf>, AdminError> {
        let reply = self.ask("to tell about itself", Method::GET, "/v1/info", None).await?;
        let info: serde_json::Value = serde_json::from_slice(&reply)?;
        let findings = info["report"]["findings"].as_array().cloned().unwrap_or_default();
        let dirs = findings
            .iter()
            .filter_map(|finding| Some(finding["found"].as_str()?.split_once(" at /")?.1));
        Ok(dirs.map(|dir| Path::new("/").join(dir)).collect())
    }

    /// The process that listens on the socket; `None` when it is not in this process's pid namespace.
    pub(crate) async fn server(&self) -> Result<Option<i32>, AdminError> {
        let stream = self.connect().await?;
        Ok(stream
            .peer_cred()
            .ok()
            .and_then(|peer| peer.pid())
            .filter(|pid| *pid > 0))
    }

    async fn connect(&self) -> Result<UnixStream, AdminError> {
        UnixStream::connect(&self.socket)
            .await
            .map_err(|source| AdminError::Connect {
                socket: self.socket.clone(),
                source,
            })
    }

    async fn ask(&self, what: &'static str, method: Method, path: &str, payload: Payload) -> Result<Bytes, AdminError> {
        let exchange = async {
            let stream = self.connect().await?;
            let uri = path.parse().expect("a function name is safe in a path");
            let host = HeaderValue::from_static("localhost");
            Ok::<_, AdminError>(once::exchange(stream, method, uri, host, payload).await?)
        };
        let (status, body) = tokio::time::timeout(TIMEOUT, exchange)
            .await
            .map_err(|_elapsed| AdminError::Timeout)??;
        if status.is_success() {
            return Ok(body);
        }
        Err(AdminError::Status {
            what,
            status,
            body: message(&body),
        })
    }
}

/// The message of an error as the API writes one; of anything else its start.
fn message(body: &[u8]) -> String {
    let document: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    match document["error"]["message"].as_str() {
        Some(message) => message.to_owned(),
        None => String::from_utf8_lossy(body).chars().take(300).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_by_its_message() {
        let body = br#"{"error":{"code":"manifest_invalid","message":"unknown key `x`","request_id":"1"}}"#;
        assert_eq!(message(body), "unknown key `x`");
        assert_eq!(message(b"Bad Gateway"), "Bad Gateway");
    }
}
