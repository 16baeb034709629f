use http::Request;
use proptest::prelude::*;

use super::*;

fn request(target: &str, hosts: &[&str]) -> Parts {
    let mut request = Request::get(target);
    for host in hosts {
        request = request.header("host", *host);
    }
    request.body(()).unwrap().into_parts().0
}

fn ask(target: &str, host: &str) -> Result<Target, Code> {
    resolve(&request(target, &[host]), &Hosts::new(["Fn.Example.org".to_owned()])).map_err(|outcome| outcome.code())
}

fn function(name: &str, path_from: usize) -> Result<Target, Code> {
    Ok(Target::Function {
        name: name.parse().unwrap(),
        alias: None,
        path_from,
    })
}

#[test]
fn a_path_names_a_function() {
    assert_eq!(ask("/function/hello", "localhost:8080"), function("hello", 15));
    assert_eq!(ask("/function/hello/", "127.0.0.1"), function("hello", 15));
    assert_eq!(
        ask("/function/hello/a/../b%2fc?q=/", "[::1]:8080"),
        function("hello", 15)
    );
    assert_eq!(ask("/function/hello?x", "fn.example.org"), function("hello", 15));
}

#[test]
fn a_path_names_a_call_in_the_background() {
    let background = |path_from| {
        Ok(Target::Background {
            name: "hello".parse().unwrap(),
            path_from,
        })
    };
    assert_eq!(ask("/async-function/hello", "localhost"), background(21));
    assert_eq!(ask("/async-function/hello/a?b", "127.0.0.1:1"), background(21));
    assert_eq!(ask("/async-function", "localhost"), Ok(Target::Platform));
    assert_eq!(
        ask("/async-function/Hello", "localhost"),
        Err(Code::InvalidFunctionName)
    );
    assert_eq!(ask("/async-function/", "localhost"), Err(Code::InvalidFunctionName));
    // At the function's own host the whole path is its own.
    assert_eq!(ask("/async-function/other", "hello.localhost"), function("hello", 0));
}

#[test]
fn a_host_names_a_function() {
    assert_eq!(ask("/", "hello.localhost:8080"), function("hello", 0));
    assert_eq!(ask("/function/other", "HELLO.localhost"), function("hello", 0));
    assert_eq!(ask("/healthz", "hello.localhost:"), function("hello", 0));
}

#[test]
fn a_host_names_an_alias() {
    let name = "hello".parse().unwrap();
    for (host, alias) in [
        ("prod.hello.localhost:80", "prod"),
        ("BLUE_2.hello.localhost", "blue_2"),
    ] {
        let found = ask("/function/other", host);
        let (name, alias) = (FunctionName::clone(&name), Some(alias.to_owned()));
        assert_eq!(
            found,
            Ok(Target::Function {
                name,
                alias,
                path_from: 0
            })
        );
    }
}

#[test]
fn other_paths_are_the_platforms() {
    for path in [
        "/",
        "/healthz",
        "/function",
        "/functions/x",
        "//function/x",
        "/Function/x",
        "/v1/functions",
    ] {
        assert_eq!(ask(path, "localhost"), Ok(Target::Platform), "{path}");
    }
}

#[test]
fn bad_names_are_refused() {
    let long = format!("/function/{}", "a".repeat(64));
    for path in [
        "/function/",
        "/function//x",
        "/function/..",
        "/function/../etc",
        "/function/a%2fb",
        "/function/a%2Fb",
        "/function/%61",
        "/function/Hello",
        "/function/-a",
        "/function/a-",
        "/function/a_b",
        "/function/a.b",
        &long,
    ] {
        assert_eq!(ask(path, "localhost"), Err(Code::InvalidFunctionName), "{path}");
    }
    for host in [
        "a.b.c.localhost",
        "-.localhost",
        "a_b.localhost",
        "-a.b.localhost",
        ".b.localhost",
        "a..localhost",
    ] {
        assert_eq!(ask("/", host), Err(Code::InvalidFunctionName), "{host}");
    }
}

#[test]
fn foreign_hosts_are_misdirected() {
    for host in [
        "example.org",
        "localhost.example.org",
        "127.0.0.1.nip.io",
        "127.0.0.2",
        "xlocalhost",
        "localhost.",
        "[::2]",
    ] {
        assert_eq!(ask("/function/hello", host), Err(Code::MisdirectedRequest), "{host}");
    }
}

#[test]
fn malformed_hosts_are_bad_requests() {
    for host in [
        "",
        ".localhost:x",
        "localhost:99999",
        "localhost:-1",
        "user@localhost",
        "a b",
        "[::1",
        "[zz]",
        "::1",
        "localhost:80:80",
        "local\u{e4}host",
    ] {
        assert_eq!(ask("/function/hello", host), Err(Code::BadRequest), "{host:?}");
    }
    let hosts = Hosts::default();
    assert!(resolve(&request("/", &[]), &hosts).is_err());
    assert!(resolve(&request("/", &["localhost", "localhost"]), &hosts).is_err());
}

#[test]
fn an_absolute_target_must_agree_with_the_host() {
    assert_eq!(
        ask("http://localhost:8080/function/hello", "localhost:8080"),
        function("hello", 15)
    );
    assert_eq!(
        ask("http://LOCALHOST/function/hello", "localhost:80"),
        function("hello", 15)
    );
    assert_eq!(
        ask("http://localhost/function/hello", "hello.localhost"),
        Err(Code::BadRequest)
    );
    assert_eq!(
        ask("http://localhost:81/function/hello", "localhost:82"),
        Err(Code::BadRequest)
    );
    assert_eq!(
        ask("http://a@localhost/function/hello", "localhost"),
        Err(Code::BadRequest)
    );
}

#[test]
fn connect_is_not_served() {
    let mut head = request("/", &["localhost"]);
    head.method = Method::CONNECT;
    assert!(resolve(&head, &Hosts::default()).is_err());
}

proptest! {
    #[test]
    fn no_input_panics_and_only_own_hosts_pass(path in "/[ -~&&[^#?<>\"`{} |^\\\\]]{0,40}", host in "[ -~]{0,40}") {
        let Ok(target) = path.parse::<http::Uri>() else { return Ok(()) };
        let mut head = Request::new(()).into_parts().0;
        head.uri = target;
        let Ok(value) = http::HeaderValue::from_str(&host) else { return Ok(()) };
        head.headers.insert("host", value);
        if resolve(&head, &Hosts::default()).is_ok() {
            let lower = host.to_ascii_lowercase();
            let bare = lower.split_once(']').map_or_else(
                || lower.split(':').next().unwrap_or_default().to_owned(),
                |(address, _)| format!("{address}]"),
            );
            prop_assert!(bare == "localhost" || bare == "127.0.0.1" || bare == "[::1]" || bare.ends_with(".localhost"), "{bare}");
        }
    }

    #[test]
    fn every_valid_name_is_found_both_ways(name in "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", rest in "(/[a-z%./]{0,20})?") {
        prop_assert_eq!(ask(&format!("/function/{name}{rest}"), "localhost"), function(&name, 10 + name.len()));
        prop_assert_eq!(ask(&format!("/{rest}"), &format!("{name}.localhost")), function(&name, 0));
    }
}
