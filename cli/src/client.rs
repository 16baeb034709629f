//! The server's admin API, over its unix socket.
//!
//! Owned here: the paths of the API, the reading of its error documents, and telling "no server there" from "the
//! server said no". Replies are read leniently: a field that a newer server adds is kept in the JSON that `--json`
//! prints, and a field that is missing shows as nothing.
//!
//! Cancel safety: dropping a call closes its connection, which the server sees as a client that went away.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use reqwest::header::HeaderMap;
use reqwest::{Body, Method, Response, StatusCode, Url};
use serde_json::{Value, json};

pub(crate) use error::{ApiError, ClientError};

mod error;
mod lines;
#[cfg(test)]
mod tests;

/// How long a connection is used again. The server closes its end later than that.
const KEPT: Duration = Duration::from_secs(20);

/// Which instances an evict ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EvictScope {
    /// Those that ran an invocation.
    Used,
    /// Also those that wait ahead, the template and the ready slots.
    All,
}

/// Whether a deploy loads the handler before the revision goes live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// It does.
    Before,
    /// It does not.
    Skip,
}

/// Which log lines are wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogQuery {
    /// Keep the reply open and send what comes.
    pub(crate) follow: bool,
    /// Only this request's lines.
    pub(crate) request: Option<String>,
    /// Only the last so many lines.
    pub(crate) tail: Option<u64>,
}

/// Which alerts are wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct AlertQuery {
    /// Keep the reply open and send what comes.
    pub(crate) follow: bool,
    /// Only those of this function.
    pub(crate) function: Option<String>,
    /// Only the last so many.
    pub(crate) tail: Option<u64>,
}

/// An invocation through the admin socket.
#[derive(Debug)]
pub(crate) struct Call {
    /// The method.
    pub(crate) method: Method,
    /// The path below the function with its query, beginning with `/`.
    pub(crate) path: String,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// The body, if there is one.
    pub(crate) body: Option<Body>,
}

/// A client of one server.
#[derive(Clone, Debug)]
pub(crate) struct AdminClient {
    http: reqwest::Client,
    socket: PathBuf,
}

impl AdminClient {
    /// A client that will connect to `socket`. Nothing is opened yet.
    pub(crate) fn new(socket: PathBuf) -> Self {
        let http = reqwest::Client::builder()
            .unix_socket(socket.as_path())
            // A deploy may install packages for minutes between two requests, and what the server closes meanwhile nobody notices.
            .pool_idle_timeout(KEPT)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("fn/", env!("CARGO_PKG_VERSION")))
            .build()
            .expect("a client without TLS and without a resolver has nothing that can fail to build");
        AdminClient { http, socket }
    }

    /// The socket it connects to.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// `GET /v1/info`: version, addresses and what the host can enforce.
    pub(crate) async fn info(&self) -> Result<Value, ClientError> {
        self.json(Method::GET, url("info"), None).await
    }

    /// `GET /v1/aws`: the key pair and the address of the Lambda API.
    pub(crate) async fn aws(&self) -> Result<Value, ClientError> {
        self.json(Method::GET, url("aws"), None).await
    }

    /// `GET /v1/functions`: all functions, in the server's order.
    pub(crate) async fn functions(&self) -> Result<Value, ClientError> {
        self.json(Method::GET, url("functions"), None).await
    }

    /// `GET /v1/functions/NAME`.
    pub(crate) async fn function(&self, name: &str) -> Result<Value, ClientError> {
        self.json(Method::GET, function(name, ""), None).await
    }

    /// `DELETE /v1/functions/NAME`.
    pub(crate) async fn remove(&self, name: &str) -> Result<Value, ClientError> {
        self.json(Method::DELETE, function(name, ""), None).await
    }

    /// `POST /v1/functions/NAME/evict`.
    pub(crate) async fn evict(&self, name: &str, scope: EvictScope) -> Result<Value, ClientError> {
        let mut url = function(name, "/evict");
        url.query_pairs_mut()
            .append_pair("all", if scope == EvictScope::All { "true" } else { "false" });
        self.json(Method::POST, url, None).await
    }

    /// `HEAD /v1/bundles/DIGEST`: whether the server has the bundle already.
    pub(crate) async fn has_bundle(&self, digest: &str) -> Result<bool, ClientError> {
        let response = self.send(self.http.head(url(&format!("bundles/{digest}")))).await?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(false),
            status if status.is_success() => Ok(true),
            _ => Err(self.refusal(response).await),
        }
    }

    /// `POST /v1/bundles`: sends a packed bundle of `length` bytes.
    pub(crate) async fn upload(&self, body: Body, length: u64) -> Result<Value, ClientError> {
        let request = self
            .http
            .post(url("bundles"))
            .header(reqwest::header::CONTENT_TYPE, "application/x-tar")
            .header(reqwest::header::CONTENT_LENGTH, length)
            .body(body);
        self.document(request).await
    }

    /// `PUT /v1/functions/NAME`: makes the bundle with these settings the live revision.
    pub(crate) async fn deploy(
        &self,
        name: &str,
        bundle: &str,
        manifest: &Value,
        check: Check,
    ) -> Result<Value, ClientError> {
        let body = json!({ "bundle": bundle, "manifest": manifest, "check": check == Check::Before });
        self.json(Method::PUT, function(name, ""), Some(&body)).await
    }

    /// `GET /v1/functions/NAME/logs`: one record per item.
    pub(crate) async fn logs(
        &self,
        name: &str,
        query: &LogQuery,
    ) -> Result<impl Stream<Item = Result<Value, ClientError>> + use<>, ClientError> {
        let mut url = function(name, "/logs");
        {
            let mut pairs = url.query_pairs_mut();
            pairs.append_pair("follow", if query.follow { "true" } else { "false" });
            if let Some(request) = &query.request {
                pairs.append_pair("request", request);
            }
            if let Some(tail) = query.tail {
                pairs.append_pair("tail", &tail.to_string());
            }
        }
        self.lines(url).await
    }

    /// `GET /v1/alerts`: one alert per item.
    pub(crate) async fn alerts(
        &self,
        query: &AlertQuery,
    ) -> Result<impl Stream<Item = Result<Value, ClientError>> + use<>, ClientError> {
        let mut url = url("alerts");
        {
            let mut pairs = url.query_pairs_mut();
            pairs.append_pair("follow", if query.follow { "true" } else { "false" });
            if let Some(function) = &query.function {
                pairs.append_pair("function", function);
            }
            if let Some(tail) = query.tail {
                pairs.append_pair("tail", &tail.to_string());
            }
        }
        self.lines(url).await
    }

    /// `GET /v1/rules`.
    pub(crate) async fn rules(&self) -> Result<Value, ClientError> {
        self.json(Method::GET, url("rules"), None).await
    }

    /// `ANY /v1/functions/NAME/invoke/PATH`: the reply as it is, whatever its status; the body is still to be read.
    pub(crate) async fn invoke(&self, name: &str, call: Call) -> Result<Response, ClientError> {
        let url = invoke_url(name, &call.path)?;
        let mut request = self.http.request(call.method, url).headers(call.headers);
        if let Some(body) = call.body {
            request = request.body(body);
        }
        self.send(request).await
    }

    /// The next piece of a reply's body; `None` at its end.
    pub(crate) async fn piece(&self, response: &mut Response) -> Result<Option<impl AsRef<[u8]> + use<>>, ClientError> {
        response
            .chunk()
            .await
            .map_err(|cause| ClientError::transport(&self.socket, cause))
    }

    /// Reads a reply that says no.
    pub(crate) async fn refusal(&self, response: Response) -> ClientError {
        let status = response.status();
        match response.bytes().await {
            Ok(body) => ClientError::Api(Box::new(ApiError::read(status, &body))),
            Err(cause) => ClientError::transport(&self.socket, cause),
        }
    }

    /// A reply of newline-delimited JSON.
    async fn lines(&self, url: Url) -> Result<impl Stream<Item = Result<Value, ClientError>> + use<>, ClientError> {
        let response = self.send(self.http.get(url)).await?;
        if !response.status().is_success() {
            return Err(self.refusal(response).await);
        }
        let socket = self.socket.clone();
        let bytes = response
            .bytes_stream()
            .map(move |piece| piece.map_err(|cause| ClientError::transport(&socket, cause)));
        Ok(lines::documents(bytes))
    }

    async fn json(&self, method: Method, url: Url, body: Option<&Value>) -> Result<Value, ClientError> {
        let mut request = self.http.request(method, url);
        if let Some(body) = body {
            request = request.json(body);
        }
        self.document(request).await
    }

    async fn document(&self, request: reqwest::RequestBuilder) -> Result<Value, ClientError> {
        let response = self.send(request).await?;
        if !response.status().is_success() {
            return Err(self.refusal(response).await);
        }
        let body = response
            .bytes()
            .await
            .map_err(|cause| ClientError::transport(&self.socket, cause))?;
        if body.is_empty() {
            return Ok(json!({}));
        }
        serde_json::from_slice(&body).map_err(|cause| ClientError::NotJson { cause })
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Response, ClientError> {
        request
            .send()
            .await
            .map_err(|cause| ClientError::transport(&self.socket, cause))
    }
}

/// The address of a route. The host is only a word here; the connection goes to the socket.
fn url(path: &str) -> Url {
    Url::parse(&format!("http://localhost/v1/{path}")).expect("names and digests have nothing that a URL could refuse")
}

/// The address of a route of one function. The caller has checked the name.
fn function(name: &str, rest: &str) -> Url {
    url(&format!("functions/{name}{rest}"))
}

/// The address of an invocation. A path that would leave the function's own routes by `..` is refused, because URLs
/// are made free of dots before they are sent, and the request would then reach another route of the admin API.
fn invoke_url(name: &str, path: &str) -> Result<Url, ClientError> {
    let bad = |reason: String| ClientError::BadPath {
        path: path.to_owned(),
        reason,
    };
    if !path.starts_with('/') {
        return Err(bad("it must begin with '/'".into()));
    }
    let base = format!("/v1/functions/{name}/invoke");
    let url = Url::parse(&format!("http://localhost{base}{path}")).map_err(|cause| bad(cause.to_string()))?;
    match url.path().strip_prefix(base.as_str()) {
        Some(rest) if rest.starts_with('/') => Ok(url),
        _ => Err(bad("it leaves the function by '..'".into())),
    }
}
