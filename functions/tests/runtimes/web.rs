//! Requests for web apps, as the gateway would send them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use functions::payload::{RequestHead, event, repeated};
use functions::{FunctionName, Runtime};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use serde_json::Value;

use crate::host::{Answer, Instance};

/// A request that tests change to their needs.
pub(crate) struct Ask<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    /// What stands before it.
    pub(crate) base_path: &'a str,
    pub(crate) query: Option<&'a str>,
    pub(crate) headers: Vec<(&'a str, &'a [u8])>,
    pub(crate) body: &'a [u8],
}

impl Default for Ask<'_> {
    fn default() -> Self {
        Ask {
            method: "GET",
            path: "/",
            base_path: "",
            query: None,
            headers: vec![("host", b"hello.localhost:8080")],
            body: b"",
        }
    }
}

impl Ask<'_> {
    /// The event the function gets.
    pub(crate) fn event(&self) -> Value {
        self.as_head(|head| serde_json::from_slice(&event(head, self.body)).unwrap())
    }

    /// The lines of headers that repeat.
    pub(crate) fn repeated(&self) -> BTreeMap<String, Vec<String>> {
        self.as_head(repeated)
    }

    fn as_head<T>(&self, then: impl FnOnce(&RequestHead<'_>) -> T) -> T {
        let name: FunctionName = "hello".parse().unwrap();
        let method = Method::from_bytes(self.method.as_bytes()).unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_bytes(value).unwrap());
        }
        let host = headers
            .get("host")
            .map_or(String::new(), |host| host.to_str().unwrap().to_owned());
        let head = RequestHead {
            function: &name,
            request_id: "req-1",
            method: &method,
            path: self.path,
            query: self.query,
            version: Version::HTTP_11,
            headers: &headers,
            host: &host,
            scheme: "http",
            source_ip: Ipv4Addr::LOCALHOST.into(),
            trace_id: None,
            time: jiff::Timestamp::UNIX_EPOCH,
        };
        then(&head)
    }
}

/// The event of a plain GET of a path.
pub(crate) fn at(path: &str) -> Value {
    Ask { path, ..Ask::default() }.event()
}

/// Calls each path, which must fail before a reply begins, with an error of this type whose message has these words.
pub(crate) fn fail(instance: &mut Instance, cases: &[(&str, &str, &str)]) {
    for (path, kind, words) in cases {
        let answer = instance.call(&at(path));
        let failure = answer.failure();
        assert_eq!(failure.error_type, *kind, "{path}");
        assert!(
            failure.error_message.contains(words),
            "{path}: {}",
            failure.error_message
        );
    }
}

/// Calls each path, whose reply must break off: with words in the error's message, and with a body that had begun.
pub(crate) fn break_off(instance: &mut Instance, cases: &[(&str, &str, &str)]) {
    for (path, words, begun) in cases {
        let answer = instance.call(&at(path));
        let (failure, body) = answer.aborted();
        assert!(
            failure.error_message.contains(words),
            "{path}: {}",
            failure.error_message
        );
        assert_eq!(body, begun.as_bytes(), "{path}");
    }
}

/// An app of one file that is ready.
pub(crate) fn app(runtime: Runtime, handler: &str, file: &str, source: &str) -> Instance {
    let mut instance = Instance::start(runtime, handler, &[(file, source)]);
    instance.ready();
    instance
}

/// Status and body of a reply in which nothing went wrong.
pub(crate) fn plain(answer: &Answer) -> (u16, String) {
    let (head, body) = answer.streamed();
    (head.status.as_u16(), String::from_utf8(body).unwrap())
}

/// The lines of one header of a reply.
pub(crate) fn lines(answer: &Answer, name: &str) -> Vec<String> {
    let values = answer.streamed().0.headers.get_all(name);
    values
        .iter()
        .map(|value| String::from_utf8(value.as_bytes().to_vec()).unwrap())
        .collect()
}
