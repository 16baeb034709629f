use std::ffi::OsString;

use super::*;

/// Reads a command line in which words are parted by blanks, and a blank inside a word is written `~`.
fn read(line: &str) -> Result<Cli, clap::Error> {
    parse(
        line.split_whitespace()
            .map(|word| OsString::from(word.replace('~', " "))),
    )
}

fn command_of(line: &str) -> Command {
    read(line).unwrap_or_else(|error| panic!("{line}: {error}")).command
}

#[test]
fn clap_finds_no_contradiction() {
    command().debug_assert();
}

#[test]
#[cfg(not(feature = "abuse-switches"))]
fn no_layer_can_be_switched_off_in_a_binary_for_anybody() {
    let error = read("fn serve --abuse-off seccomp").unwrap_err();
    assert_eq!(error.kind(), clap::error::ErrorKind::UnknownArgument);
}

#[test]
#[cfg(feature = "abuse-switches")]
fn a_layer_that_is_switched_off_is_known() {
    assert!(read("fn serve --abuse-off seccomp,landlock").is_ok());
    let error = read("fn serve --abuse-off walls").unwrap_err();
    assert_eq!(error.kind(), clap::error::ErrorKind::ValueValidation);
}

#[test]
fn every_command_that_others_build_on_is_understood() {
    let lines = [
        "fn serve",
        "fn serve --listen 127.0.0.1:8080 --state-dir DIR --admin-socket PATH --user NAME --cgroup-root DIR --strict \
         --log-format text",
        "fn serve --log-format json --host example.org --host example.net --expose-errors",
        "fn deploy PATH",
        "fn deploy PATH --name N --runtime R --handler H --memory 64MiB --timeout 3s --env K=V --env L=W \
         --set scale.max=4 --set idle=5s --no-check",
        "fn deploy PATH --json",
        "fn dev PATH --name N --set scale.ahead=0 --json",
        "fn init DIR",
        "fn init --runtime node DIR",
        "fn invoke N",
        "fn invoke N -d DATA --method PUT --path /a/b?c=d -H K:~V -H L:~W",
        "fn invoke N -d @FILE",
        "fn invoke N -d @-",
        "fn invoke N -v",
        "fn invoke N --include",
        "fn list",
        "fn show N",
        "fn logs N",
        "fn logs N -f --request ID",
        "fn evict N",
        "fn evict N --all",
        "fn rm N",
        "fn doctor",
        "fn completions bash",
    ];
    for line in lines {
        command_of(line);
        for option in ["--json", "--admin-socket PATH", "--state-dir DIR"] {
            if !line.contains(option) {
                command_of(&format!("{line} {option}"));
                command_of(&line.replacen("fn", &format!("fn {option}"), 1));
            }
        }
    }
}

#[test]
fn serve_has_the_documented_defaults() {
    let Command::Serve(args) = command_of("fn serve") else {
        panic!("another command")
    };
    assert_eq!(args.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(args.log_format, LogFormat::Text);
    assert_eq!(args.reclaim_after, None);
    assert_eq!(args.retry_wait.as_millis(), 60_000);
    assert!(
        args.hosts.is_empty()
            && args.callback_hosts.is_empty()
            && args.egress_allow.is_empty()
            && !args.strict
            && !args.expose_errors
    );
}

#[test]
fn the_special_options_of_deploy_win_over_set() {
    let line = "fn deploy . --memory 64MiB --set memory=1GiB --set scale.max=4 --env A=x=y --name n";
    let Command::Deploy(args) = command_of(line) else {
        panic!("another command")
    };
    let pairs = args.function.settings();
    let pairs: Vec<(&str, &str)> = pairs
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    assert_eq!(
        pairs,
        [
            ("memory", "1GiB"),
            ("scale.max", "4"),
            ("name", "n"),
            ("memory", "64MiB"),
            ("env.A", "x=y")
        ]
    );
}

#[test]
fn a_header_is_parted_at_its_first_colon() {
    let Command::Invoke(args) = command_of("fn invoke n -H X-Time:~12:30 -H Empty:") else {
        panic!("another command")
    };
    let expected = [
        ("X-Time".to_owned(), "12:30".to_owned()),
        ("Empty".to_owned(), String::new()),
    ];
    assert_eq!(args.headers, expected);
}

#[test]
fn mistakes_of_form_are_refused() {
    for line in [
        "fn",
        "fn deplyo .",
        "fn deploy",
        "fn deploy . --env A",
        "fn dev",
        "fn dev . --no-check",
        "fn deploy . --set =x",
        "fn invoke n -H nothing",
        "fn serve --listen 8080",
        "fn serve --log-format xml",
        "fn serve --callback-host http://example.org/",
        "fn serve --egress-allow 10.0.0.1/8",
        "fn serve --reclaim-after 5",
        "fn serve --retry-wait 60",
        "fn init --runtime cobol d",
        "fn show",
        "fn logs n --tail many",
    ] {
        let error = read(line).expect_err(line);
        assert_eq!(error.exit_code(), 2, "{line}");
    }
}

#[test]
fn the_help_ends_with_the_exit_codes() {
    let help = read("fn --help").unwrap_err().to_string();
    assert!(help.contains("Exit codes:\n  0  it worked"), "{help}");
}
