//! HTTP as an ordinary client speaks it.

use std::path::Path;
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Body, Method, Request};

/// A client that keeps its connections.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
}

/// A whole reply.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

impl Client {
    /// For addresses of the public side.
    pub fn tcp() -> Self {
        Self::built(reqwest::Client::builder())
    }

    /// For everything behind a unix socket, whatever host the address names.
    pub fn unix(socket: &Path) -> Self {
        Self::built(reqwest::Client::builder().unix_socket(socket))
    }

    fn built(builder: reqwest::ClientBuilder) -> Self {
        let builder = builder
            .no_proxy()
            // A story may do other things for longer than the server keeps a connection.
            .pool_idle_timeout(Duration::from_secs(20))
            .timeout(Duration::from_secs(180))
            .redirect(reqwest::redirect::Policy::none());
        Self {
            http: builder.build().expect("a plain client can be built"),
        }
    }

    /// GET.
    pub async fn get(&self, url: &str) -> reqwest::Result<Reply> {
        Self::whole(self.http.get(url).send().await?).await
    }

    /// POST.
    pub async fn post(&self, url: &str, body: impl Into<Body>) -> reqwest::Result<Reply> {
        Self::whole(self.http.post(url).body(body).send().await?).await
    }

    /// PUT of a JSON document.
    pub async fn put(&self, url: &str, body: &serde_json::Value) -> reqwest::Result<Reply> {
        Self::whole(self.http.put(url).json(body).send().await?).await
    }

    /// POST with headers.
    pub async fn post_with(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> reqwest::Result<Reply> {
        let request = self.http.request(Method::POST, url).body(body);
        let request = headers
            .iter()
            .fold(request, |request, (key, value)| request.header(*key, *value));
        Self::whole(request.send().await?).await
    }

    /// A request that was built by hand.
    pub async fn send(&self, request: Request) -> reqwest::Result<Reply> {
        Self::whole(self.http.execute(request).await?).await
    }

    async fn whole(response: reqwest::Response) -> reqwest::Result<Reply> {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Reply {
            status,
            headers,
            body: response.bytes().await?.to_vec(),
        })
    }
}

impl Reply {
    /// A header's value, empty without one.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// `x-fn-start`.
    pub fn start(&self) -> &str {
        self.header("x-fn-start")
    }

    /// `x-fn-instance`: the boot id of the process that answered.
    pub fn instance(&self) -> &str {
        self.header("x-fn-instance")
    }

    /// `x-fn-revision`.
    pub fn revision(&self) -> u64 {
        self.header("x-fn-revision").parse().unwrap_or_default()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {} {}", self.status, self.text()))
    }

    /// Panics unless the status is 200.
    #[track_caller]
    pub fn good(self) -> Self {
        assert_eq!(self.status, 200, "expected status 200: {}", self.text());
        self
    }

    /// Panics unless this is the platform's own error with the given status and a code, a message and a request id. Returns the code.
    #[track_caller]
    pub fn error(&self, status: u16) -> String {
        assert_eq!(self.status, status, "expected status {status}: {}", self.text());
        let error = &self.json()["error"];
        for field in ["code", "message", "request_id"] {
            assert!(
                error[field].as_str().is_some_and(|text| !text.is_empty()),
                "no {field} in {}",
                self.text()
            );
        }
        error["code"].as_str().unwrap_or_default().to_owned()
    }

    /// Panics unless this call was answered by an instance that ran none before.
    #[track_caller]
    pub fn is_cold(&self) -> &Self {
        assert_eq!(self.status, 200, "{}", self.text());
        assert!(
            !["", "warm", "thawed"].contains(&self.start()),
            "expected a cold start, seen {:?}",
            self.start()
        );
        self
    }

    /// Panics unless this call was answered by an instance that ran one before.
    #[track_caller]
    pub fn is_warm(&self) -> &Self {
        assert_eq!(self.status, 200, "{}", self.text());
        assert!(
            ["warm", "thawed"].contains(&self.start()),
            "expected a warm start, seen {:?}",
            self.start()
        );
        self
    }
}
