//! From what a function answered to an HTTP reply.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, SET_COOKIE};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use crate::wire::Head;

/// A whole reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Status and headers.
    pub head: ReplyHead,
    /// The body, already out of base64.
    pub body: Bytes,
}

/// Status and headers of a reply. No value holds a line break or a NUL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyHead {
    /// From 200 to 599.
    pub status: StatusCode,
    /// As the function gave them, with its cookies as `set-cookie` each. May hold headers that the gateway drops.
    pub headers: HeaderMap,
}

/// The function answered, but not with anything that can be an HTTP reply.
#[derive(Debug, thiserror::Error)]
pub enum BadReply {
    /// The result is not JSON at all.
    #[error("the result is not JSON")]
    NotJson(#[source] serde_json::Error),
    /// The result is not UTF-8, so it can't be JSON.
    #[error("the result is not UTF-8")]
    NotUtf8(#[source] std::str::Utf8Error),
    /// `statusCode` is not a whole number from 200 to 599.
    #[error("statusCode is {0} instead of a whole number from 200 to 599")]
    Status(String),
    /// A streamed reply has no head, or one without end.
    #[error("the stream does not begin with a head of at most 64 KiB and eight NUL bytes")]
    Prelude,
    /// `headers` is not an object.
    #[error("headers is not an object")]
    Headers,
    /// A header has a name that HTTP does not allow.
    #[error("header name {0:?} is not allowed in HTTP")]
    HeaderName(String),
    /// A header has a value that is no text, number or boolean, or that holds a control character.
    #[error("the value of header {0:?} is not one line of text")]
    HeaderValue(String),
    /// `cookies` is not a list of texts without control characters.
    #[error("cookies is not a list of lines of text")]
    Cookies,
    /// `body` is not a text.
    #[error("body is not a string; turn an object into text with json.dumps or JSON.stringify")]
    Body,
    /// `isBase64Encoded` is neither true nor false.
    #[error("isBase64Encoded is neither true nor false")]
    Flag,
    /// `isBase64Encoded` is true but the body is not base64.
    #[error("isBase64Encoded is true but body is not base64")]
    Base64(#[source] base64::DecodeError),
}

/// The keys of payload 2.0. A key with a strange value must not make the whole result "not JSON", hence `Value`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Structured {
    #[serde(default, deserialize_with = "present")]
    status_code: Option<Value>,
    headers: Option<Value>,
    cookies: Option<Value>,
    body: Option<Value>,
    is_base64_encoded: Option<Value>,
}

/// Tells `"statusCode": null` from no `statusCode` at all.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// Clients of Lambda send base64 with and without its padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Interprets the JSON result of a handler.
///
/// An object with `statusCode` is status, headers, cookies and body, with `content-type: application/json` when it
/// names none. Any other JSON is the body of a 200 of type `application/json`, byte for byte.
///
/// # Errors
/// [`BadReply`] tells what can't be an HTTP reply.
pub fn reply(result: &[u8]) -> Result<Reply, BadReply> {
    let text = std::str::from_utf8(result).map_err(BadReply::NotUtf8)?;
    if text.trim_ascii_start().starts_with('{') {
        let structured: Structured = serde_json::from_str(text).map_err(BadReply::NotJson)?;
        if let Some(status) = structured.status_code {
            return Ok(Reply {
                head: structured_head(&status, structured.headers, structured.cookies)?,
                body: body(structured.body, structured.is_base64_encoded)?,
            });
        }
    } else {
        serde_json::from_str::<IgnoredAny>(text).map_err(BadReply::NotJson)?;
    }
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    Ok(Reply {
        head: ReplyHead {
            status: StatusCode::OK,
            headers,
        },
        body: Bytes::copy_from_slice(result),
    })
}

/// Checks status, headers and cookies of a reply that streams. Nothing is added.
///
/// # Errors
/// [`BadReply::Status`], [`BadReply::HeaderName`], [`BadReply::HeaderValue`] and [`BadReply::Cookies`].
pub fn reply_head(head: &Head) -> Result<ReplyHead, BadReply> {
    let mut headers = HeaderMap::with_capacity(head.headers.len() + head.cookies.len());
    for (name, value) in &head.headers {
        append(&mut headers, name, value)?;
    }
    for cookie in &head.cookies {
        append_cookie(&mut headers, cookie)?;
    }
    let status = final_status(head.status.into()).ok_or_else(|| BadReply::Status(head.status.to_string()))?;
    Ok(ReplyHead { status, headers })
}

/// The head of a stream, as [`super::Prelude`] finds it. Without a status it is 200; a header may have a list of values.
pub(super) fn streamed_head(json: &[u8]) -> Result<ReplyHead, BadReply> {
    let mut head: Structured = match std::str::from_utf8(json).map_err(BadReply::NotUtf8)?.trim_ascii_start() {
        // A list would be read as well, by its order.
        text if text.starts_with('{') => serde_json::from_str(text).map_err(BadReply::NotJson)?,
        text => {
            return Err(BadReply::NotJson(
                serde_json::from_str::<Structured>(text)
                    .err()
                    .unwrap_or_else(|| serde::de::Error::custom("not an object")),
            ));
        }
    };
    let mut lists = Vec::new();
    if let Some(Value::Object(headers)) = &mut head.headers {
        headers.retain(|name, value| match value {
            Value::Array(values) => {
                lists.push((name.clone(), std::mem::take(values)));
                false
            }
            _ => true,
        });
    }
    let status = head.status_code.unwrap_or(Value::from(200));
    let mut made = structured_head(&status, head.headers, head.cookies)?;
    for (name, values) in lists {
        for value in values {
            let text = value.as_str().ok_or_else(|| BadReply::HeaderValue(shortened(&name)))?;
            append(&mut made.headers, &name, text)?;
        }
    }
    Ok(made)
}

fn structured_head(status: &Value, headers: Option<Value>, cookies: Option<Value>) -> Result<ReplyHead, BadReply> {
    let code = match status {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64(),
    };
    let status = code
        .and_then(final_status)
        .ok_or_else(|| BadReply::Status(shortened(&status.to_string())))?;
    let mut map = HeaderMap::new();
    for (name, value) in object(headers)? {
        match value {
            Value::String(text) => append(&mut map, &name, &text)?,
            Value::Number(_) | Value::Bool(_) => append(&mut map, &name, &value.to_string())?,
            Value::Null => {}
            Value::Array(_) | Value::Object(_) => return Err(BadReply::HeaderValue(shortened(&name))),
        }
    }
    if !map.contains_key(CONTENT_TYPE) {
        map.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    match cookies {
        None => {}
        Some(Value::Array(list)) => {
            for cookie in list {
                append_cookie(&mut map, cookie.as_str().ok_or(BadReply::Cookies)?)?;
            }
        }
        Some(_) => return Err(BadReply::Cookies),
    }
    Ok(ReplyHead { status, headers: map })
}

/// A status that can end an exchange; 1xx can't.
fn final_status(code: u64) -> Option<StatusCode> {
    let code = u16::try_from(code).ok().filter(|code| (200..600).contains(code))?;
    StatusCode::from_u16(code).ok()
}

/// A hostile value may be megabytes long; the message needs only its beginning.
fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

fn object(headers: Option<Value>) -> Result<Map<String, Value>, BadReply> {
    match headers {
        None => Ok(Map::new()),
        Some(Value::Object(map)) => Ok(map),
        Some(_) => Err(BadReply::Headers),
    }
}

fn append(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), BadReply> {
    let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| BadReply::HeaderName(shortened(name)))?;
    let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| BadReply::HeaderValue(shortened(name)))?;
    headers.try_append(key, value).map_err(|_| BadReply::Headers)?;
    Ok(())
}

fn append_cookie(headers: &mut HeaderMap, cookie: &str) -> Result<(), BadReply> {
    let value = HeaderValue::from_bytes(cookie.as_bytes()).map_err(|_| BadReply::Cookies)?;
    headers.try_append(SET_COOKIE, value).map_err(|_| BadReply::Cookies)?;
    Ok(())
}

fn body(body: Option<Value>, is_base64_encoded: Option<Value>) -> Result<Bytes, BadReply> {
    let is_base64_encoded = match is_base64_encoded {
        None => false,
        Some(Value::Bool(flag)) => flag,
        Some(_) => return Err(BadReply::Flag),
    };
    match body {
        None => Ok(Bytes::new()),
        Some(Value::String(text)) if is_base64_encoded => {
            BASE64.decode(text).map(Bytes::from).map_err(BadReply::Base64)
        }
        Some(Value::String(text)) => Ok(Bytes::from(text)),
        Some(_) => Err(BadReply::Body),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::BootId;

    fn replied(result: &str) -> Reply {
        reply(result.as_bytes()).unwrap()
    }

    #[test]
    fn an_object_with_status_code_is_taken_apart() {
        let reply = replied(
            r#"{"statusCode": 201, "headers": {"X-A": "b", "x-n": 5, "x-t": true, "x-0": null},
                "cookies": ["a=1; Secure", "b=2"], "body": "hi", "extra": [1]}"#,
        );
        assert_eq!(reply.head.status, 201);
        assert_eq!(reply.body, "hi");
        let get = |name| {
            reply
                .head
                .headers
                .get_all(name)
                .iter()
                .map(|v| v.to_str().unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(get("x-a"), ["b"]);
        assert_eq!(get("x-n"), ["5"]);
        assert_eq!(get("x-t"), ["true"]);
        assert!(get("x-0").is_empty());
        assert_eq!(get("set-cookie"), ["a=1; Secure", "b=2"]);
        assert_eq!(get("content-type"), ["application/json"]);
    }

    #[test]
    fn a_content_type_of_the_function_stays() {
        let reply = replied(r#"{"statusCode": "404", "headers": {"Content-Type": "text/html"}}"#);
        assert_eq!(reply.head.status, 404);
        assert_eq!(reply.head.headers[CONTENT_TYPE], "text/html");
        assert!(reply.body.is_empty());
    }

    #[test]
    fn base64_bodies_become_bytes_with_or_without_padding() {
        for body in ["/wA=", "/wA"] {
            let reply = replied(&format!(
                r#"{{"statusCode":200,"body":"{body}","isBase64Encoded":true}}"#
            ));
            assert_eq!(reply.body.as_ref(), [0xff, 0]);
        }
        assert!(
            replied(r#"{"statusCode":200,"body":null,"isBase64Encoded":true}"#)
                .body
                .is_empty()
        );
    }

    #[test]
    fn any_other_json_is_the_body_itself() {
        for result in [
            "\"hi\"",
            "null",
            "[1, 2]",
            "5",
            "true",
            "{\"message\": \"x\"}",
            " {} ",
            "{\"body\":5}",
        ] {
            let reply = replied(result);
            assert_eq!(reply.head.status, 200);
            assert_eq!(reply.head.headers[CONTENT_TYPE], "application/json");
            assert_eq!(reply.body, result);
        }
    }

    #[test]
    fn what_is_no_reply_has_its_error() {
        fn bad(result: &str) -> BadReply {
            reply(result.as_bytes()).unwrap_err()
        }
        for result in ["", "{", "hello", "[1", "{} x", "nul"] {
            assert!(matches!(bad(result), BadReply::NotJson(_)), "{result}");
        }
        assert!(matches!(reply(b"\"\xff\"").unwrap_err(), BadReply::NotUtf8(_)));
        for status in [
            "null", "\"ok\"", "20", "199", "600", "200.5", "-1", "1e99", "[]", "true", "101",
        ] {
            assert!(
                matches!(bad(&format!("{{\"statusCode\":{status}}}")), BadReply::Status(_)),
                "{status}"
            );
        }
        assert!(matches!(bad(r#"{"statusCode":200,"headers":[]}"#), BadReply::Headers));
        assert!(matches!(
            bad(r#"{"statusCode":200,"headers":{"a b":"x"}}"#),
            BadReply::HeaderName(_)
        ));
        assert!(matches!(
            bad(r#"{"statusCode":200,"headers":{"":"x"}}"#),
            BadReply::HeaderName(_)
        ));
        assert!(matches!(
            bad(r#"{"statusCode":200,"headers":{"a":["x"]}}"#),
            BadReply::HeaderValue(_)
        ));
        assert!(matches!(
            bad(r#"{"statusCode":200,"cookies":"a=1"}"#),
            BadReply::Cookies
        ));
        assert!(matches!(bad(r#"{"statusCode":200,"cookies":[1]}"#), BadReply::Cookies));
        assert!(matches!(bad(r#"{"statusCode":200,"body":{"a":1}}"#), BadReply::Body));
        assert!(matches!(
            bad(r#"{"statusCode":200,"isBase64Encoded":"yes"}"#),
            BadReply::Flag
        ));
        assert!(matches!(
            bad(r#"{"statusCode":200,"body":"*","isBase64Encoded":true}"#),
            BadReply::Base64(_)
        ));
    }

    #[test]
    fn headers_can_not_be_injected() {
        for evil in ["a\\r\\nset-cookie: x=1", "a\\nb", "a\\u0000b", "\\r"] {
            let value = format!(r#"{{"statusCode":200,"headers":{{"a":"{evil}"}}}}"#);
            assert!(
                matches!(reply(value.as_bytes()), Err(BadReply::HeaderValue(_))),
                "{evil}"
            );
            let name = format!(r#"{{"statusCode":200,"headers":{{"{evil}":"a"}}}}"#);
            assert!(matches!(reply(name.as_bytes()), Err(BadReply::HeaderName(_))), "{evil}");
            let cookie = format!(r#"{{"statusCode":200,"cookies":["{evil}"]}}"#);
            assert!(matches!(reply(cookie.as_bytes()), Err(BadReply::Cookies)), "{evil}");
        }
    }

    #[test]
    fn a_streamed_head_is_checked_the_same_way() {
        let head = Head {
            boot_id: BootId::from_bytes([1; 16]),
            status: 206,
            headers: vec![("X-A".into(), "1".into()), ("x-a".into(), "2".into())],
            cookies: vec!["c=1".into()],
            bare: false,
        };
        let good = reply_head(&head).unwrap();
        assert_eq!(good.status, 206);
        assert_eq!(good.headers.get_all("x-a").iter().count(), 2);
        assert_eq!(good.headers[SET_COOKIE], "c=1");
        assert!(!good.headers.contains_key(CONTENT_TYPE));
        let bad = |change: fn(&mut Head)| {
            let mut head = head.clone();
            change(&mut head);
            reply_head(&head).unwrap_err()
        };
        assert!(matches!(bad(|h| h.status = 100), BadReply::Status(_)));
        assert!(matches!(bad(|h| h.status = 700), BadReply::Status(_)));
        assert!(matches!(
            bad(|h| h.headers[0].0 = "a\r".into()),
            BadReply::HeaderName(_)
        ));
        assert!(matches!(
            bad(|h| h.headers[0].1 = "a\n".into()),
            BadReply::HeaderValue(_)
        ));
        assert!(matches!(bad(|h| h.cookies[0] = "a\0".into()), BadReply::Cookies));
    }

    proptest! {
        #[test]
        fn no_result_makes_it_panic(result in any::<Vec<u8>>()) {
            let _ = reply(&result);
        }

        #[test]
        fn no_text_in_a_reply_makes_it_panic(
            status in any::<u16>(), name in any::<String>(), value in any::<String>(), body in any::<String>(),
        ) {
            let json = serde_json::json!({
                "statusCode": status, "headers": { name: value.clone() }, "cookies": [value], "body": body,
            });
            if let Ok(reply) = reply(json.to_string().as_bytes()) {
                prop_assert_eq!(reply.body, body);
            }
        }
    }
}
