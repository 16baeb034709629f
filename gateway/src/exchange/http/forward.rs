//! A request's head as a server behind a proxy expects it.
//!
//! Everything that concerns the caller's connection alone is gone by then. Added is who called, as Cloud Run and Knative do it: `Host` as the
//! caller wrote it, `Forwarded` (RFC 7239), and the older `X-Forwarded-*`. What a caller claims in them stands before what is known.

use std::net::IpAddr;

use http::header::{CONNECTION, FORWARDED, HOST, HeaderName, UPGRADE};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Uri, Version};

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const HOSTED: HeaderName = HeaderName::from_static("x-forwarded-host");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-fn-request-id");

/// What a request asks beside its own head.
pub(crate) struct Asked<'a> {
    /// The path below the function, beginning with `/`.
    pub(crate) path: &'a str,
    /// Who called.
    pub(crate) source: IpAddr,
    /// The id of the request.
    pub(crate) request_id: HeaderValue,
    /// The protocol that the caller wants to switch to.
    pub(crate) upgrade: Option<HeaderValue>,
}

impl Asked<'_> {
    /// The protocol that the headers ask to switch to. Read before what belongs to the connection is taken out.
    ///
    /// `h2c` is not passed on: requests inside it would be seen by nobody here. HTTP/1.0 has no upgrades (RFC 9110 section 7.8).
    pub(crate) fn upgrade(version: Version, headers: &HeaderMap) -> Option<HeaderValue> {
        if version < Version::HTTP_11 {
            return None;
        }
        let named = |value: &HeaderValue| {
            let value = value.to_str().unwrap_or_default();
            value.split(',').any(|name| name.trim().eq_ignore_ascii_case("upgrade"))
        };
        let asks = headers.get_all(CONNECTION).iter().any(named);
        let protocol = headers.get(UPGRADE).filter(|_| asks)?;
        let known = protocol.to_str().ok()?;
        let http2 = known.split(',').any(|name| name.trim().eq_ignore_ascii_case("h2c"));
        (!http2).then(|| protocol.clone())
    }
}

/// The head that the server gets. `head` was cleaned.
pub(crate) fn forwarded(mut head: Parts, asked: Asked<'_>) -> Parts {
    let target = match head.uri.query() {
        Some(query) => format!("{}?{query}", asked.path),
        None => asked.path.to_owned(),
    };
    // A part of a valid target is one, as long as it begins with a slash.
    head.uri = target
        .parse::<PathAndQuery>()
        .map_or_else(|_| Uri::from_static("/"), Uri::from);
    head.version = Version::HTTP_11;
    head.extensions.clear();
    let headers = &mut head.headers;
    let host = headers.get(HOST).cloned();
    let source = asked.source.to_string();
    append(headers, FOR, &source);
    append(headers, FORWARDED, &element(asked.source, host.as_ref()));
    headers.entry(PROTO).or_insert(HeaderValue::from_static("http"));
    if let Some(host) = host {
        headers.entry(HOSTED).or_insert(host);
    }
    headers.insert(REQUEST_ID, asked.request_id);
    if let Some(protocol) = asked.upgrade {
        headers.insert(UPGRADE, protocol);
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    }
    head
}

/// Puts a value behind those that are there, in one line.
fn append(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    let mut line = String::new();
    for claimed in headers.get_all(&name) {
        // What is no text is worth nothing to whoever reads it.
        if let Ok(claimed) = claimed.to_str() {
            line.push_str(claimed);
            line.push_str(", ");
        }
    }
    line.push_str(value);
    if let Ok(line) = HeaderValue::from_str(&line) {
        headers.insert(name, line);
    }
}

/// One hop, RFC 7239 section 4.
fn element(source: IpAddr, host: Option<&HeaderValue>) -> String {
    let source = match source {
        IpAddr::V4(source) => source.to_string(),
        IpAddr::V6(source) => format!("\"[{source}]\""),
    };
    let host = host
        .and_then(|host| host.to_str().ok())
        .filter(|host| !host.contains(['"', '\\']));
    match host {
        Some(host) => format!("for={source};host=\"{host}\";proto=http"),
        None => format!("for={source};proto=http"),
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use proptest::prelude::*;

    use super::*;

    fn through(request: http::request::Builder, path: &str) -> Parts {
        let head = request.body(()).unwrap().into_parts().0;
        let upgrade = Asked::upgrade(head.version, &head.headers);
        let asked = Asked {
            path,
            source: [127, 0, 0, 1].into(),
            request_id: HeaderValue::from_static("id"),
            upgrade,
        };
        forwarded(head, asked)
    }

    #[test]
    fn what_a_caller_claims_stands_before_what_is_known() {
        let request = Request::get("http://x/function/a/b?c=d")
            .header("host", "a.localhost:8080")
            .header("x-forwarded-for", "10.0.0.1")
            .header("x-forwarded-for", "10.0.0.2")
            .header("forwarded", "for=10.0.0.1");
        let head = through(request, "/b");
        assert_eq!(head.uri, "/b?c=d");
        assert_eq!(head.headers["x-forwarded-for"], "10.0.0.1, 10.0.0.2, 127.0.0.1");
        assert_eq!(
            head.headers["forwarded"],
            "for=10.0.0.1, for=127.0.0.1;host=\"a.localhost:8080\";proto=http"
        );
        assert_eq!(head.headers["x-forwarded-host"], "a.localhost:8080");
        assert_eq!(head.headers["x-forwarded-proto"], "http");
        assert_eq!(head.headers["host"], "a.localhost:8080");
        assert_eq!(element("::1".parse().unwrap(), None), "for=\"[::1]\";proto=http");
    }

    #[test]
    fn an_upgrade_has_to_be_asked_for_in_both_headers_and_is_never_http2() {
        let asks = |connection: &'static str, upgrade: &'static str| {
            let headers = HeaderMap::from_iter([
                (CONNECTION, HeaderValue::from_static(connection)),
                (UPGRADE, HeaderValue::from_static(upgrade)),
            ]);
            assert_eq!(Asked::upgrade(Version::HTTP_10, &headers), None);
            Asked::upgrade(Version::HTTP_11, &headers).is_some()
        };
        assert!(asks("keep-alive, Upgrade", "websocket"));
        assert!(!asks("keep-alive", "websocket"));
        assert!(!asks("Upgrade, HTTP2-Settings", "h2c"));
        assert!(!asks("Upgrade", "websocket, H2C"));
    }

    proptest! {
        #[test]
        fn any_head_is_passed_on(path in "/[!-~]{0,40}", value in "[ -~]{0,40}", host in "[!-~]{0,20}") {
            let request = Request::get("/").header("x-forwarded-for", value.as_str()).header("host", host.as_str());
            let head = through(request, &path);
            prop_assert!(head.uri.path().starts_with('/'));
            prop_assert!(head.headers["x-forwarded-for"].to_str().unwrap().ends_with("127.0.0.1"));
            prop_assert_eq!(head.headers.get_all("forwarded").iter().count(), 1);
        }
    }
}
