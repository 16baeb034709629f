//! From a request to the event a handler gets: Lambda Function-URL payload, version 2.0.
//!
//! Shape and names follow "Invoking Lambda function URLs" in the AWS Lambda developer guide. Which bodies are text was
//! measured by others against the real service: `text/*`, JSON, XML and JavaScript; a form or a body without a content
//! type arrives in base64.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::tz::TimeZone;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::request::{RequestHead, header_text, percent_decode};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    version: &'static str,
    route_key: &'static str,
    raw_path: &'a str,
    raw_query_string: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cookies: Vec<String>,
    #[serde(serialize_with = "as_map")]
    headers: Vec<(&'a str, Cow<'a, str>)>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    query_string_parameters: BTreeMap<String, String>,
    request_context: RequestContext<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Cow<'a, str>>,
    path_parameters: (),
    is_base64_encoded: bool,
    stage_variables: (),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext<'a> {
    account_id: &'static str,
    api_id: &'a str,
    authentication: (),
    authorizer: (),
    domain_name: &'a str,
    domain_prefix: &'a str,
    http: Http<'a>,
    request_id: &'a str,
    route_key: &'static str,
    stage: &'static str,
    time: String,
    time_epoch: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Http<'a> {
    method: &'a str,
    path: &'a str,
    protocol: &'static str,
    source_ip: String,
    user_agent: Cow<'a, str>,
}

/// The event for a request with this body, as JSON.
///
/// `body` is left out when empty. It is text when the content type says so and the bytes are UTF-8, and base64
/// otherwise, which `isBase64Encoded` tells. Headers and query parameters that repeat are joined by a comma.
pub fn event(head: &RequestHead<'_>, body: &[u8]) -> Vec<u8> {
    let (body, is_base64_encoded) = match body {
        [] => (None, false),
        bytes => match std::str::from_utf8(bytes) {
            Ok(text) if is_text(head) => (Some(Cow::Borrowed(text)), false),
            _ => (Some(Cow::Owned(STANDARD.encode(bytes))), true),
        },
    };
    let user_agent = head
        .headers
        .get(http::header::USER_AGENT)
        .map(header_text)
        .unwrap_or_default();
    let event = Event {
        version: "2.0",
        route_key: "$default",
        raw_path: head.path,
        raw_query_string: head.query.unwrap_or_default(),
        cookies: cookies(head),
        headers: head.headers_joined(","),
        query_string_parameters: query_parameters(head.query.unwrap_or_default()),
        request_context: RequestContext {
            account_id: "anonymous",
            api_id: head.function.as_str(),
            authentication: (),
            authorizer: (),
            domain_name: head.host_name(),
            domain_prefix: head.host_name().split('.').next().unwrap_or_default(),
            http: Http {
                method: head.method.as_str(),
                path: head.path,
                protocol: head.protocol(),
                source_ip: head.source_ip.to_string(),
                user_agent,
            },
            request_id: head.request_id,
            route_key: "$default",
            stage: "$default",
            time: head
                .time
                .to_zoned(TimeZone::UTC)
                .strftime("%d/%b/%Y:%H:%M:%S %z")
                .to_string(),
            time_epoch: head.time.as_millisecond(),
        },
        body,
        path_parameters: (),
        is_base64_encoded,
        stage_variables: (),
    };
    serde_json::to_vec(&event).expect("an event holds only text and numbers")
}

/// The lines of the headers that repeat, by name. The event joins them, and where a value holds a comma itself, the joined text can't
/// be taken apart; web apps are to get their lines as they came. Cookies are not among them: one line of them all means the same.
pub fn repeated(head: &RequestHead<'_>) -> BTreeMap<String, Vec<String>> {
    // A look at two numbers, in the common case.
    if head.headers.len() == head.headers.keys_len() {
        return BTreeMap::new();
    }
    // `x-forwarded-for` gets the client's address in the joined form only, and must not be believed without it.
    let names = head
        .headers
        .keys()
        .filter(|name| !matches!(name.as_str(), "cookie" | "x-forwarded-for"));
    let lines = |name: &http::HeaderName| {
        let values = head.headers.get_all(name).iter();
        values.map(|value| header_text(value).into_owned()).collect::<Vec<_>>()
    };
    names
        .map(|name| (name.as_str().to_owned(), lines(name)))
        .filter(|(_, values)| values.len() > 1)
        .collect()
}

fn as_map<S: Serializer>(pairs: &[(&str, Cow<'_, str>)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(pairs.len()))?;
    for (name, value) in pairs {
        map.serialize_entry(name, value)?;
    }
    map.end()
}

fn is_text(head: &RequestHead<'_>) -> bool {
    let Some(value) = head.headers.get(http::header::CONTENT_TYPE).map(header_text) else {
        return false;
    };
    let media_type = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media_type.starts_with("text/")
        || matches!(
            media_type.as_str(),
            "application/json" | "application/xml" | "application/javascript"
        )
}

fn cookies(head: &RequestHead<'_>) -> Vec<String> {
    let lines = head.headers.get_all(http::header::COOKIE).iter().map(header_text);
    lines
        .flat_map(|line| {
            line.split(';')
                .map(|cookie| cookie.trim().to_owned())
                .collect::<Vec<_>>()
        })
        .filter(|cookie| !cookie.is_empty())
        .collect()
}

fn query_parameters(query: &str) -> BTreeMap<String, String> {
    let mut parameters = BTreeMap::<String, String>::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = form_decode(value);
        parameters
            .entry(form_decode(name))
            .and_modify(|values| {
                values.push(',');
                values.push_str(&value);
            })
            .or_insert(value);
    }
    parameters
}

fn form_decode(text: &str) -> String {
    String::from_utf8_lossy(&percent_decode(&text.replace('+', " "))).into_owned()
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Method};
    use serde_json::{Value, json};

    use super::super::request::tests::head;
    use super::*;

    fn parsed(head: &RequestHead<'_>, body: &[u8]) -> Value {
        serde_json::from_slice(&event(head, body)).unwrap()
    }

    #[test]
    fn a_request_becomes_the_documented_event() {
        let mut headers = HeaderMap::new();
        headers.append("host", HeaderValue::from_static("hello.localhost:8080"));
        headers.append("accept", HeaderValue::from_static("text/html"));
        headers.append("accept", HeaderValue::from_static("*/*"));
        headers.append("cookie", HeaderValue::from_static("a=1; b=2"));
        headers.append("cookie", HeaderValue::from_static("c=3"));
        headers.append("user-agent", HeaderValue::from_static("curl/8"));
        headers.append(
            "content-type",
            HeaderValue::from_static("application/json; charset=utf-8"),
        );
        let mut head = head(&Method::POST, &headers);
        head.path = "/items/a%20b";
        head.query = Some("tag=x&tag=y+z&empty&n=%C3%A9");
        head.trace_id = Some("Root=1-5e6722a7-cc56xmpl46db7ae02d4da47e");
        assert_eq!(
            parsed(&head, br#"{"k": 1}"#),
            json!({
                "version": "2.0",
                "routeKey": "$default",
                "rawPath": "/items/a%20b",
                "rawQueryString": "tag=x&tag=y+z&empty&n=%C3%A9",
                "cookies": ["a=1", "b=2", "c=3"],
                "headers": {
                    "host": "hello.localhost:8080",
                    "accept": "text/html,*/*",
                    "cookie": "a=1; b=2; c=3",
                    "user-agent": "curl/8",
                    "content-type": "application/json; charset=utf-8",
                    "x-forwarded-for": "127.0.0.1",
                    "x-forwarded-proto": "http",
                    "x-forwarded-port": "8080",
                    "x-amzn-trace-id": "Root=1-5e6722a7-cc56xmpl46db7ae02d4da47e",
                },
                "queryStringParameters": { "tag": "x,y z", "empty": "", "n": "é" },
                "requestContext": {
                    "accountId": "anonymous",
                    "apiId": "hello",
                    "authentication": null,
                    "authorizer": null,
                    "domainName": "hello.localhost",
                    "domainPrefix": "hello",
                    "http": {
                        "method": "POST",
                        "path": "/items/a%20b",
                        "protocol": "HTTP/1.1",
                        "sourceIp": "127.0.0.1",
                        "userAgent": "curl/8",
                    },
                    "requestId": "0198c0de-0000-7000-8000-000000000001",
                    "routeKey": "$default",
                    "stage": "$default",
                    "time": "12/Mar/2020:19:03:58 +0000",
                    "timeEpoch": 1584039838390i64,
                },
                "body": "{\"k\": 1}",
                "pathParameters": null,
                "isBase64Encoded": false,
                "stageVariables": null,
            })
        );
    }

    #[test]
    fn lines_that_repeat_are_kept_apart() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("accept", "a, b"),
            ("accept", "c"),
            ("cookie", "x=1"),
            ("cookie", "y=2"),
            ("host", "h"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        let found = repeated(&head(&Method::GET, &headers));
        assert_eq!(
            found,
            [("accept".to_owned(), vec!["a, b".to_owned(), "c".to_owned()])].into()
        );
        assert!(repeated(&head(&Method::GET, &HeaderMap::new())).is_empty());
    }

    #[test]
    fn what_is_absent_stays_absent() {
        let headers = HeaderMap::new();
        let event = parsed(&head(&Method::GET, &headers), b"");
        for key in ["body", "cookies", "queryStringParameters"] {
            assert!(event.get(key).is_none(), "{key}");
        }
        assert_eq!(event["isBase64Encoded"], false);
        assert_eq!(event["rawQueryString"], "");
        assert_eq!(event["requestContext"]["http"]["userAgent"], "");
    }

    #[test]
    fn only_text_types_with_utf8_bytes_stay_text() {
        let text = b"a=1".as_slice();
        for (content_type, body, is_text) in [
            (Some("text/plain"), text, true),
            (Some("TEXT/HTML; charset=utf-8"), text, true),
            (Some("application/json"), text, true),
            (Some("application/xml"), text, true),
            (Some("application/javascript"), text, true),
            (Some("application/x-www-form-urlencoded"), text, false),
            (Some("multipart/form-data; boundary=x"), text, false),
            (Some("application/octet-stream"), text, false),
            (Some("image/png"), text, false),
            (Some(""), text, false),
            (None, text, false),
            (Some("text/plain"), b"\xff\xfe".as_slice(), false),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(value) = content_type {
                headers.insert("content-type", HeaderValue::from_static(value));
            }
            let event = parsed(&head(&Method::POST, &headers), body);
            assert_eq!(event["isBase64Encoded"], !is_text, "{content_type:?}");
            let carried = event["body"].as_str().unwrap();
            let back = if is_text {
                carried.as_bytes().to_vec()
            } else {
                STANDARD.decode(carried).unwrap()
            };
            assert_eq!(back, body, "{content_type:?}");
        }
    }

    #[test]
    fn header_bytes_outside_utf8_read_as_latin1() {
        let mut headers = HeaderMap::new();
        headers.insert("x-name", HeaderValue::from_bytes(b"caf\xe9").unwrap());
        headers.insert("x-utf8", HeaderValue::from_bytes("café".as_bytes()).unwrap());
        let event = parsed(&head(&Method::GET, &headers), b"");
        assert_eq!(event["headers"]["x-name"], "café");
        assert_eq!(event["headers"]["x-utf8"], "café");
    }
}
