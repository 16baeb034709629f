//! What of a request the translations need to know.

use std::borrow::Cow;
use std::net::IpAddr;

use http::header::{HeaderMap, HeaderValue};
use http::{Method, Version};
use jiff::Timestamp;

use crate::FunctionName;

/// A request as the gateway resolved it: the path is the function's own, everything before it is gone.
#[derive(Debug, Clone)]
pub struct RequestHead<'a> {
    /// The function's name. Stands where Lambda has the URL id.
    pub function: &'a FunctionName,
    /// Unique per request; also in the reply's `x-fn-request-id`.
    pub request_id: &'a str,
    /// The request's method.
    pub method: &'a Method,
    /// The path below the function, still percent-encoded. Begins with `/`.
    pub path: &'a str,
    /// The query without its question mark, still encoded.
    pub query: Option<&'a str>,
    /// The HTTP version the client spoke.
    pub version: Version,
    /// All headers that may pass on to the function.
    pub headers: &'a HeaderMap,
    /// Name, and port if any, under which the client called: the `Host` header or `:authority`.
    pub host: &'a str,
    /// Whether the client's connection to us was encrypted, as `http` or `https`.
    pub scheme: &'a str,
    /// The client's address.
    pub source_ip: IpAddr,
    /// The trace header of the call, when the gateway made or passed on one.
    pub trace_id: Option<&'a str>,
    /// When the request arrived.
    pub time: Timestamp,
}

impl<'a> RequestHead<'a> {
    /// The name without the port.
    pub(super) fn host_name(&self) -> &'a str {
        self.split_host().0
    }

    /// The port as text; that of the scheme when the client named none.
    pub(super) fn host_port(&self) -> &'a str {
        match self.split_host().1 {
            "" if self.scheme == "https" => "443",
            "" => "80",
            port => port,
        }
    }

    fn split_host(&self) -> (&'a str, &'a str) {
        match self.host.rsplit_once(':') {
            // The colon of a bare IPv6 address in brackets separates no port.
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => (name, port),
            _ => (self.host, ""),
        }
    }

    /// `HTTP/1.1` and so on.
    pub(super) fn protocol(&self) -> &'static str {
        match self.version {
            Version::HTTP_09 => "HTTP/0.9",
            Version::HTTP_10 => "HTTP/1.0",
            Version::HTTP_2 => "HTTP/2.0",
            Version::HTTP_3 => "HTTP/3.0",
            _ => "HTTP/1.1",
        }
    }

    /// Every header once, repeats joined by `separator`, with the forwarded headers that every function may rely on.
    /// `x-forwarded-for` gets the client's address appended, because what stands before it is the client's own claim.
    pub(super) fn headers_joined(&self, separator: &str) -> Vec<(&'a str, Cow<'a, str>)> {
        let mut joined: Vec<(&str, Cow<'_, str>)> = Vec::with_capacity(self.headers.keys_len() + 4);
        for name in self.headers.keys() {
            let separator = if *name == http::header::COOKIE { "; " } else { separator };
            let mut values = self.headers.get_all(name).iter().map(header_text);
            let mut text = values.next().unwrap_or_default();
            for more in values {
                let text = text.to_mut();
                text.push_str(separator);
                text.push_str(&more);
            }
            joined.push((name.as_str(), text));
        }
        let source = self.source_ip.to_string();
        match joined.iter_mut().find(|(name, _)| *name == "x-forwarded-for") {
            Some((_, text)) => *text = Cow::Owned(format!("{text}, {source}")),
            None => joined.push(("x-forwarded-for", Cow::Owned(source))),
        }
        let also = [
            ("x-forwarded-proto", Some(self.scheme)),
            ("x-forwarded-port", Some(self.host_port())),
            ("x-amzn-trace-id", self.trace_id),
        ];
        for (name, value) in also {
            if let (Some(value), false) = (value, self.headers.contains_key(name)) {
                joined.push((name, Cow::Borrowed(value)));
            }
        }
        joined
    }
}

/// A header value as text. HTTP gives bytes over 0x7f no meaning; UTF-8 is what clients send, and Latin-1 reads all else.
pub(super) fn header_text(value: &HeaderValue) -> Cow<'_, str> {
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(value.as_bytes().iter().map(|byte| char::from(*byte)).collect()),
    }
}

/// `%41` becomes `A`; a percent sign that begins no escape stays. The result may be any bytes.
pub(super) fn percent_decode(text: &str) -> Vec<u8> {
    let mut rest = text.as_bytes();
    let mut decoded = Vec::with_capacity(rest.len());
    while let [byte, after @ ..] = rest {
        rest = after;
        match (byte, after) {
            (b'%', [high, low, after @ ..]) if let (Some(high), Some(low)) = (hex(*high), hex(*low)) => {
                decoded.push(high << 4 | low);
                rest = after;
            }
            _ => decoded.push(*byte),
        }
    }
    decoded
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
pub(super) mod tests {
    use std::net::Ipv4Addr;
    use std::sync::LazyLock;

    use super::*;

    /// The function of every test request.
    static HELLO: LazyLock<FunctionName> = LazyLock::new(|| "hello".parse().unwrap());

    pub(in crate::payload) fn head<'a>(method: &'a Method, headers: &'a HeaderMap) -> RequestHead<'a> {
        RequestHead {
            function: &HELLO,
            request_id: "0198c0de-0000-7000-8000-000000000001",
            method,
            path: "/",
            query: None,
            version: Version::HTTP_11,
            headers,
            host: "hello.localhost:8080",
            scheme: "http",
            source_ip: Ipv4Addr::LOCALHOST.into(),
            trace_id: None,
            time: "2020-03-12T19:03:58.390Z".parse().unwrap(),
        }
    }

    #[test]
    fn a_host_splits_into_name_and_port() {
        let headers = HeaderMap::new();
        let mut head = head(&Method::GET, &headers);
        for (host, name, port) in [
            ("hello.localhost:8080", "hello.localhost", "8080"),
            ("hello.localhost", "hello.localhost", "80"),
            ("[::1]:9000", "[::1]", "9000"),
            ("[::1]", "[::1]", "80"),
            ("", "", "80"),
        ] {
            head.host = host;
            assert_eq!((head.host_name(), head.host_port()), (name, port), "{host}");
        }
    }

    #[test]
    fn the_clients_address_comes_last_in_x_forwarded_for() {
        let mut headers = HeaderMap::new();
        headers.append("x-forwarded-for", "9.9.9.9".parse().unwrap());
        headers.append("x-forwarded-proto", "https".parse().unwrap());
        let joined = head(&Method::GET, &headers).headers_joined(",");
        let get = |name: &str| joined.iter().find(|(n, _)| *n == name).map(|(_, v)| v.to_string());
        assert_eq!(get("x-forwarded-for").as_deref(), Some("9.9.9.9, 127.0.0.1"));
        assert_eq!(get("x-forwarded-proto").as_deref(), Some("https"));
        assert_eq!(get("x-forwarded-port").as_deref(), Some("8080"));
        assert_eq!(get("x-amzn-trace-id"), None);
    }

    #[test]
    fn escapes_decode_and_broken_ones_stay() {
        for (text, bytes) in [
            ("a%20b", "a b"),
            ("%", "%"),
            ("%4", "%4"),
            ("%zz", "%zz"),
            ("%c3%A9", "é"),
            ("a+b", "a+b"),
        ] {
            assert_eq!(percent_decode(text), bytes.as_bytes(), "{text}");
        }
    }
}
