//! What a call to the server can end with, besides an answer.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use reqwest::StatusCode;
use serde_json::Value;

use crate::exit::Exit;
use crate::failure::Explain;

/// A call that brought no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// Nothing listens on the socket.
    #[error("no server is running at {}", socket.display())]
    NotRunning {
        /// The socket.
        socket: PathBuf,
    },
    /// The socket may not be opened by this user.
    #[error("this user may not open the server's socket {}", socket.display())]
    Denied {
        /// The socket.
        socket: PathBuf,
    },
    /// The connection broke, or is not HTTP.
    #[error("the connection to the server at {} broke", socket.display())]
    Transport {
        /// The socket.
        socket: PathBuf,
        /// What the HTTP client says.
        #[source]
        cause: reqwest::Error,
    },
    /// The server answered with an error document.
    #[error(transparent)]
    Api(Box<ApiError>),
    /// The server answered with something that is no JSON.
    #[error("the server's answer is not JSON; is it a server of another version?")]
    NotJson {
        /// Where the reading stopped.
        #[source]
        cause: serde_json::Error,
    },
    /// The path of an invocation can't be sent.
    #[error("the path '{path}' can't be sent: {reason}")]
    BadPath {
        /// The path as typed.
        path: String,
        /// Why not.
        reason: String,
    },
}

impl ClientError {
    /// Sorts out what the HTTP client met on the way to `socket`.
    pub(crate) fn transport(socket: &Path, cause: reqwest::Error) -> Self {
        let socket = socket.to_owned();
        let mut inner: Option<&(dyn Error + 'static)> = Some(&cause);
        while let Some(error) = inner {
            if cause.is_connect()
                && let Some(error) = error.downcast_ref::<io::Error>()
            {
                match error.kind() {
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                        return ClientError::NotRunning { socket };
                    }
                    io::ErrorKind::PermissionDenied => return ClientError::Denied { socket },
                    _ => {}
                }
            }
            inner = error.source();
        }
        ClientError::Transport { socket, cause }
    }
}

impl Explain for ClientError {
    fn exit(&self) -> Exit {
        match self {
            ClientError::NotRunning { .. } | ClientError::Denied { .. } | ClientError::Transport { .. } => {
                Exit::Unreachable
            }
            ClientError::Api(error) => error.exit(),
            ClientError::NotJson { .. } => Exit::Failed,
            ClientError::BadPath { .. } => Exit::BadInput,
        }
    }

    fn code(&self) -> String {
        match self {
            ClientError::NotRunning { .. } => "not_running".into(),
            ClientError::Denied { .. } => "denied".into(),
            ClientError::Transport { .. } => "connection_broke".into(),
            ClientError::Api(error) => error.code.clone(),
            ClientError::NotJson { .. } => "bad_answer".into(),
            ClientError::BadPath { .. } => "bad_path".into(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            ClientError::NotRunning { .. } => Some(
                "Start one with: fn serve\n      Or say where it listens with --admin-socket, --state-dir, \
                 $FN_ADMIN_SOCKET or $FN_STATE_DIR."
                    .into(),
            ),
            ClientError::Denied { .. } => {
                Some("Only the user who runs the server and root may open it: run this command as one of them.".into())
            }
            ClientError::Transport { .. } => {
                Some("The server may have stopped: its log says why, and fn serve starts it again.".into())
            }
            ClientError::Api(error) => error.hint.clone(),
            ClientError::NotJson { .. } => {
                Some("Compare fn --version with the version that fn doctor --json shows for the server.".into())
            }
            ClientError::BadPath { .. } => None,
        }
    }

    fn details(&self) -> Option<String> {
        match self {
            ClientError::Api(error) => error.details.clone(),
            _ => None,
        }
    }
}

/// The server's error document, `{"error":{"code","message","request_id"?,"hint"?,"details"?}}`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct ApiError {
    /// The status of the reply.
    pub(crate) status: u16,
    /// The stable word.
    pub(crate) code: String,
    /// One sentence.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
    /// A longer text: a traceback.
    pub(crate) details: Option<String>,
    /// The request that it answers.
    pub(crate) request_id: Option<String>,
}

impl ApiError {
    /// Reads the body of a reply. Something that is no error document becomes one, with its status in words.
    pub(crate) fn read(status: StatusCode, body: &[u8]) -> Self {
        match serde_json::from_slice::<Value>(body) {
            Ok(document) if document["error"].is_object() => Self::from_document(status, &document["error"]),
            _ => ApiError {
                status: status.as_u16(),
                code: status
                    .canonical_reason()
                    .unwrap_or("unknown")
                    .to_lowercase()
                    .replace(' ', "_"),
                message: format!("the server answered with status {status}"),
                hint: None,
                details: Some(String::from_utf8_lossy(body).trim().to_owned()).filter(|text| !text.is_empty()),
                request_id: None,
            },
        }
    }

    fn from_document(status: StatusCode, error: &Value) -> Self {
        let text = |key: &str| error[key].as_str().map(str::to_owned);
        ApiError {
            status: status.as_u16(),
            code: text("code").unwrap_or_else(|| "unknown".into()),
            message: text("message").unwrap_or_else(|| format!("the server answered with status {status}")),
            hint: text("hint"),
            details: details(&error["details"]),
            request_id: text("request_id"),
        }
    }

    /// The exit code: the code's own where one word says more than the status does, else by the status.
    pub(crate) fn exit(&self) -> Exit {
        match (self.code.as_str(), self.status) {
            ("check_failed" | "build_failed", _) => Exit::CheckFailed,
            ("runtime_missing", _) => Exit::Failed,
            ("bundle_too_many_files" | "bundle_too_many_bytes" | "bundle_archive_too_long", _) => Exit::Limit,
            (_, 404) => Exit::NotFound,
            (_, 413 | 414 | 429 | 431) => Exit::Limit,
            (_, 400 | 405 | 409 | 415 | 422) => Exit::BadInput,
            _ => Exit::Failed,
        }
    }
}

/// The details as text: of a failed check `{errorMessage, errorType, stackTrace, output}`, each of them optional, the
/// traceback and what the handler printed.
fn details(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Object(fields) => {
            let word = |key: &str| fields.get(key).and_then(Value::as_str).unwrap_or_default();
            let trace = fields.get("stackTrace").and_then(Value::as_array).into_iter().flatten();
            let mut lines: Vec<String> = trace
                .filter_map(Value::as_str)
                .map(|line| line.trim_end().to_owned())
                .collect();
            if fields.contains_key("errorMessage") {
                lines.push(format!("{}: {}", word("errorType"), word("errorMessage")));
            }
            if !word("output").trim().is_empty() {
                lines.push(format!("It printed:\n{}", word("output").trim_end()));
            }
            Some(lines.join("\n")).filter(|text| !text.is_empty())
        }
        other => serde_json::to_string_pretty(other).ok(),
    }
}
