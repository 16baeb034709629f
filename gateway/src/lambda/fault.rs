//! How a route of the Lambda API says no: the error types and statuses of the API reference, in the form that SDKs read.
//!
//! The type stands in the header `x-amzn-ErrorType`, the text in the body under `message` or `Message`, whichever the API's model gives that type.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use functions::bundle::BundleError;
use functions::store::StoreError;
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::json;

use super::signature::SignatureError;
use crate::exchange::chain;
use crate::limits::BodyError;
use crate::outcome::{Code, Outcome};

/// The header that names the type.
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");

/// The table of types: name, status, who is to blame, and the key of the text.
macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $status:ident, $blame:literal, $key:literal;)*) => {
        /// The type of an error.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Kind { $($(#[$doc])* $name,)* }

        impl Kind {
            fn row(self) -> (&'static str, StatusCode, &'static str, &'static str) {
                match self { $(Kind::$name => ($text, StatusCode::$status, $blame, $key),)* }
            }
        }
    };
}

kinds! {
    /// A parameter has a value that it can't have, or that this server does not support.
    InvalidParameter = "InvalidParameterValueException", BAD_REQUEST, "User", "message";
    /// The payload is no JSON.
    InvalidContent = "InvalidRequestContentException", BAD_REQUEST, "User", "message";
    /// There is no such function, version, alias or setting.
    NotFound = "ResourceNotFoundException", NOT_FOUND, "User", "Message";
    /// The version or alias has no provisioned concurrency.
    NoProvisioned = "ProvisionedConcurrencyConfigNotFoundException", NOT_FOUND, "User", "message";
    /// It exists already, or something refers to it.
    Conflict = "ResourceConflictException", CONFLICT, "User", "message";
    /// `RevisionId` is not the one that the function has.
    Precondition = "PreconditionFailedException", PRECONDITION_FAILED, "User", "Message";
    /// The payload is over its limit.
    TooLarge = "RequestTooLargeException", PAYLOAD_TOO_LARGE, "User", "message";
    /// No instance may or can be had for the call.
    TooManyRequests = "TooManyRequestsException", TOO_MANY_REQUESTS, "User", "message";
    /// The disk is full.
    Storage = "CodeStorageExceededException", BAD_REQUEST, "User", "message";
    /// This host lacks what the function's runtime needs.
    InvalidRuntime = "InvalidRuntimeException", BAD_GATEWAY, "User", "Message";
    /// The operation exists at AWS and not here.
    UnknownOperation = "UnknownOperationException", NOT_FOUND, "User", "message";
    /// A fault of this server.
    Service = "ServiceException", INTERNAL_SERVER_ERROR, "Service", "Message";
    /// The server can't serve now.
    Unavailable = "ServiceUnavailableException", SERVICE_UNAVAILABLE, "Service", "Message";
    /// The body did not arrive in time.
    RequestTimeout = "RequestTimeoutException", REQUEST_TIMEOUT, "User", "message";
    /// There is no signature.
    MissingToken = "MissingAuthenticationTokenException", FORBIDDEN, "User", "message";
    /// The signature can't be read.
    IncompleteSignature = "IncompleteSignatureException", BAD_REQUEST, "User", "message";
    /// The key is not known.
    UnknownKey = "UnrecognizedClientException", FORBIDDEN, "User", "message";
    /// The signature is wrong or too old.
    InvalidSignature = "InvalidSignatureException", FORBIDDEN, "User", "message";
}

/// An error of the Lambda API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    kind: Kind,
    message: String,
    reason: Option<&'static str>,
    close: bool,
}

impl Fault {
    /// One with the text that the caller reads.
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            reason: None,
            close: false,
        }
    }

    /// `InvalidParameterValueException`.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::InvalidParameter, message)
    }

    /// `ResourceNotFoundException` for the function of this ARN.
    pub(crate) fn no_function(arn: &str) -> Self {
        Self::new(Kind::NotFound, format!("Function not found: {arn}"))
    }

    /// A fault of the server. The caller reads a general sentence, the log holds the cause.
    pub(crate) fn internal(cause: &dyn std::error::Error) -> Self {
        tracing::warn!(error = chain(cause), "a call of the Lambda API failed");
        Self::new(Kind::Service, "the server could not do this; its log says why")
    }

    /// `TooManyRequestsException` with a reason of the API's list.
    pub(crate) fn throttled(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            reason: Some(reason),
            ..Self::new(Kind::TooManyRequests, message)
        }
    }

    /// What the type is.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// What the caller reads.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The connection is closed after the reply: a body is left unread.
    fn closing(mut self) -> Self {
        self.close = true;
        self
    }
}

impl From<BodyError> for Fault {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge { limit } => {
                Self::new(Kind::TooLarge, format!("Request must be smaller than {limit} bytes"))
            }
            BodyError::NoRoom(_) => Self::new(Kind::Unavailable, "the server holds as many request bodies as it may"),
            BodyError::Broken(_) => Self::new(Kind::InvalidContent, "the request's body broke off or is malformed"),
        }
        .closing()
    }
}

impl From<Outcome> for Fault {
    fn from(outcome: Outcome) -> Self {
        let kind = match outcome.code() {
            Code::FunctionNotFound => Kind::NotFound,
            Code::Draining | Code::Unavailable => Kind::Unavailable,
            Code::BodyTooLarge => Kind::TooLarge,
            Code::QueueFull => return Self::throttled("ConcurrentInvocationLimitExceeded", outcome.message()),
            Code::RequestTimeout => Kind::RequestTimeout,
            _ => Kind::Service,
        };
        let fault = Self::new(kind, outcome.message());
        match kind {
            Kind::TooLarge | Kind::RequestTimeout => fault.closing(),
            _ => fault,
        }
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Bundle(BundleError::Receive { .. } | BundleError::Read { .. }) => Self::internal(&error),
            StoreError::Bundle(refused) => Self::from_bundle(refused),
            StoreError::DiskFull { .. } => Self::new(Kind::Storage, "the disk of the server's state directory is full"),
            StoreError::NoFunction { .. } => Self::new(Kind::NotFound, error.to_string()),
            _ => Self::internal(&error),
        }
    }
}

impl Fault {
    /// What is wrong with code that was sent.
    pub(crate) fn from_bundle(error: &BundleError) -> Self {
        match error {
            BundleError::Write { .. } | BundleError::Read { .. } => Self::internal(error),
            // Its own text names a file of this server.
            BundleError::Zip { source, .. } => {
                Self::invalid(format!("Could not unzip uploaded file. {source}. {}", error.hint()))
            }
            refused => Self::invalid(format!(
                "Could not unzip uploaded file. {}. {}",
                chain(refused),
                refused.hint()
            )),
        }
    }
}

impl From<SignatureError> for Fault {
    fn from(error: SignatureError) -> Self {
        let kind = match error {
            SignatureError::Missing => Kind::MissingToken,
            SignatureError::Malformed(_) | SignatureError::Unsigned(_) => Kind::IncompleteSignature,
            SignatureError::UnknownKey => Kind::UnknownKey,
            SignatureError::Expired { .. } | SignatureError::Mismatch => Kind::InvalidSignature,
        };
        // The body was not read, or is not worth the keeping of the connection.
        Self::new(kind, error.to_string()).closing()
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let (name, status, blame, key) = self.kind.row();
        let mut body = json!({ "Type": blame });
        body[key] = json!(self.message);
        if let Some(reason) = self.reason {
            body["Reason"] = json!(reason);
        }
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(ERROR_TYPE, HeaderValue::from_static(name));
        if matches!(self.kind, Kind::TooManyRequests | Kind::Unavailable) {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn said(fault: Fault) -> (Response<()>, serde_json::Value) {
        let (head, body) = fault.into_response().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (Response::from_parts(head, ()), serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn an_error_has_its_type_in_the_header_and_its_text_under_the_models_key() {
        let (head, body) = said(Fault::no_function("arn:x")).await;
        assert_eq!(
            (head.status(), head.headers()["x-amzn-errortype"].to_str().unwrap()),
            (StatusCode::NOT_FOUND, "ResourceNotFoundException")
        );
        assert_eq!(body, json!({ "Type": "User", "Message": "Function not found: arn:x" }));
        let (head, body) = said(Fault::throttled("ConcurrentInvocationLimitExceeded", "busy")).await;
        assert_eq!(
            (head.status().as_u16(), &head.headers()["retry-after"]),
            (429, &HeaderValue::from_static("1"))
        );
        assert_eq!(body["Reason"], "ConcurrentInvocationLimitExceeded");
        assert_eq!(body["message"], "busy");
    }

    #[tokio::test]
    async fn a_body_that_was_not_read_closes_the_connection() {
        for fault in [
            Fault::from(BodyError::TooLarge { limit: 1 }),
            Fault::from(SignatureError::Missing),
        ] {
            assert_eq!(said(fault).await.0.headers()[CONNECTION], "close");
        }
    }
}
