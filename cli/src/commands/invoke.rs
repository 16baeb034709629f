//! `fn invoke`: one call, its reply body on standard output as it comes.
//!
//! A reply that no instance gave (no such function, queue full) is the platform's own word: it is shown as an error,
//! with the exit code that it means. A function's own reply is printed as it is, and a status of 400 or above makes the
//! exit code 1.

use std::io::IsTerminal;

use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Response, StatusCode};
use serde_json::{Map, Value, json};

use super::name;
use crate::args::InvokeArgs;
use crate::client::{AdminClient, ApiError, Call, ClientError};
use crate::exit::Exit;
use crate::failure::{Explain, Failure};
use crate::render::{Format, Screen};

mod data;

/// The header that only a reply from an instance has.
const INSTANCE: &str = "x-fn-instance";

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
    let response = client.invoke(name.as_str(), call(args).await?).await?;
    let status = response.status();
    if verbose {
        eprint!("{}", head(&response));
    }
    let exit = if status.as_u16() >= 400 { Exit::Failed } else { Exit::Ok };
    match screen.format {
        Format::Json => document(client, response, screen).await?,
        Format::Text => stream(client, response, screen).await?,
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
async fn stream(client: &AdminClient, mut response: Response, screen: Screen) -> Result<(), Failure> {
    if let Some(refusal) = refusal(&response) {
        return Err(refused(client, response, refusal).await);
    }
    let mut ends_in_newline = true;
    while let Some(piece) = client.piece(&mut response).await? {
        screen.raw(piece.as_ref())?;
        if let Some(last) = piece.as_ref().last() {
            ends_in_newline = *last == b'\n';
        }
    }
    // On a terminal the prompt would follow on the same line; a pipe gets the body and nothing else.
    if !ends_in_newline && std::io::stdout().is_terminal() {
        screen.raw(b"\n")?;
    }
    Ok(())
}

/// Prints `{"status","headers","body"}`; a body of JSON stands there as JSON, any other as text.
async fn document(client: &AdminClient, mut response: Response, screen: Screen) -> Result<(), Failure> {
    if let Some(refusal) = refusal(&response) {
        return Err(refused(client, response, refusal).await);
    }
    let status = response.status().as_u16();
    let headers = header_map(response.headers());
    let mut body = Vec::new();
    while let Some(piece) = client.piece(&mut response).await? {
        body.extend_from_slice(piece.as_ref());
    }
    let body = serde_json::from_slice(&body).unwrap_or_else(|_| json!(String::from_utf8_lossy(&body)));
    screen.answer(
        &json!({ "status": status, "headers": headers, "body": body }),
        String::new,
    )
}

/// The status of a reply that the platform gave and no instance.
fn refusal(response: &Response) -> Option<StatusCode> {
    let status = response.status();
    (status.as_u16() >= 400 && !response.headers().contains_key(INSTANCE)).then_some(status)
}

/// The failure that such a reply means. An error without a status of its own in the table of exit codes is a failed
/// invocation.
async fn refused(client: &AdminClient, response: Response, status: StatusCode) -> Failure {
    match client.refusal(response).await {
        ClientError::Api(error) => ApiError {
            status: status.as_u16(),
            ..error
        }
        .into(),
        other => other.into(),
    }
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
