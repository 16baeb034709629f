//! The content of every frame, and how it becomes bytes.

use std::collections::BTreeMap;
use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::error::WireError;
use super::header::{Header, Kind, MAX_PAYLOAD};
use crate::{BootId, one_line};

/// Frames of one direction. Implemented by [`HostFrame`] and [`InstanceFrame`] only.
pub trait Frame: Sized + sealed::Sealed {
    /// The kind byte this frame travels under.
    fn kind(&self) -> Kind;

    /// The bytes after the header.
    ///
    /// # Errors
    /// [`WireError::Json`] when a field can't be written, which valid frames never cause.
    fn payload(&self) -> Result<Bytes, WireError>;

    /// Reads a frame of this direction.
    ///
    /// # Errors
    /// [`WireError::WrongSide`], [`WireError::NotEmpty`] and [`WireError::Json`].
    fn decode(kind: Kind, payload: Bytes) -> Result<Self, WireError>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::HostFrame {}
    impl Sealed for super::InstanceFrame {}
}

/// What the host says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostFrame {
    /// An invocation begins.
    Invoke(Invoke),
    /// A piece of the event or request body.
    Body(Bytes),
    /// The event or request body is complete.
    End,
    /// Stop working on this invocation.
    Cancel,
    /// Become an instance of a function.
    Load(Load),
}

/// What an instance says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InstanceFrame {
    /// The process waits for LOAD.
    Parked,
    /// The handler is loaded.
    Ready(Ready),
    /// The handler could not be loaded.
    InitError(Failure),
    /// A buffered JSON result follows.
    Result(ResultHead),
    /// A streamed reply follows.
    Head(Head),
    /// A piece of either.
    Body(Bytes),
    /// The reply is complete.
    End(End),
    /// The invocation failed, before or in the middle of the reply.
    Error {
        /// The process that failed.
        boot_id: BootId,
        /// What went wrong.
        failure: Failure,
    },
}

/// Content of INVOKE.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invoke {
    /// The request id that logs, headers and the handler's context carry.
    pub request_id: String,
    /// When the invocation will be given up, in milliseconds since the Unix epoch.
    pub deadline_ms: u64,
    /// The X-Ray style trace header of the call, if it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// The ARN under which the function was called.
    pub arn: String,
    /// What the caller says about itself, a JSON object as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_context: Option<String>,
    /// The lines of the request's headers that repeat, by name, for what the joined ones of the event don't tell.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub repeated: BTreeMap<String, Vec<String>>,
    /// What stands before the function's own path where a caller calls it, still percent-encoded; empty where nothing does.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub base_path: String,
    /// The CGI environment of the request. Only `stdio` gets one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<(String, String)>,
}

/// Content of LOAD: what a process that is started for a function finds when it begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// The whole environment, `_HANDLER` in it. What the process had before is gone.
    pub env: Vec<(String, String)>,
    /// The working directory, absolute.
    pub cwd: String,
}

/// Content of READY.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ready {
    /// The process that is ready.
    pub boot_id: BootId,
    /// Language and version, such as `python3.11.2`; `stdio` for the stdio resident.
    pub runtime: String,
    /// Microseconds from the start of the shim until the handler was loaded.
    pub init_us: u64,
}

/// Why a handler failed, in the words of the Lambda Runtime API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Failure {
    /// One sentence, from the exception.
    pub error_message: String,
    /// The exception's class, or a `Runtime.*` name of the platform.
    pub error_type: String,
    /// One entry per frame of the function's own code.
    #[serde(default)]
    pub stack_trace: Vec<String>,
}

/// Longest text of a failure's one-line form, in characters.
const SHOWN: usize = 500;

impl fmt::Display for Failure {
    /// Type and message as one printable line, cut when it is long: what the function says, fit for an operator's log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, message) = (one_line(&self.error_type, SHOWN), one_line(&self.error_message, SHOWN));
        write!(f, "{kind}: {message}")
    }
}

/// Content of RESULT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResultHead {
    /// The process that answered.
    pub boot_id: BootId,
}

/// Content of HEAD. Status, names and values are as the function gave them; `payload::reply_head` checks them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The process that answered.
    pub boot_id: BootId,
    /// The HTTP status.
    pub status: u16,
    /// Header names and values in order; a name may repeat.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// Each becomes a `set-cookie` header of its own.
    #[serde(default)]
    pub cookies: Vec<String>,
    /// The function wrote bytes and gave no head: this one is the platform's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bare: bool,
}

/// Content of the END that an instance sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    /// Microseconds spent in the handler.
    pub handler_us: u64,
}

/// Content of ERROR as it travels.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ErrorPayload {
    #[serde(rename = "boot_id")]
    boot_id: BootId,
    error_message: String,
    error_type: String,
    #[serde(default)]
    stack_trace: Vec<String>,
}

impl Frame for HostFrame {
    fn kind(&self) -> Kind {
        match self {
            Self::Invoke(_) => Kind::Invoke,
            Self::Body(_) => Kind::RequestBody,
            Self::End => Kind::RequestEnd,
            Self::Cancel => Kind::Cancel,
            Self::Load(_) => Kind::Load,
        }
    }

    fn payload(&self) -> Result<Bytes, WireError> {
        match self {
            Self::Invoke(invoke) => json(Kind::Invoke, invoke),
            Self::Body(bytes) => Ok(bytes.clone()),
            Self::End | Self::Cancel => Ok(Bytes::new()),
            Self::Load(load) => json(Kind::Load, load),
        }
    }

    fn decode(kind: Kind, payload: Bytes) -> Result<Self, WireError> {
        match kind {
            Kind::Invoke => parse(kind, &payload).map(Self::Invoke),
            Kind::RequestBody => Ok(Self::Body(payload)),
            Kind::RequestEnd | Kind::Cancel if !payload.is_empty() => Err(WireError::NotEmpty {
                kind,
                len: payload.len(),
            }),
            Kind::RequestEnd => Ok(Self::End),
            Kind::Cancel => Ok(Self::Cancel),
            Kind::Load => parse(kind, &payload).map(Self::Load),
            other => Err(WireError::WrongSide(other)),
        }
    }
}

impl Frame for InstanceFrame {
    fn kind(&self) -> Kind {
        match self {
            Self::Parked => Kind::Parked,
            Self::Ready(_) => Kind::Ready,
            Self::InitError(_) => Kind::InitError,
            Self::Result(_) => Kind::Result,
            Self::Head(_) => Kind::Head,
            Self::Body(_) => Kind::ReplyBody,
            Self::End(_) => Kind::ReplyEnd,
            Self::Error { .. } => Kind::Error,
        }
    }

    fn payload(&self) -> Result<Bytes, WireError> {
        let kind = self.kind();
        match self {
            Self::Parked => Ok(Bytes::new()),
            Self::Ready(ready) => json(kind, ready),
            Self::InitError(failure) => json(kind, failure),
            Self::Result(head) => json(kind, head),
            Self::Head(head) => json(kind, head),
            Self::Body(bytes) => Ok(bytes.clone()),
            Self::End(end) => json(kind, end),
            Self::Error { boot_id, failure } => {
                let Failure {
                    error_message,
                    error_type,
                    stack_trace,
                } = failure.clone();
                json(
                    kind,
                    &ErrorPayload {
                        boot_id: *boot_id,
                        error_message,
                        error_type,
                        stack_trace,
                    },
                )
            }
        }
    }

    fn decode(kind: Kind, payload: Bytes) -> Result<Self, WireError> {
        match kind {
            Kind::Parked if !payload.is_empty() => Err(WireError::NotEmpty {
                kind,
                len: payload.len(),
            }),
            Kind::Parked => Ok(Self::Parked),
            Kind::Ready => parse(kind, &payload).map(Self::Ready),
            Kind::InitError => parse(kind, &payload).map(Self::InitError),
            Kind::Result => parse(kind, &payload).map(Self::Result),
            Kind::Head => parse(kind, &payload).map(Self::Head),
            Kind::ReplyBody => Ok(Self::Body(payload)),
            Kind::ReplyEnd => parse(kind, &payload).map(Self::End),
            Kind::Error => {
                let ErrorPayload {
                    boot_id,
                    error_message,
                    error_type,
                    stack_trace,
                } = parse(kind, &payload)?;
                Ok(Self::Error {
                    boot_id,
                    failure: Failure {
                        error_message,
                        error_type,
                        stack_trace,
                    },
                })
            }
            other => Err(WireError::WrongSide(other)),
        }
    }
}

fn json<T: Serialize>(kind: Kind, content: &T) -> Result<Bytes, WireError> {
    serde_json::to_vec(content)
        .map(Bytes::from)
        .map_err(|error| not_json(kind, &error))
}

fn parse<'a, T: Deserialize<'a>>(kind: Kind, payload: &'a [u8]) -> Result<T, WireError> {
    serde_json::from_slice(payload).map_err(|error| not_json(kind, &error))
}

/// The text of the error may quote what an instance sent, which may be long.
fn not_json(kind: Kind, error: &serde_json::Error) -> WireError {
    let problem = one_line(&error.to_string(), SHOWN);
    WireError::Json { kind, problem }
}

/// Appends one frame to `out`.
///
/// # Errors
/// [`WireError::TooLong`] for a payload over [`MAX_PAYLOAD`], in which case `out` is unchanged; bodies of any length go
/// through [`encode_body`]. [`WireError::Sequence`] and [`WireError::NoSequence`] as in [`Header::new`].
pub fn encode(frame: &impl Frame, seq: u32, out: &mut BytesMut) -> Result<(), WireError> {
    let payload = frame.payload()?;
    put(Header::new(frame.kind(), seq, payload.len())?, &payload, out);
    Ok(())
}

/// Appends `body` as BODY frames of the host, as few as possible; nothing for an empty body.
///
/// # Errors
/// [`WireError::NoSequence`] for `seq` 0.
pub fn encode_body(body: &[u8], seq: u32, out: &mut BytesMut) -> Result<(), WireError> {
    for chunk in body.chunks(MAX_PAYLOAD) {
        put(Header::new(Kind::RequestBody, seq, chunk.len())?, chunk, out);
    }
    Ok(())
}

/// Appends a whole buffered call: INVOKE, the event as BODY frames, END.
///
/// # Errors
/// Those of [`encode`].
pub fn encode_call(invoke: Invoke, event: &[u8], seq: u32, out: &mut BytesMut) -> Result<(), WireError> {
    encode(&HostFrame::Invoke(invoke), seq, out)?;
    encode_body(event, seq, out)?;
    encode(&HostFrame::End, seq, out)
}

fn put(header: Header, payload: &[u8], out: &mut BytesMut) {
    out.reserve(super::HEADER_LEN + payload.len());
    out.put_slice(&header.encode());
    out.put_slice(payload);
}
