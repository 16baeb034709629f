//! How a route of the admin API says no.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::changes::ChangeError;
use crate::exchange::chain;
use crate::outcome::Code;
use crate::request_id::RequestId;

/// An error of the admin API: the document of every error, with a hint and details where there are some.
///
/// The request's id is written into it at the edge, where it is known.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    message: String,
    hint: Option<String>,
    details: Option<Value>,
}

/// The document of an error.
#[derive(Serialize, ToSchema)]
#[schema(as = Error)]
pub(crate) struct ErrorDocument<'a> {
    error: ErrorFields<'a>,
}

/// What an error says.
#[derive(Serialize, ToSchema)]
#[schema(as = ErrorFields)]
pub(crate) struct ErrorFields<'a> {
    /// A stable word.
    code: &'a str,
    /// One sentence.
    message: &'a str,
    /// The id of the request.
    request_id: &'a str,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
    /// More, by the kind of error: for a failed check `{errorMessage, errorType, stackTrace, output}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    details: Option<&'a Value>,
}

impl Problem {
    /// A problem with one sentence.
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            hint: None,
            details: None,
        }
    }

    /// A problem with a code of the common table.
    pub(crate) fn of(code: Code, message: impl Into<String>) -> Self {
        Self::new(code.status(), code.as_str(), message)
    }

    /// A fault of the server: the caller of this API is its operator, so the cause is told.
    pub(crate) fn internal(cause: &dyn std::error::Error) -> Self {
        Self::of(Code::Internal, chain(cause))
    }

    /// Adds what to do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds details.
    pub(crate) fn details(mut self, details: Value) -> Self {
        self.details = Some(details);
        self
    }

    /// The reply.
    pub(crate) fn response(&self, request: RequestId) -> Response {
        let fields = ErrorFields {
            code: self.code,
            message: &self.message,
            request_id: &request.to_string(),
            hint: self.hint.as_deref(),
            details: self.details.as_ref(),
        };
        if self.status.is_server_error() {
            tracing::warn!(%request, code = self.code, "{}", self.message);
        } else {
            tracing::debug!(%request, code = self.code, "{}", self.message);
        }
        let body = serde_json::to_vec(&ErrorDocument { error: fields }).expect("strings and JSON always serialise");
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
            .headers_mut()
            .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        match &error {
            ChangeError::Store(refused) => super::bundles::refused(refused),
            ChangeError::Panicked(_) => Self::internal(&error),
        }
    }
}

impl IntoResponse for Problem {
    /// A response that only carries the problem; the edge turns it into the reply.
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status;
        response.extensions_mut().insert(self);
        response
    }
}
