use proptest::prelude::*;

use super::*;

fn map(lines: &[(&str, &str)]) -> HeaderMap {
    lines.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap())).collect::<Vec<_>>().into_iter().fold(
        HeaderMap::new(),
        |mut map, (name, value)| {
            map.append(name, value);
            map
        },
    )
}

#[test]
fn a_reply_loses_what_the_function_may_not_say() {
    let mut headers = map(&[
        ("content-type", "text/plain"),
        ("connection", "close, X-Private"),
        ("connection", "x-other"),
        ("x-private", "1"),
        ("x-other", "1"),
        ("keep-alive", "timeout=1"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("server-timing", "db;dur=1"),
        ("x-fn-start", "warm"),
        ("x-fn-anything", "1"),
        ("x-fn-anything", "2"),
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
        ("content-length", "12345"),
    ]);
    assert_eq!(clean_reply(&mut headers), 11);
    assert_eq!(headers, map(&[("content-type", "text/plain"), ("set-cookie", "a=1"), ("set-cookie", "b=2")]));
}

#[test]
fn a_request_keeps_its_host_and_length_whatever_connection_names() {
    let mut headers = map(&[
        ("host", "localhost"),
        ("content-length", "3"),
        ("connection", "host, content-length, authorization, keep-alive"),
        ("authorization", "Basic x"),
        ("x-fn-request-id", "mine"),
        ("te", "trailers"),
        ("expect", "100-continue"),
        ("accept", "*/*"),
    ]);
    clean_request(&mut headers);
    assert_eq!(headers, map(&[("host", "localhost"), ("content-length", "3"), ("accept", "*/*")]));
}

#[test]
fn the_platform_has_the_last_word() {
    let mut headers = map(&[("x-fn-start", "forged"), ("server-timing", "forged")]);
    let timing = Timing { queue: Duration::from_micros(7), sandbox: Duration::from_micros(1_234), ..Timing::default() };
    let told =
        Told { request: RequestId::new(), start: "cold", instance: "00ff", revision: RevisionNumber::new(3).unwrap(), timing };
    told.write(&mut headers);
    assert_eq!(headers["x-fn-start"], "cold");
    assert_eq!(headers["x-fn-revision"], "3");
    assert_eq!(headers["x-fn-instance"], "00ff");
    assert_eq!(headers["server-timing"], "queue;dur=0.007, sandbox;dur=1.234, init;dur=0.000, handler;dur=0.000");
    assert_eq!(headers.get_all("x-fn-start").iter().count(), 1);
}

#[test]
fn only_final_statuses_and_bounded_heads_go_out() {
    let none = HeaderMap::new();
    for status in [100, 101, 199, 600, 999] {
        assert_eq!(check(StatusCode::from_u16(status).unwrap(), &none), Err(HeadError::Status(status)));
    }
    for status in [200, 204, 418, 599] {
        assert_eq!(check(StatusCode::from_u16(status).unwrap(), &none), Ok(()));
    }
    let many: HeaderMap = (0..101).map(|i| (format!("x-{i}").parse().unwrap(), HeaderValue::from(i))).collect();
    assert_eq!(check(StatusCode::OK, &many), Err(HeadError::Count(101)));
    let big: HeaderMap = [("x".parse().unwrap(), "v".repeat(32 * 1024).parse().unwrap())].into_iter().collect();
    assert!(matches!(check(StatusCode::OK, &big), Err(HeadError::Bytes(_))));
}

proptest! {
    #[test]
    fn nothing_forbidden_survives(
        lines in prop::collection::vec(("(x-fn-)?[a-z]{1,6}|connection|te|upgrade|trailer|keep-alive|server-timing|transfer-encoding", "[ -~]{0,12}"), 0..20),
    ) {
        let mut headers = HeaderMap::new();
        for (name, value) in &lines {
            headers.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
        }
        let named: Vec<String> = lines.iter().filter(|(name, _)| name == "connection")
            .flat_map(|(_, value)| value.split(',').map(|name| name.trim().to_ascii_lowercase())).collect();
        let before = headers.len();
        let dropped = clean_reply(&mut headers);
        prop_assert_eq!(before, headers.len() + dropped);
        for name in headers.keys() {
            let name = name.as_str();
            prop_assert!(!name.starts_with("x-fn-") && !named.iter().any(|other| other == name), "{}", name);
            prop_assert!(!["connection", "te", "upgrade", "trailer", "keep-alive", "server-timing", "transfer-encoding"].contains(&name));
        }
        let mut again = headers.clone();
        prop_assert_eq!(clean_reply(&mut again), 0);
        prop_assert_eq!(again, headers);
    }
}
