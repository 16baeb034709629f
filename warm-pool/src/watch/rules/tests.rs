//! What can be written as a rule, and what is said of the rest.

use sandbox::Peer;

use super::*;

fn happening(event: Event) -> Happening {
    Happening {
        function: "hello".parse().unwrap(),
        runtime: Runtime::Python,
        sandbox: None,
        event,
    }
}

fn exec(path: &str) -> Happening {
    happening(Event::Exec(Some(path.to_owned())))
}

fn applied(rules: &Rules, happening: &Happening) -> Vec<String> {
    let applied = rules.enabled().filter(|rule| rule.matches(happening));
    applied.map(|rule| rule.name.clone()).collect()
}

fn wrong(text: &str) -> String {
    Rules::changed_by(text).unwrap_err().to_string()
}

#[test]
fn the_shipped_rules_apply_to_what_they_say() {
    let rules = Rules::default();
    let applied = |event| applied(&rules, &happening(event));
    let exec = |path: &str| applied(Event::Exec(Some(path.to_owned())));
    assert_eq!(exec("/usr/bin/bash"), ["shell-in-function"]);
    assert_eq!(exec("/usr/bin/pip3"), ["package-manager"]);
    assert_eq!(exec("/tmp/miner"), ["exec-from-writable"]);
    assert_eq!(exec("/memfd:x (deleted)"), ["exec-from-writable"]);
    assert_eq!(exec("/tmp/sh"), ["shell-in-function", "exec-from-writable"]);
    assert!(exec("/usr/bin/convert").is_empty());
    let connect = |text: &str| applied(Event::Connect(Peer::Inet(text.parse().unwrap())));
    assert_eq!(connect("169.254.169.254:80"), ["connect-outside"]);
    assert_eq!(connect("1.2.3.4:443"), ["connect-outside"]);
    assert!(connect("127.0.0.1:8080").is_empty() && connect("[::1]:1").is_empty());
    assert!(applied(Event::Connect(Peer::Unix("/tmp/s".into()))).is_empty());
    assert_eq!(applied(Event::Refused("mount")), ["refused-calls"]);
    assert_eq!(applied(Event::OutOfMemory), ["out-of-memory"]);
    assert_eq!(applied(Event::PidsLimit(3)), ["pids-limit"]);
    assert_eq!(applied(Event::Timeout), ["repeated-timeouts"]);
    assert_eq!(applied(Event::Crash("x".into())), ["repeated-crashes"]);
    assert_eq!(applied(Event::Template("x".into())), ["template-drift"]);
    assert_eq!(applied(Event::Missed(1)), ["events-missed"]);
}

#[test]
fn a_stdio_function_may_be_a_script_that_runs_shells() {
    let rules = Rules::default();
    let of_stdio = Happening {
        runtime: Runtime::Stdio,
        ..exec("/bin/sh")
    };
    assert!(applied(&rules, &of_stdio).is_empty());
}

#[test]
fn a_rule_of_the_same_name_changes_what_it_names() {
    let rules = Rules::changed_by("[[rule]]\nname = \"shell-in-function\"\naction = \"kill\"").unwrap();
    let rule = &rules.all()[0];
    assert_eq!((rule.action, rule.severity), (Action::Kill, Severity::Warning));
    assert_eq!(applied(&rules, &exec("/bin/sh")), ["shell-in-function"]);
    let rules = Rules::changed_by("[[rule]]\nname = \"shell-in-function\"\nenabled = false").unwrap();
    assert!(applied(&rules, &exec("/bin/sh")).is_empty());
}

#[test]
fn a_rule_of_ones_own_is_added() {
    let text = "[[rule]]\nname = \"db\"\nevent = \"connect\"\naddress = [\"loopback\"]\nport = [5432]\nfunction = [\"hel*\"]\n\
                [[rule]]\nname = \"not-mine\"\nevent = \"exec\"\nnot_path = [\"/usr/bin/git\"]\nfunction = [\"other\"]";
    let rules = Rules::changed_by(text).unwrap();
    let connect = |port: u16| happening(Event::Connect(Peer::Inet(([127, 0, 0, 1], port).into())));
    assert_eq!(applied(&rules, &connect(5432)), ["db"]);
    assert!(applied(&rules, &connect(5433)).is_empty());
    let other = |path| Happening {
        function: "other".parse().unwrap(),
        ..exec(path)
    };
    assert_eq!(applied(&rules, &other("/usr/bin/cat")), ["not-mine"]);
    assert!(applied(&rules, &other("/usr/bin/git")).is_empty());
    assert!(applied(&rules, &exec("/usr/bin/cat")).is_empty());
}

#[test]
fn only_what_rules_ask_for_is_watched() {
    let all = Watch {
        exec: true,
        connect: true,
        refused: true,
    };
    assert_eq!(Rules::default().watch(), all);
    assert_eq!(Rules::none().watch(), Watch::default());
    let off = [
        "shell-in-function",
        "package-manager",
        "exec-from-writable",
        "connect-outside",
        "refused-calls",
    ];
    let mut text: String = off
        .iter()
        .map(|name| format!("[[rule]]\nname = \"{name}\"\nenabled = false\n"))
        .collect();
    assert_eq!(Rules::changed_by(&text).unwrap().watch(), Watch::default());
    text += "[[rule]]\nname = \"mine\"\nevent = \"exec\"\nfunction = [\"a\"]\nruntime = [\"node\"]";
    let rules = Rules::changed_by(&text).unwrap();
    let of = |name: &str, runtime| rules.watch_of(&name.parse().unwrap(), runtime).exec;
    assert!(rules.watch().exec && of("a", Runtime::Node));
    assert!(!of("a", Runtime::Python) && !of("b", Runtime::Node));
}

#[test]
fn what_means_nothing_is_named_with_its_line() {
    assert!(wrong("\n\n[[rule]]\nname = \"a\"").starts_with("line 3: the rule `a` has no `event`"));
    assert!(wrong("[[rule]]\nname = \"A b\"\nevent = \"exec\"").contains("no name of a rule"));
    let keys = wrong("# x\n[[rule]]\nname = \"a\"\nevent = \"exec\"\nport = [1]");
    assert_eq!(
        keys,
        "line 2: the rule `a` has `port`, which events of the kind `exec` don't have; those of `connect` do"
    );
    assert!(wrong("[[rule]]\nname = \"a\"\nevent = \"exec\"\npath = []").contains("never apply"));
    let rate = |rate: &str| wrong(&format!("[[rule]]\nname = \"a\"\nevent = \"crash\"\nrate = {rate}"));
    assert!(rate("{ count = 0, within = \"1s\" }").contains("a rate of 0"));
    assert!(rate("{ count = 9, within = \"25h\" }").contains("24h"));
    assert!(rate("{ count = 1001, within = \"1s\" }").contains("1000"));
    let twice = "[[rule]]\nname = \"a\"\nevent = \"exec\"\n[[rule]]\nname = \"a\"\nevent = \"exec\"";
    assert_eq!(wrong(twice), "line 4: the rule `a` stands in line 1 already");
    let many: String = (0..300)
        .map(|n| format!("[[rule]]\nname = \"r{n}\"\nevent = \"exec\"\n"))
        .collect();
    assert!(wrong(&many).contains("more than 256"));
}

#[test]
fn what_is_no_toml_or_no_key_is_named_with_its_line() {
    for (text, what) in [
        ("[[rule]]\nname = \"a\"\nevents = \"exec\"", "line 3"),
        ("[[rule]]\nname = \"a\"\nevent = \"exce\"", "line 3"),
        (
            "[[rule]]\nname = \"a\"\nevent = \"exec\"\naction = \"explode\"",
            "line 4",
        ),
        ("[[rule]]\nname = \"a\"\nevent = \"exec\"\npath = [\"\"]", "pattern"),
        ("[[rule]\n", "line 1"),
        ("[[rules]]\n", "line 1"),
    ] {
        let said = wrong(text);
        assert!(said.contains(what), "{text}: {said}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "([a-z=\\[\\]\"{}, \n#0-9]{0,80})|(\\[\\[rule\\]\\]\nname = \".{0,70}\"\nevent = \"exec\"\n)") {
        let _either = Rules::changed_by(&text);
    }
}
