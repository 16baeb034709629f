//! What a server says behind the body of its reply.
//!
//! In HTTP/1.1 a caller gets trailers when he says that he takes them, and those alone that the head of the reply names. A server that speaks HTTP/1.1
//! has to name them as well. One that speaks HTTP/2 has not, and servers of gRPC do not: what they send is known.

use http::header::{CONTENT_TYPE, TE, TRAILER};
use http::{HeaderMap, HeaderValue, StatusCode, Version};

use crate::reply;

/// Behind each reply of gRPC ("gRPC over HTTP2", Trailers).
const GRPC: HeaderValue = HeaderValue::from_static("grpc-status, grpc-message, grpc-status-details-bin");

/// Whether the caller takes trailers. Read before what belongs to the connection is taken out.
pub(crate) fn are_taken(version: Version, headers: &HeaderMap) -> bool {
    let named = |value: &HeaderValue| {
        let value = value.to_str().unwrap_or_default();
        value
            .split(',')
            .any(|name| name.trim().eq_ignore_ascii_case("trailers"))
    };
    version >= Version::HTTP_11 && headers.get_all(TE).iter().any(named)
}

/// The names of what follows a reply with this head, in one line; `None` when nothing is known to follow.
pub(super) fn announced(headers: &HeaderMap) -> Option<HeaderValue> {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    if kind.is_some_and(|kind| kind.starts_with("application/grpc")) {
        return Some(GRPC);
    }
    let lines: Vec<&str> = headers
        .get_all(TRAILER)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .collect();
    (!lines.is_empty())
        .then(|| lines.join(", "))
        .and_then(|names| HeaderValue::from_str(&names).ok())
}

/// What of it goes to the caller: nothing that only the platform may say, and not more than a head may hold.
pub(super) fn checked(mut trailers: HeaderMap) -> Option<HeaderMap> {
    reply::clean_reply(&mut trailers);
    if let Err(error) = reply::check(StatusCode::OK, &trailers) {
        tracing::debug!(%error, "the trailers of a reply are dropped");
        return None;
    }
    (!trailers.is_empty()).then_some(trailers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let line = |(name, value): &(&'static str, &'static str)| (name.parse().unwrap(), value.parse().unwrap());
        HeaderMap::from_iter(lines.iter().map(line))
    }

    #[test]
    fn callers_have_to_say_that_they_take_them() {
        let te = |version, value| are_taken(version, &headers(&[("te", value)]));
        assert!(te(Version::HTTP_11, "gzip;q=0.5, Trailers"));
        assert!(!te(Version::HTTP_11, "gzip"));
        assert!(!te(Version::HTTP_10, "trailers"));
        assert!(!are_taken(Version::HTTP_11, &HeaderMap::new()));
    }

    #[test]
    fn a_head_names_them_or_is_of_grpc() {
        let mut named = headers(&[("trailer", "a")]);
        assert_eq!(announced(&named).unwrap(), "a");
        named.append("trailer", "B, c".parse().unwrap());
        assert_eq!(announced(&named).unwrap(), "a, B, c");
        let grpc = headers(&[("content-type", "application/grpc+proto")]);
        assert_eq!(announced(&grpc).unwrap(), GRPC);
        assert_eq!(announced(&headers(&[("content-type", "text/plain")])), None);
    }

    #[test]
    fn they_say_nothing_in_the_name_of_the_platform() {
        let said = [("x-fn-start", "forged"), ("content-length", "1"), ("grpc-status", "0")];
        let kept = checked(headers(&said)).unwrap();
        assert_eq!((kept.len(), &kept["grpc-status"]), (1, &"0".parse().unwrap()));
        assert_eq!(checked(headers(&said[..2])), None);
        let many = (0..101).map(|n| (format!("x-{n}").parse().unwrap(), "v".parse().unwrap()));
        assert_eq!(checked(HeaderMap::from_iter(many)), None);
    }
}
