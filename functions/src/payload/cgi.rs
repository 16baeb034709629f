//! The request as environment variables of a `stdio` program.
//!
//! Names are those of CGI (RFC 3875, section 4.1) and, beside them, those of the OpenFaaS classic watchdog
//! (`Http_Method`, `Http_X_Header`). There is no `GATEWAY_INTERFACE`: the program's output is the reply's body, not a
//! CGI response with headers of its own, and a program that looks for a CGI server must not be told that it found one.

use std::borrow::Cow;

use super::request::{RequestHead, percent_decode};

/// The environment for one request. No name or value holds a NUL; names are letters, digits and underscores.
///
/// `PATH_INFO` is percent-decoded, unless that gives bytes that are no text or hold a NUL: then it is as sent, like
/// `Http_Path` always is. A header becomes `HTTP_NAME` and `Http_Name`, except those that
/// * are named `Proxy`, because programs read `HTTP_PROXY` as their own configuration (CVE-2016-5385);
/// * have a name with other characters than letters, digits and hyphens, because two such names could meet in one
///   variable;
/// * would take the place of a variable that the platform sets.
pub fn cgi_env(head: &RequestHead<'_>) -> Vec<(String, String)> {
    let query = head.query.unwrap_or_default();
    let header = |name| head.headers.get(name).map(super::request::header_text);
    let content_length = header(http::header::CONTENT_LENGTH);

    let mut env: Vec<(String, String)> = Vec::with_capacity(16 + 2 * head.headers.len());
    let mut set = |name: &str, value: &str| env.push((name.to_owned(), value.to_owned()));
    set("REQUEST_METHOD", head.method.as_str());
    set("QUERY_STRING", query);
    set("PATH_INFO", &path_info(head.path));
    set("SCRIPT_NAME", "");
    set("SERVER_PROTOCOL", head.protocol());
    set("SERVER_NAME", head.host_name());
    set("SERVER_PORT", head.host_port());
    set("REMOTE_ADDR", &head.source_ip.to_string());
    if let Some(content_type) = header(http::header::CONTENT_TYPE) {
        set("CONTENT_TYPE", &content_type);
    }
    if let Some(length) = &content_length {
        set("CONTENT_LENGTH", length);
    }
    set("Http_Method", head.method.as_str());
    set("Http_Query", query);
    set("Http_Path", head.path);
    if let Some(length) = &content_length {
        set("Http_Content_Length", length);
    }
    for (name, value) in head.headers_joined(", ") {
        let Some((upper, title)) = variable_names(name) else {
            continue;
        };
        if !matches!(name, "content-type" | "content-length") {
            set(&upper, &value);
        }
        if !matches!(name, "method" | "query" | "path" | "content-length") {
            set(&title, &value);
        }
    }
    env
}

fn path_info(path: &str) -> Cow<'_, str> {
    match String::from_utf8(percent_decode(path)) {
        Ok(decoded) if !decoded.contains('\0') => Cow::Owned(decoded),
        _ => Cow::Borrowed(path),
    }
}

/// `x-request-id` as `HTTP_X_REQUEST_ID` and `Http_X_Request_Id`.
fn variable_names(header: &str) -> Option<(String, String)> {
    if header == "proxy" || !header.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return None;
    }
    let mut title = String::with_capacity(5 + header.len());
    for word in header.split('-') {
        title.push_str(if title.is_empty() { "Http_" } else { "_" });
        let (first, rest) = word.split_at(word.len().min(1));
        title.push_str(&first.to_ascii_uppercase());
        title.push_str(rest);
    }
    Some((title.to_ascii_uppercase(), title))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use http::{HeaderMap, HeaderName, HeaderValue, Method};
    use proptest::prelude::*;

    use super::super::request::tests::head;
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        map
    }

    fn env(head: &RequestHead<'_>) -> HashMap<String, String> {
        let pairs = cgi_env(head);
        let count = pairs.len();
        let map: HashMap<_, _> = pairs.into_iter().collect();
        assert_eq!(map.len(), count, "no variable is set twice");
        map
    }

    #[test]
    fn a_request_becomes_cgi_and_watchdog_variables() {
        let headers = headers(&[
            ("content-type", "text/plain"),
            ("content-length", "5"),
            ("x-request-id", "7"),
            ("accept", "a"),
            ("accept", "b"),
            ("cookie", "a=1"),
            ("cookie", "b=2"),
        ]);
        let mut head = head(&Method::PUT, &headers);
        head.path = "/a%20b/c";
        head.query = Some("x=1&y=%20");
        let env = env(&head);
        for (name, value) in [
            ("REQUEST_METHOD", "PUT"),
            ("QUERY_STRING", "x=1&y=%20"),
            ("PATH_INFO", "/a b/c"),
            ("SERVER_PROTOCOL", "HTTP/1.1"),
            ("SERVER_NAME", "hello.localhost"),
            ("SERVER_PORT", "8080"),
            ("REMOTE_ADDR", "127.0.0.1"),
            ("CONTENT_TYPE", "text/plain"),
            ("CONTENT_LENGTH", "5"),
            ("HTTP_X_REQUEST_ID", "7"),
            ("HTTP_ACCEPT", "a, b"),
            ("HTTP_COOKIE", "a=1; b=2"),
            ("HTTP_X_FORWARDED_FOR", "127.0.0.1"),
            ("Http_Method", "PUT"),
            ("Http_Query", "x=1&y=%20"),
            ("Http_Path", "/a%20b/c"),
            ("Http_Content_Length", "5"),
            ("Http_Content_Type", "text/plain"),
            ("Http_X_Request_Id", "7"),
        ] {
            assert_eq!(env.get(name).map(String::as_str), Some(value), "{name}");
        }
        for name in ["HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH", "GATEWAY_INTERFACE"] {
            assert!(!env.contains_key(name), "{name}");
        }
    }

    #[test]
    fn a_proxy_header_configures_nothing() {
        for name in ["proxy", "Proxy", "PROXY"] {
            let headers = headers(&[(name, "http://evil/")]);
            let env = env(&head(&Method::GET, &headers));
            assert!(env.keys().all(|key| !key.eq_ignore_ascii_case("http_proxy")), "{name}");
        }
    }

    #[test]
    fn a_header_can_not_stand_in_for_another_variable() {
        let headers = headers(&[
            ("method", "EVIL"),
            ("path", "/evil"),
            ("query", "evil"),
            ("x_role", "admin"),
            ("x-role", "user"),
        ]);
        let env = env(&head(&Method::GET, &headers));
        assert_eq!(env["Http_Method"], "GET");
        assert_eq!(env["Http_Path"], "/");
        assert_eq!(env["Http_Query"], "");
        assert_eq!(env["HTTP_METHOD"], "EVIL");
        assert_eq!(env["HTTP_X_ROLE"], "user");
    }

    #[test]
    fn a_path_that_is_no_text_stays_encoded() {
        let headers = HeaderMap::new();
        let mut head = head(&Method::GET, &headers);
        for (path, info) in [
            ("/a%00b", "/a%00b"),
            ("/%ff", "/%ff"),
            ("/%C3%A9", "/é"),
            ("/%2e%2E", "/.."),
        ] {
            head.path = path;
            assert_eq!(env(&head)["PATH_INFO"], info);
        }
    }

    proptest! {
        #[test]
        fn names_and_values_fit_an_environment(
            name in "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,20}", value in "[\\x20-\\x7e]{0,20}", path in "/[\\x21-\\x7e]{0,20}",
        ) {
            let headers = headers(&[(&name, &value)]);
            let mut head = head(&Method::GET, &headers);
            head.path = &path;
            for (key, text) in env(&head) {
                prop_assert!(key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'), "{}", key);
                prop_assert!(!key.as_bytes()[0].is_ascii_digit());
                prop_assert!(!text.contains('\0'));
                prop_assert!(!key.eq_ignore_ascii_case("http_proxy"));
            }
        }
    }
}
