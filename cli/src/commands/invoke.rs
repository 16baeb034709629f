//! `fn invoke`: one call, its reply body on standard output as it comes.
//!
//! A refusal is the platform's own word (no such function, queue full, timeout): it is shown as an error, with the exit code
//! that it means. A function's own reply is printed as it is, and a status of 400 or above makes the exit code 1.

use std::io::IsTerminal;

use functions::FunctionName;
use reqwest::Method;
use reqwest::Response;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value, json};

use super::name;
use crate::args::InvokeArgs;
use crate::client::{AdminClient, ApiError, Call, ClientError};
use crate::exit::Exit;
use crate::failure::{Explain, Failure};
use crate::render::{Format, Screen};

mod data;

/// The header that a reply has once an instance was found.
const INSTANCE: &str = "x-fn-instance";
/// The header that every reply has.
const REQUEST_ID: &str = "x-fn-request-id";
/// No refusal is longer than this.
const REFUSAL_MAX: u64 = 64 * 1024;

/// A call that can't be made as it was typed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The method has characters that no method has.
    #[error("'{0}' is not an HTTP method")]
    Method(String),
    /// The name or the value of a header has characters that no header has.
    #[error("'{0}' can't be sent as a header")]
    Header(String),
}

impl Explain for CallError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }

    fn code(&self) -> String {
        match self {
            CallError::Method(_) => "bad_method".into(),
            CallError::Header(_) => "bad_header".into(),
        }
    }
}

/// Calls the function.
pub(crate) async fn run(args: InvokeArgs, client: &AdminClient, screen: Screen) -> Result<Exit, Failure> {
    let name = name::typed(&args.name)?;
    let verbose = args.verbose;
    let mut response = client.invoke(name.as_str(), call(args).await?).await?;
    if verbose {
        eprint!("{}", head(&response));
    }
    let start = match refusal(client, &mut response).await? {
        Looked::Refused(error) => return Err(refused(&name, *error)),
        Looked::Reply(start) => start,
    };
    let exit = if response.status().as_u16() >= 400 {
        Exit::Failed
    } else {
        Exit::Ok
    };
    match screen.format {
        Format::Json => document(client, response, start, screen).await?,
        Format::Text => stream(client, response, start, screen).await?,
    }
    Ok(exit)
}

/// The request, from what was typed.
async fn call(args: InvokeArgs) -> Result<Call, Failure> {
    let mut headers = HeaderMap::new();
    for (key, value) in &args.headers {
        let bad = || CallError::Header(format!("{key}: {value}"));
        let key: HeaderName = key.parse().map_err(|_| bad())?;
        headers.append(key, HeaderValue::from_str(value).map_err(|_| bad())?);
    }
    let data = match args.data {
        Some(data) => Some(data::open(&data).await?),
        None => None,
    };
    if let Some(data) = &data {
        headers
            .entry(CONTENT_TYPE)
            .or_insert(HeaderValue::from_static(data.content_type));
    }
    let method = match args.method {
        Some(method) => Method::from_bytes(method.as_bytes()).map_err(|_| CallError::Method(method))?,
        None if data.is_some() => Method::POST,
        None => Method::GET,
    };
    Ok(Call {
        method,
        path: args.path,
        headers,
        body: data.map(|data| data.body),
    })
}

/// Prints the body piece by piece.
async fn stream(client: &AdminClient, mut response: Response, start: Vec<u8>, screen: Screen) -> Result<(), Failure> {
    let mut last = start.last().copied();
    screen.raw(&start)?;
    while let Some(piece) = client.piece(&mut response).await? {
        screen.raw(piece.as_ref())?;
        last = piece.as_ref().last().copied().or(last);
    }
    // On a terminal the prompt would follow on the same line; a pipe gets the body and nothing else.
    if last.is_some_and(|byte| byte != b'\n') && std::io::stdout().is_terminal() {
        screen.raw(b"\n")?;
    }
    Ok(())
}

/// Prints `{"status","headers","body"}`; a body of JSON stands there as JSON, any other as text.
async fn document(client: &AdminClient, mut response: Response, start: Vec<u8>, screen: Screen) -> Result<(), Failure> {
    let mut body = start;
    rest(client, &mut response, &mut body).await?;
    let status = response.status().as_u16();
    let headers = header_map(response.headers());
    let body = serde_json::from_slice(&body).unwrap_or_else(|_| json!(String::from_utf8_lossy(&body)));
    screen.answer(
        &json!({ "status": status, "headers": headers, "body": body }),
        String::new,
    )
}

/// Reads a body to its end.
async fn rest(client: &AdminClient, response: &mut Response, body: &mut Vec<u8>) -> Result<(), ClientError> {
    while let Some(piece) = client.piece(response).await? {
        body.extend_from_slice(piece.as_ref());
    }
    Ok(())
}

/// Whose word a reply is.
enum Looked {
    /// The platform's: a refusal.
    Refused(Box<ApiError>),
    /// The function's, with as much of its body as was read to find out.
    Reply(Vec<u8>),
}

/// Finds out whether a reply is a refusal of the platform: no instance was found, or the error document names the
/// request itself. The body is read for that only when it can be one.
async fn refusal(client: &AdminClient, response: &mut Response) -> Result<Looked, ClientError> {
    let status = response.status();
    let text = |name: &str| {
        response
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    let without_instance = text(INSTANCE).is_none();
    let request_id = text(REQUEST_ID);
    let short_json = text("content-type").is_some_and(|kind| kind.starts_with("application/json"))
        && response.content_length().is_some_and(|length| length <= REFUSAL_MAX);
    if status.as_u16() < 400 || !(without_instance || short_json) {
        return Ok(Looked::Reply(Vec::new()));
    }
    let mut body = Vec::new();
    rest(client, response, &mut body).await?;
    let error = ApiError::read(status, &body);
    let ours = without_instance || (error.request_id.is_some() && error.request_id == request_id);
    Ok(if ours {
        Looked::Refused(Box::new(error))
    } else {
        Looked::Reply(body)
    })
}

/// The failure that a refusal means. When the function's own code failed, its log says more.
fn refused(name: &FunctionName, mut error: ApiError) -> Failure {
    if let (None, 500.., Some(request)) = (&error.hint, error.status, &error.request_id) {
        error.hint = Some(format!("See what it printed: fn logs {name} --request {request}"));
    }
    if error.hint.is_none() && error.code == "function_not_found" {
        error.hint = Some("See which there are: fn list".into());
    }
    error.into()
}

impl Explain for ApiError {
    fn exit(&self) -> Exit {
        ApiError::exit(self)
    }

    fn code(&self) -> String {
        self.code.clone()
    }

    fn hint(&self) -> Option<String> {
        self.hint.clone()
    }

    fn details(&self) -> Option<String> {
        self.details.clone()
    }
}

/// The status line and the headers, the platform's own first.
fn head(response: &Response) -> String {
    let mut text = format!("{:?} {}\n", response.version(), response.status());
    let ours = |name: &HeaderName| name.as_str().starts_with("x-fn-") || name == "server-timing";
    for platform in [true, false] {
        for (name, value) in response.headers().iter().filter(|(name, _)| ours(name) == platform) {
            text.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
        }
    }
    text.push('\n');
    text
}

/// Headers as JSON; a repeated one keeps all its values, joined as HTTP joins them.
fn header_map(headers: &HeaderMap) -> Map<String, Value> {
    headers
        .keys()
        .map(|name| {
            let values: Vec<_> = headers
                .get_all(name)
                .iter()
                .map(|value| String::from_utf8_lossy(value.as_bytes()))
                .collect();
            (name.to_string(), json!(values.join(", ")))
        })
        .collect()
}
