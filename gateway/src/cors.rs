//! The platform's part in the conversation with a browser whose page has another origin (Fetch standard, section 3.3).
//!
//! ```text
//! OPTIONS with Origin and Access-Control-Request-Method    answered here, the function does not run
//! any other request                                        answered by the function, and its reply is marked
//! ```
//!
//! Only where a function has rules; without them both are the function's own business. Where there are rules, they hold: what the function says in
//! `access-control-*` is dropped. Pure.

use axum::body::Body;
use functions::cors::{ANY, Cors};
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderName, ORIGIN, VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response};

/// The answer to a request that only asks whether another one would be allowed; `None` for any other.
pub(crate) fn preflight(cors: &Cors, head: &Parts) -> Option<Response<Body>> {
    let origin = head.headers.get(ORIGIN)?;
    let method = head.headers.get(ACCESS_CONTROL_REQUEST_METHOD)?;
    if head.method != Method::OPTIONS {
        return None;
    }
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    allow(cors, Some(origin), headers);
    // To one who is not allowed nothing more is told.
    if headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
        let asked = head.headers.get(ACCESS_CONTROL_REQUEST_HEADERS);
        list(&cors.allow_methods, Some(method), ACCESS_CONTROL_ALLOW_METHODS, headers);
        list(&cors.allow_headers, asked, ACCESS_CONTROL_ALLOW_HEADERS, headers);
        if let Some(age) = cors.max_age {
            headers.insert(ACCESS_CONTROL_MAX_AGE, (age.as_millis() / 1000).into());
        }
    }
    Some(response)
}

/// Marks a reply to a request of this origin.
pub(crate) fn mark(cors: &Cors, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
    for name in [
        ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_ALLOW_CREDENTIALS,
        ACCESS_CONTROL_ALLOW_METHODS,
        ACCESS_CONTROL_ALLOW_HEADERS,
        ACCESS_CONTROL_EXPOSE_HEADERS,
        ACCESS_CONTROL_MAX_AGE,
    ] {
        headers.remove(name);
    }
    allow(cors, origin, headers);
    if headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
        list(&cors.expose_headers, None, ACCESS_CONTROL_EXPOSE_HEADERS, headers);
    }
}

fn allow(cors: &Cors, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
    if cors.allows_any_origin() {
        if origin.is_some() {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static(ANY));
        }
        return;
    }
    // A cache must not give one origin what another one got, nor what somebody got who named none.
    headers.append(VARY, HeaderValue::from_static("Origin"));
    let allowed = |origin: &&HeaderValue| {
        let mut known = cors.allow_origins.iter();
        known.any(|known| origin.as_bytes().eq_ignore_ascii_case(known.as_bytes()))
    };
    if let Some(origin) = origin.filter(allowed) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        if cors.allow_credentials {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }
}

/// Tells a list. Browsers take `*` for everything only without credentials, so what is `asked` for is told in its place.
fn list(all: &[String], asked: Option<&HeaderValue>, name: HeaderName, headers: &mut HeaderMap) {
    let any = all.iter().any(|entry| entry == ANY);
    let value = match (any, asked) {
        (true, Some(asked)) => asked.clone(),
        _ if all.is_empty() => return,
        _ => HeaderValue::from_str(&all.join(",")).expect("rules that were checked hold names"),
    };
    headers.insert(name, value);
}

#[cfg(test)]
mod tests {
    use functions::Span;
    use http::Request;

    use super::*;

    fn rules() -> Cors {
        Cors {
            allow_origins: vec!["https://a.example".into(), "http://localhost:3000".into()],
            allow_methods: vec!["GET".into(), "PUT".into()],
            allow_headers: vec!["x-one".into(), "content-type".into()],
            expose_headers: vec!["x-two".into()],
            allow_credentials: true,
            max_age: Some(Span::secs(600)),
        }
    }

    fn asked(method: Method, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn text(headers: &HeaderMap) -> Vec<String> {
        let mut lines: Vec<String> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        lines.sort();
        lines
    }

    #[test]
    fn a_question_is_answered_without_the_function() {
        let from = |origin| [("origin", origin), ("access-control-request-method", "PUT")];
        let head = asked(Method::OPTIONS, &from("https://a.example"));
        let response = preflight(&rules(), &head).unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(
            text(response.headers()),
            [
                "access-control-allow-credentials: true",
                "access-control-allow-headers: x-one,content-type",
                "access-control-allow-methods: GET,PUT",
                "access-control-allow-origin: https://a.example",
                "access-control-max-age: 600",
                "vary: Origin",
            ]
        );
        let stranger = asked(Method::OPTIONS, &from("https://b.example"));
        assert_eq!(
            text(preflight(&rules(), &stranger).unwrap().headers()),
            ["vary: Origin"]
        );
        let any = Cors {
            allow_origins: vec![ANY.into()],
            allow_methods: vec![ANY.into()],
            allow_headers: vec![ANY.into()],
            ..Cors::default()
        };
        let mut asks = from("https://b.example").to_vec();
        asks.push(("access-control-request-headers", "x-any"));
        assert_eq!(
            text(preflight(&any, &asked(Method::OPTIONS, &asks)).unwrap().headers()),
            [
                "access-control-allow-headers: x-any",
                "access-control-allow-methods: PUT",
                "access-control-allow-origin: *",
            ]
        );
    }

    #[test]
    fn what_is_no_question_goes_to_the_function() {
        let origin = ("origin", "https://a.example");
        let method = ("access-control-request-method", "PUT");
        for (by, headers) in [
            (Method::OPTIONS, vec![origin]),
            (Method::OPTIONS, vec![method]),
            (Method::GET, vec![origin, method]),
        ] {
            assert!(preflight(&rules(), &asked(by, &headers)).is_none());
        }
    }

    #[test]
    fn a_reply_has_the_platforms_word_and_not_the_functions() {
        let said = || {
            HeaderMap::from_iter([
                (ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("https://mine")),
                (ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("x-mine")),
                (VARY, HeaderValue::from_static("accept")),
            ])
        };
        let mut headers = said();
        mark(
            &rules(),
            Some(&HeaderValue::from_static("http://localhost:3000")),
            &mut headers,
        );
        assert_eq!(
            text(&headers),
            [
                "access-control-allow-credentials: true",
                "access-control-allow-origin: http://localhost:3000",
                "access-control-expose-headers: x-two",
                "vary: Origin",
                "vary: accept",
            ]
        );
        for origin in [None, Some(HeaderValue::from_static("https://b.example"))] {
            let mut headers = said();
            mark(&rules(), origin.as_ref(), &mut headers);
            assert_eq!(text(&headers), ["vary: Origin", "vary: accept"]);
        }
    }
}
