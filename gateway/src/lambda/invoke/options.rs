//! How an invocation is wanted: the headers of Invoke and InvokeWithResponseStream, and whether an event is JSON. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use serde::de::IgnoredAny;

use crate::lambda::fault::{Fault, Kind};

/// Most bytes of `X-Amz-Client-Context`, in base64.
const MOST_CONTEXT: usize = 3583;

const INVOCATION_TYPE: HeaderName = HeaderName::from_static("x-amz-invocation-type");
const LOG_TYPE: HeaderName = HeaderName::from_static("x-amz-log-type");
const CLIENT_CONTEXT: HeaderName = HeaderName::from_static("x-amz-client-context");

/// Whether the answer is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    RequestResponse,
    Event,
    DryRun,
}

/// Whether the end of the log is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    None,
    Wanted,
}

/// See the module's head.
#[derive(Debug)]
pub(in crate::lambda) struct Options {
    pub(super) wanted: Wanted,
    pub(super) tail: Tail,
    /// The client context, a JSON object.
    pub(super) context: Option<String>,
}

impl Options {
    /// Reads them. The only errors are `InvalidParameterValueException` and `InvalidRequestContentException`.
    pub(in crate::lambda) fn read(headers: &HeaderMap) -> Result<Self, Fault> {
        Ok(Self {
            wanted: wanted(headers)?,
            tail: log_type(headers)?,
            context: client_context(headers)?,
        })
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Fault> {
    headers
        .get(name)
        .map(|value| value.to_str())
        .transpose()
        .map_err(|_| Fault::invalid(format!("the header {name} is not ASCII")))
}

fn wanted(headers: &HeaderMap) -> Result<Wanted, Fault> {
    match text(headers, &INVOCATION_TYPE)? {
        None | Some("RequestResponse") => Ok(Wanted::RequestResponse),
        Some("Event") => Ok(Wanted::Event),
        Some("DryRun") => Ok(Wanted::DryRun),
        Some(_) => Err(Fault::invalid(
            "X-Amz-Invocation-Type is none of RequestResponse, Event and DryRun",
        )),
    }
}

fn log_type(headers: &HeaderMap) -> Result<Tail, Fault> {
    match text(headers, &LOG_TYPE)? {
        None | Some("None") => Ok(Tail::None),
        Some("Tail") => Ok(Tail::Wanted),
        Some(_) => Err(Fault::invalid("X-Amz-Log-Type is neither None nor Tail")),
    }
}

/// The client context, out of base64: a JSON object.
fn client_context(headers: &HeaderMap) -> Result<Option<String>, Fault> {
    let Some(coded) = text(headers, &CLIENT_CONTEXT)? else {
        return Ok(None);
    };
    if coded.len() > MOST_CONTEXT {
        return Err(Fault::invalid(format!(
            "X-Amz-Client-Context has {} bytes, at most {MOST_CONTEXT} are allowed",
            coded.len()
        )));
    }
    let json = STANDARD
        .decode(coded)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .filter(|json| serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(json).is_ok());
    match json {
        Some(json) => Ok(Some(json)),
        None => Err(Fault::new(
            Kind::InvalidContent,
            "X-Amz-Client-Context is not a JSON object in base64",
        )),
    }
}

/// An event that is JSON. Without one the handler gets an empty object.
pub(super) fn checked(event: Bytes) -> Result<Bytes, Fault> {
    if event.is_empty() {
        return Ok(Bytes::from_static(b"{}"));
    }
    let refused = |why: String| {
        Fault::new(
            Kind::InvalidContent,
            format!("Could not parse request body into json: {why}"),
        )
    };
    std::str::from_utf8(&event).map_err(|error| refused(error.to_string()))?;
    serde_json::from_slice::<IgnoredAny>(&event).map_err(|error| refused(error.to_string()))?;
    Ok(event)
}
