use http::Request;
use proptest::prelude::*;

use super::*;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

fn now() -> Timestamp {
    "2015-08-30T12:36:00Z".parse().unwrap()
}

/// A request as a client that signs well sends it.
fn signed(method: &str, target: &str, body: &[u8], headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder()
        .method(method)
        .uri(target)
        .header("host", "localhost:8080")
        .header("x-amz-date", "20150830T123600Z");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut head = request.body(()).unwrap().into_parts().0;
    let mut names: Vec<String> = head.headers.keys().map(|name| name.as_str().to_owned()).collect();
    names.sort();
    let mut claim = Claim {
        key_id: "AKIDEXAMPLE".into(),
        date: "20150830".into(),
        region: "us-east-1".into(),
        time: "20150830T123600Z".into(),
        signed_headers: names.clone(),
        signature: [0; 32],
    };
    let canonical = claim.canonical_request(&head, &hex(&Sha256::digest(body))).unwrap();
    let text = format!(
        "{ALGORITHM}\n20150830T123600Z\n20150830/us-east-1/lambda/aws4_request\n{}",
        hex(&Sha256::digest(canonical.as_bytes()))
    );
    let key = signing_key(SECRET, "20150830", "us-east-1", SERVICE);
    claim.signature = keyed(&key, text.as_bytes()).finalize().into_bytes().into();
    let line = format!(
        "{ALGORITHM} Credential=AKIDEXAMPLE/20150830/us-east-1/lambda/aws4_request, SignedHeaders={}, Signature={}",
        names.join(";"),
        hex(&claim.signature)
    );
    head.headers.insert(AUTHORIZATION, line.parse().unwrap());
    head
}

/// `get-vanilla` and its like of the published test suite, whose service is called "service".
#[test]
fn the_published_vectors_come_out() {
    for (target, wanted) in [
        ("/", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        (
            "/?Param2=value2&Param1=value1",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
    ] {
        let head = Request::get(target)
            .header("host", "example.amazonaws.com")
            .header("x-amz-date", "20150830T123600Z")
            .body(())
            .unwrap()
            .into_parts()
            .0;
        let claim = Claim {
            key_id: "AKIDEXAMPLE".into(),
            date: "20150830".into(),
            region: "us-east-1".into(),
            time: "20150830T123600Z".into(),
            signed_headers: vec!["host".into(), "x-amz-date".into()],
            signature: [0; 32],
        };
        let canonical = claim.canonical_request(&head, &hex(&Sha256::digest(b""))).unwrap();
        let text = format!(
            "{ALGORITHM}\n20150830T123600Z\n20150830/us-east-1/service/aws4_request\n{}",
            hex(&Sha256::digest(canonical.as_bytes()))
        );
        let key = signing_key(SECRET, "20150830", "us-east-1", "service");
        let signature = hex(&keyed(&key, text.as_bytes()).finalize().into_bytes());
        assert_eq!(signature, wanted, "{target}");
    }
}

#[test]
fn a_good_signature_is_believed_and_any_change_is_not() {
    let target = "/2015-03-31/functions/arn%3Aaws%3Alambda?Qualifier=a%20b&MaxItems=1";
    let head = signed("PUT", target, b"{}", &[("x-amz-client-context", "a  b")]);
    let claim = Claim::read(&head, now()).unwrap();
    assert_eq!(claim.key_id(), "AKIDEXAMPLE");
    assert_eq!(claim.verify(&head, b"{}", SECRET), Ok(()));
    assert_eq!(claim.verify(&head, b"{ }", SECRET), Err(SignatureError::Mismatch));
    assert_eq!(claim.verify(&head, b"{}", "another"), Err(SignatureError::Mismatch));
    let changed = |change: &dyn Fn(&mut Parts)| {
        let mut head = signed("PUT", target, b"{}", &[("x-amz-client-context", "a  b")]);
        change(&mut head);
        Claim::read(&head, now()).and_then(|claim| claim.verify(&head, b"{}", SECRET))
    };
    assert_eq!(changed(&|_| ()), Ok(()));
    let mismatch = Err(SignatureError::Mismatch);
    assert_eq!(changed(&|head| head.method = http::Method::DELETE), mismatch);
    assert_eq!(
        changed(&|head| head.uri = "/2015-03-31/functions/b".parse().unwrap()),
        mismatch
    );
    assert_eq!(
        changed(&|head| drop(head.headers.insert("host", "evil.example".parse().unwrap()))),
        mismatch
    );
    assert_eq!(
        changed(&|head| assert!(head.headers.append("x-amz-client-context", "c".parse().unwrap()))),
        mismatch
    );
    assert_eq!(
        changed(&|head| drop(head.headers.insert("x-amz-security-token", "t".parse().unwrap()))),
        Err(SignatureError::Unsigned("x-amz-security-token".into()))
    );
}

#[test]
fn an_announced_hash_is_held_to() {
    let hash = hex(&Sha256::digest(b"{}"));
    let head = signed("POST", "/", b"{}", &[("x-amz-content-sha256", &hash)]);
    assert_eq!(Claim::read(&head, now()).unwrap().verify(&head, b"{}", SECRET), Ok(()));
    let head = signed("POST", "/", b"{}", &[("x-amz-content-sha256", "UNSIGNED-PAYLOAD")]);
    assert_eq!(
        Claim::read(&head, now()).unwrap().verify(&head, b"{}", SECRET),
        Err(SignatureError::Mismatch)
    );
}

#[test]
fn a_claim_that_is_none_says_why() {
    let with = |line: Option<&str>, time: Option<&str>| {
        let mut head = signed("GET", "/", b"", &[]);
        match line {
            Some(line) => drop(head.headers.insert(AUTHORIZATION, line.parse().unwrap())),
            None => drop(head.headers.remove(AUTHORIZATION)),
        }
        match time {
            Some(time) => drop(head.headers.insert("x-amz-date", time.parse().unwrap())),
            None => drop(head.headers.remove("x-amz-date")),
        }
        Claim::read(&head, now()).unwrap_err().to_string()
    };
    let day = Some("20150830T123600Z");
    let line = |scope: &str, headers: &str, signature: &str| {
        format!("{ALGORITHM} Credential={scope}, SignedHeaders={headers}, Signature={signature}")
    };
    let (scope, headers, signature) = ("A/20150830/r/lambda/aws4_request", "host;x-amz-date", "00".repeat(32));
    assert!(with(None, day).contains("not signed"));
    for (line, time, reason) in [
        ("Bearer x".to_owned(), day, "begin with"),
        (ALGORITHM.to_owned(), day, "begin with"),
        (format!("{ALGORITHM} x"), day, "no Credential"),
        (line("A/b", headers, &signature), day, "KEY/DATE"),
        (
            line("A/20150830/r/s3/aws4_request", headers, &signature),
            day,
            "another service",
        ),
        (line(scope, "x-amz-date;host", &signature), day, "sorted"),
        (line(scope, "host", &signature), day, "x-amz-date must be signed"),
        (line(scope, headers, "00"), day, "64"),
        (line(scope, headers, &"zz".repeat(32)), day, "64"),
        (line(scope, headers, &signature), None, "X-Amz-Date is missing"),
        (line(scope, headers, &signature), Some("yesterday"), "YYYYMMDD"),
        (line(scope, headers, &signature), Some("20150831T000000Z"), "differ"),
        (
            line(scope, headers, &signature),
            Some("20150830T130000Z"),
            "five minutes",
        ),
    ] {
        let said = with(Some(&line), time);
        assert!(said.contains(reason), "{line}: {said}");
    }
}

#[test]
fn a_digit_has_no_sign() {
    assert_eq!(decode("%2f%2F%+f%-1%zz%4"), b"//%+f%-1%zz%4");
    assert!(unhex(&"0f".repeat(32)).is_some());
    for bad in ["+f".repeat(32), "0f".repeat(31), "é".repeat(32)] {
        assert_eq!(unhex(&bad), None);
    }
}

proptest! {
    #[test]
    fn no_header_makes_it_panic(line in "\\PC{0,200}", time in "\\PC{0,20}") {
        let mut head = signed("GET", "/a?b=%zz&%", b"", &[]);
        if let (Ok(line), Ok(time)) = (http::HeaderValue::from_str(&line), http::HeaderValue::from_str(&time)) {
            head.headers.insert(AUTHORIZATION, line);
            head.headers.insert("x-amz-date", time);
            prop_assert!(Claim::read(&head, now()).is_err());
        }
    }

    #[test]
    fn any_target_that_was_signed_is_believed(path in "/[A-Za-z0-9%:._~$/+*-]{0,40}", query in "[A-Za-z0-9%&=+:._~$/?-]{0,40}") {
        let target = format!("{path}?{query}");
        let head = signed("GET", &target, b"", &[]);
        let claim = Claim::read(&head, now()).unwrap();
        prop_assert_eq!(claim.verify(&head, b"", SECRET), Ok(()));
    }
}
