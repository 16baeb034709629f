use proptest::prelude::*;

use super::*;
use crate::{Cpu, Span};

fn detected(runtime: Runtime) -> Detected {
    let handler = if runtime == Runtime::Stdio {
        "bin/handler"
    } else {
        "handler.handler"
    };
    Detected {
        runtime,
        handler: handler.to_owned(),
    }
}

fn resolve_as(runtime: Runtime, set: &[(&str, &str)]) -> Result<Settings, ResolveError> {
    let mut manifest = Manifest::default();
    for (key, value) in set {
        manifest.set(key, value).unwrap();
    }
    manifest.resolve(&"hello".parse().unwrap(), &detected(runtime))
}

fn refused(set: &[(&str, &str)]) -> ResolveError {
    let error = resolve_as(Runtime::Python, set).unwrap_err();
    assert!(error.hint().ends_with('.'), "{error:?}");
    error
}

#[test]
fn the_defaults_are_the_documented_ones() {
    let settings = resolve_as(Runtime::Python, &[]).unwrap();
    assert_eq!(settings.memory, ByteSize::mib(256));
    assert_eq!(settings.cpu, Cpu::millis(1000));
    assert_eq!(settings.pids, 128);
    assert_eq!(settings.tmp, ByteSize::mib(64));
    assert_eq!(settings.timeout, Span::secs(30));
    assert_eq!(settings.idle, Span::secs(60));
    assert_eq!((settings.concurrency, settings.queue), (1, 100));
    assert_eq!(settings.max_body, ByteSize::mib(6));
    assert_eq!((settings.scale.min, settings.scale.max), (0, 16));
    assert_eq!(settings.scale.keep.as_str(), "auto");
    assert_eq!(settings.scale.ahead, Ahead::Auto);
    assert_eq!(settings.reuse, Reuse::Instance);
    assert_eq!(settings.rootfs.as_str(), "read-only");
    assert_eq!(settings.build.as_str(), "safe");
    assert_eq!(settings.handler, "handler.handler");
    let json = serde_json::to_string(&settings).unwrap();
    assert_eq!(serde_json::from_str::<Settings>(&json).unwrap(), settings);
}

#[test]
fn both_ends_of_every_bound_hold_and_nothing_beyond() {
    let outside = [
        ("memory", "16777215", "257GiB"),
        ("cpu", "0.009", "256.001"),
        ("pids", "3", "32769"),
        ("tmp", "1KiB", "65GiB"),
        ("timeout", "9ms", "25h"),
        ("idle", "9ms", "25h"),
        ("concurrency", "0", "65"),
        ("http.port", "1023", "32768"),
        ("http.grace", "9ms", "11s"),
        ("queue", "", "100001"),
        ("max_body", "", "1025GiB"),
        ("scale.min", "", "1001"),
        ("scale.max", "0", "1001"),
        ("scale.ahead", "", "65"),
    ];
    for key in KEYS.iter().filter(|key| key.bounds.is_some()) {
        let bounds = key.bounds.unwrap();
        let other = if key.name == "scale.min" {
            ("scale.max", "1000")
        } else {
            ("queue", "1")
        };
        for end in [bounds.least, bounds.most] {
            resolve_as(Runtime::Stdio, &[other, (key.name, end)]).unwrap();
        }
        let (_, below, above) = outside.iter().find(|(name, ..)| *name == key.name).unwrap();
        for value in [below, above].into_iter().filter(|value| !value.is_empty()) {
            match resolve_as(Runtime::Stdio, &[(key.name, value)]).unwrap_err() {
                ResolveError::OutOfBounds { key: named, .. } => assert_eq!(named, key.name),
                error => panic!("{}: {error}", key.name),
            }
        }
    }
    assert_eq!(
        refused(&[("memory", "1MiB")]).to_string(),
        "memory is 1MiB, but it must be from 16MiB to 256GiB"
    );
}

#[test]
fn a_signature_fits_its_runtime() {
    for (runtime, signature, fits) in [
        (Runtime::Python, "auto", true),
        (Runtime::Python, "event", true),
        (Runtime::Python, "wsgi", true),
        (Runtime::Python, "asgi", true),
        (Runtime::Node, "asgi", false),
        (Runtime::Node, "http", true),
        (Runtime::Node, "fetch", true),
        (Runtime::Python, "http", true),
        (Runtime::Python, "cloudevent", true),
        (Runtime::Node, "cloudevent", true),
        (Runtime::Python, "fetch", false),
        (Runtime::Node, "event", true),
        (Runtime::Node, "wsgi", false),
        (Runtime::Stdio, "auto", true),
        (Runtime::Stdio, "event", false),
    ] {
        match resolve_as(runtime, &[("signature", signature)]) {
            Ok(settings) => assert!(
                fits && settings.signature.as_str() == signature,
                "{runtime} {signature}"
            ),
            Err(error) => {
                assert!(!fits && error.hint().ends_with('.'), "{runtime} {signature}");
                assert!(matches!(error, ResolveError::SignatureRuntime { .. }), "{error}");
            }
        }
    }
}

#[test]
fn keys_that_depend_on_each_other_are_checked_together() {
    assert_eq!(
        refused(&[("scale.min", "3"), ("scale.max", "2")]),
        ResolveError::ScaleOrder { min: 3, max: 2 }
    );
    assert!(matches!(
        refused(&[("max_body", "7MiB")]),
        ResolveError::HandlerBody { .. }
    ));
    assert!(resolve_as(Runtime::Stdio, &[("max_body", "7GiB")]).is_ok());
    assert!(matches!(
        refused(&[("stdio.args", "[\"x\"]")]),
        ResolveError::ArgsRuntime { .. }
    ));
    assert_eq!(
        refused(&[("reuse", "request"), ("concurrency", "2")]),
        ResolveError::ReuseConcurrency { concurrency: 2 }
    );
    assert!(resolve_as(Runtime::Python, &[("reuse", "request")]).is_ok());
    assert_eq!(
        refused(&[("layers", "[\"1\", \"2\", \"3\", \"4\", \"5\", \"6\"]")]),
        ResolveError::LayersCount { count: 6 }
    );
    for bad in ["[\"\"]", "[\"a\\nb\"]"] {
        assert!(matches!(refused(&[("layers", bad)]), ResolveError::LayerName { .. }));
    }
    assert!(matches!(refused(&[("name", "other")]), ResolveError::OtherName { .. }));
    assert!(matches!(
        refused(&[("runtime", "node")]),
        ResolveError::OtherRuntime { .. }
    ));
    assert!(resolve_as(Runtime::Python, &[("runtime", "node"), ("handler", "index.handler")]).is_ok());
    assert!(resolve_as(Runtime::Python, &[("name", "hello")]).is_ok());
}

#[test]
fn handlers_stay_inside_the_bundle() {
    for handler in [
        "",
        "handler",
        "../x.handler",
        "/etc/x.handler",
        ".handler",
        "x.",
        "a..b",
        "a b.c",
        "a//b.c",
    ] {
        assert!(
            matches!(refused(&[("handler", handler)]), ResolveError::HandlerForm { .. }),
            "{handler}"
        );
    }
    for handler in ["src/app.main", "pkg.mod.handler", "my-file.lambda_handler"] {
        assert_eq!(
            resolve_as(Runtime::Python, &[("handler", handler)]).unwrap().handler,
            handler
        );
    }
    for handler in ["", "/bin/sh", "../x", "a/../b", "a//b", "a/", "./a", "a\0b"] {
        let error = resolve_as(Runtime::Stdio, &[("handler", handler)]).unwrap_err();
        assert!(matches!(error, ResolveError::HandlerPath { .. }), "{handler}");
    }
}

#[test]
fn the_environment_has_its_own_rules() {
    for name in ["", "1A", "A B", "A=B", "É"] {
        let key = format!("env.{name}");
        assert!(
            matches!(refused(&[(&key, "x")]), ResolveError::EnvName { .. }),
            "{name}"
        );
    }
    for name in ["FN_LANES", "_HANDLER", "LAMBDA_TASK_ROOT", "AWS_LAMBDA_FUNCTION_NAME"] {
        let key = format!("env.{name}");
        assert!(
            matches!(refused(&[(&key, "x")]), ResolveError::EnvReserved { .. }),
            "{name}"
        );
    }
    assert!(matches!(refused(&[("env.A", "a\0b")]), ResolveError::EnvValue { .. }));
    assert!(matches!(
        refused(&[("env.A", &"x".repeat(ENV_BYTES))]),
        ResolveError::EnvBytes { .. }
    ));
    let many: Vec<String> = (0..=ENV_COUNT).map(|index| format!("env.V{index}")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|key| (key.as_str(), "")).collect();
    assert!(matches!(refused(&many), ResolveError::EnvCount { .. }));
    assert!(resolve_as(Runtime::Python, &[("env.PATH", "/function/bin")]).is_ok());
}

#[test]
fn an_http_function_has_a_command_and_a_port() {
    let command = ("http.command", "[\"python3\", \"app.py\"]");
    let settings = resolve_as(Runtime::Http, &[command, ("http.port", "9000")]).unwrap();
    assert_eq!(
        (settings.handler.as_str(), settings.http.port),
        ("python3 app.py", 9000)
    );
    assert_eq!(settings.concurrency, 16);
    let settings = resolve_as(Runtime::Http, &[("handler", "gunicorn app:app"), ("reuse", "request")]).unwrap();
    assert_eq!(
        (settings.handler.as_str(), settings.concurrency),
        ("gunicorn app:app", 1)
    );
    assert!(resolve_as(Runtime::Http, &[command, ("max_body", "7GiB")]).is_ok());
    let upstream = ("env.upstream_url", "http://127.0.0.1:5000");
    assert_eq!(resolve_as(Runtime::Http, &[command, upstream]).unwrap().http.port, 5000);
    let both = resolve_as(Runtime::Http, &[command, upstream, ("http.port", "3000")]);
    assert_eq!(both.unwrap().http.port, 3000, "what fn.toml says itself comes first");
    assert_eq!(settings.http.grace.as_millis(), 2000);
    let refused = |typed: &[(&str, &str)]| resolve_as(Runtime::Http, typed).unwrap_err();
    let errors = [
        refused(&[("http.command", "[]")]),
        refused(&[("http.command", "[\"\"]")]),
        refused(&[command, ("handler", "x")]),
        refused(&[("handler", "a\nb")]),
        refused(&[("handler", " ")]),
        refused(&[command, ("env.PORT", "1")]),
        refused(&[command, ("env.K_SERVICE", "x")]),
        refused(&[command, ("env.http_upstream_url", "http://10.0.0.1:80")]),
        refused(&[("http.command", "[\"a\\u0000\"]")]),
        resolve_as(Runtime::Python, &[("runtime", "python"), command]).unwrap_err(),
    ];
    let expected: [fn(&ResolveError) -> bool; 10] = [
        |e| matches!(e, ResolveError::CommandEmpty),
        |e| matches!(e, ResolveError::CommandEmpty),
        |e| matches!(e, ResolveError::CommandTwice),
        |e| matches!(e, ResolveError::HandlerLine { .. }),
        |e| matches!(e, ResolveError::HandlerLine { .. }),
        |e| matches!(e, ResolveError::EnvHttp { .. }),
        |e| matches!(e, ResolveError::EnvHttp { .. }),
        |e| matches!(e, ResolveError::Upstream { .. }),
        |e| {
            matches!(
                e,
                ResolveError::ArgsNul {
                    key: "http.command",
                    index: 0
                }
            )
        },
        |e| matches!(e, ResolveError::CommandRuntime { .. }),
    ];
    for (error, is_right) in errors.iter().zip(expected) {
        assert!(is_right(error), "{error}");
        assert!(error.hint().ends_with('.'), "{error}");
    }
    assert!(resolve_as(Runtime::Python, &[("env.PORT", "1")]).is_ok());
}

#[test]
fn arguments_have_their_own_rules() {
    let args = |args: Vec<String>| check_args("stdio.args", &args).unwrap_err();
    assert!(matches!(
        args(vec!["a\0b".to_owned()]),
        ResolveError::ArgsNul { index: 0, .. }
    ));
    assert!(matches!(
        args(vec![String::new(); ARGS_COUNT + 1]),
        ResolveError::ArgsCount { .. }
    ));
    assert!(matches!(
        args(vec!["x".repeat(ARGS_BYTES)]),
        ResolveError::ArgsBytes { .. }
    ));
}

proptest! {
    #[test]
    fn whatever_resolves_keeps_every_rule(handler in ".*", name in ".*", value in ".*", memory: u64, min: u32, max: u32) {
        for runtime in [Runtime::Python, Runtime::Stdio] {
            let manifest = Manifest {
                handler: Some(handler.clone()),
                memory: Some(ByteSize::bytes(memory)),
                scale: super::super::ScaleTyped { min: Some(min), max: Some(max), ..Default::default() },
                env: [(name.clone(), value.clone())].into(),
                ..Manifest::default()
            };
            if let Ok(settings) = manifest.resolve(&"hello".parse().unwrap(), &detected(runtime)) {
                prop_assert!(settings.scale.min <= settings.scale.max && settings.scale.max <= 1000);
                prop_assert!(!settings.handler.starts_with('/') && !settings.handler.contains(".."));
                prop_assert!(!settings.env.iter().any(|(name, value)| name.contains('=') || value.contains('\0')));
            }
        }
    }
}

#[test]
fn rules_for_pages_of_other_origins_are_checked_and_none_is_none() {
    assert_eq!(resolve_as(Runtime::Stdio, &[]).unwrap().cors, None);
    let settings = resolve_as(
        Runtime::Stdio,
        &[("cors.allow_origins", "[\"*\"]"), ("cors.max_age", "1m")],
    )
    .unwrap();
    let cors = settings.cors.clone().unwrap();
    assert!(cors.allows_any_origin() && cors.max_age == Some(Span::secs(60)));
    let json = serde_json::to_string(&settings).unwrap();
    assert_eq!(serde_json::from_str::<Settings>(&json).unwrap(), settings);
    let error = refused(&[("cors.allow_origins", "[\"*\"]"), ("cors.allow_credentials", "true")]);
    assert!(matches!(error, ResolveError::Cors(_)), "{error}");
    let wrong = Manifest::default().set("cors.allow_credentials", "yes").unwrap_err();
    assert!(wrong.to_string().contains("neither true nor false"), "{wrong}");
}

#[test]
fn destinations_are_counted_and_unlike_and_not_the_servers_own_port() {
    assert!(resolve_as(Runtime::Stdio, &[]).unwrap().network.is_empty());
    let settings = resolve_as(
        Runtime::Stdio,
        &[("network.allow", "[\"A.example:443\", \"a.example:80\"]")],
    )
    .unwrap();
    assert_eq!(settings.network.allow[0].to_string(), "a.example:443");
    let json = serde_json::to_string(&settings).unwrap();
    assert_eq!(serde_json::from_str::<Settings>(&json).unwrap(), settings);

    let error = refused(&[("network.allow", "[\"a.example:80\", \"A.example:80\"]")]);
    assert!(matches!(error, ResolveError::NetworkTwice(_)) && error.hint().ends_with('.'));
    let many: Vec<String> = (1..=17).map(|port| format!("\"a.example:{port}\"")).collect();
    let error = refused(&[("network.allow", &format!("[{}]", many.join(",")))]);
    assert!(matches!(error, ResolveError::NetworkCount { count: 17 }) && error.hint().ends_with('.'));
    let to = ("network.allow", "[\"a.example:80\"]");
    let error = refused(&[("security.profile", "strict"), to]);
    assert!(matches!(error, ResolveError::NetworkDenied(_)) && error.hint().ends_with('.'));
    let open = [("security.profile", "strict"), ("security.network", "true"), to];
    assert!(resolve_as(Runtime::Python, &open).is_ok());
    let server = [("handler", "./serve"), ("network.allow", "[\"a.example:8080\"]")];
    let error = resolve_as(Runtime::Http, &server).unwrap_err();
    assert!(matches!(error, ResolveError::NetworkPort(_)) && error.hint().ends_with('.'));
    assert!(resolve_as(Runtime::Stdio, &server[1..]).is_ok());

    let wrong = Manifest::default()
        .set("network.allow", "[\"10.0.0.1:80\"]")
        .unwrap_err();
    assert!(wrong.to_string().contains("name the host by its DNS name"), "{wrong}");
}
