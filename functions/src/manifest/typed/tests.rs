use proptest::prelude::*;

use super::*;

#[test]
fn every_key_of_the_table_can_be_set_and_read() {
    for key in KEYS {
        let value = key.default.unwrap_or_else(|| match key.name {
            "name" => "hello",
            "runtime" => "node",
            "handler" => "index.handler",
            "env" => "{ A = \"b\" }",
            "security.deny" => "[\"group:process\"]",
            "security.read_only" => "[\"/tmp\"]",
            "security.network" | "security.exec_written" => "false",
            "stdio.args" | "http.command" | "layers" => "[\"-v\"]",
            "cors.allow_credentials" => "true",
            "cors.max_age" => "1m",
            cors if cors.starts_with("cors.") => "[\"*\"]",
            "network.allow" => "[\"example.org:443\"]",
            other => panic!("give this test a value for {other}"),
        });
        let mut manifest = Manifest::default();
        manifest
            .set(key.name, value)
            .unwrap_or_else(|error| panic!("{}: {error}", key.name));
        assert_ne!(manifest, Manifest::default(), "{} is lost", key.name);

        let json = serde_json::to_string(&manifest).unwrap();
        assert_eq!(serde_json::from_str::<Manifest>(&json).unwrap(), manifest, "{json}");
        let toml = toml::to_string(&manifest).unwrap();
        assert_eq!(Manifest::from_toml(&toml).unwrap(), manifest, "{toml}");
    }
}

#[test]
fn a_whole_file_is_read() {
    let manifest = Manifest::from_toml(
        "name = \"a\"\nruntime = \"stdio\"\ncpu = 2\nmemory = 67108864\ntimeout = \"2s\"\n\
         [scale]\nmin = 1\nkeep = \"nothing\"\n[env]\nA = \"1\"\n[stdio]\nargs = [\"x\"]\n",
    )
    .unwrap();
    assert_eq!(manifest.cpu, Some(Cpu::millis(2000)));
    assert_eq!(manifest.memory, Some(ByteSize::mib(64)));
    assert_eq!(
        manifest.scale,
        ScaleTyped {
            min: Some(1),
            max: None,
            keep: Some(Keep::Nothing),
            ahead: None,
        }
    );
    assert_eq!(manifest.env["A"], "1");
    assert_eq!(manifest.stdio.args.as_deref(), Some(&["x".to_owned()][..]));
    assert_eq!(Manifest::from_toml("").unwrap(), Manifest::default());
}

#[test]
fn ahead_is_a_word_or_a_number_however_it_is_given() {
    let read = |toml: &str| Manifest::from_toml(toml).unwrap().scale.ahead;
    assert_eq!(read("[scale]\nahead = \"auto\""), Some(Ahead::Auto));
    assert_eq!(read("[scale]\nahead = 3"), Some(Ahead::Exactly(3)));
    let mut manifest = Manifest::default();
    manifest.set("scale.ahead", "2").unwrap();
    assert_eq!(manifest.scale.ahead, Some(Ahead::Exactly(2)));
    for wrong in ["2.5", "-1", "many", ""] {
        let error = manifest.set("scale.ahead", wrong).unwrap_err().to_string();
        assert!(error.contains("\"auto\" or a whole number"), "{error}");
    }
}

#[test]
fn an_unknown_key_is_marked_and_answered_with_the_nearest() {
    let error = Manifest::from_toml("timeout = \"1s\"\nmemroy = \"1MiB\"\n")
        .unwrap_err()
        .to_string();
    assert!(error.contains("line 2, column 1"), "{error}");
    assert!(error.contains("2 | memroy"), "{error}");
    assert!(error.contains("^^^^^^"), "{error}");
    assert!(
        error.contains("unknown key `memroy`, did you mean \"memory\"?"),
        "{error}"
    );

    for (text, answer) in [
        ("max = 3", "unknown key `max`, did you mean \"scale.max\"?"),
        (
            "[scale]\nmaxx = 3",
            "unknown key `scale.maxx`, did you mean \"scale.max\"?",
        ),
        (
            "[scale]\nmemory = \"1MiB\"",
            "unknown key `scale.memory`, did you mean \"memory\"?",
        ),
        ("[scales]\nmax = 3", "unknown key `scales`"),
        ("\"scale.max\" = 3", "unknown key `scale.max`"),
        ("xyzzy = 3", "unknown key `xyzzy`"),
    ] {
        let error = Manifest::from_toml(text).unwrap_err().to_string();
        assert!(error.contains(answer), "{error}");
    }
}

#[test]
fn a_wrong_value_is_marked_with_its_line() {
    for (text, mark, reason) in [
        ("memory = \"64M\"", "^^^^^", "not a unit of size"),
        ("timeout = \"30\"", "^^^^", "write 30ms or 30s"),
        ("timeout = 30", "^^", "expected a string"),
        ("runtime = \"pyhton\"", "^^^^", "did you mean \"python\"?"),
        ("name = \"A\"", "^^^", "not allowed in a function name"),
        ("pids = -1", "^^", "expected u32"),
        ("pids = \"many\"", "^^^^", "expected u32"),
        ("[env]\nPORT = 8080", "^^^^", "expected a string"),
        ("scale = 3", "^", "a table with the keys of [scale]"),
        ("memory = ", "^", "line 1"),
        ("cpu = 1\ncpu = 2", "^^^", "duplicate key"),
    ] {
        let error = Manifest::from_toml(text).unwrap_err().to_string();
        assert!(error.contains(mark), "{error}");
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn set_says_what_is_wrong_and_changes_nothing() {
    for (key, value, reason) in [
        ("memroy", "1MiB", "unknown key `memroy`, did you mean \"memory\"?"),
        ("scale", "3", "unknown key `scale`"),
        ("memory", "64M", "memory: \"M\" is not a unit of size"),
        ("scale.max", "four", "scale.max: \"four\" is not a whole number"),
        ("scale.max", "99999999999", "scale.max: invalid value"),
        ("cpu", "fast", "cpu: fast is not a number of processors"),
        ("stdio.args", "-v", "stdio.args: "),
        ("runtime", "node18", "did you mean \"node\"?"),
    ] {
        let mut manifest = Manifest::default();
        let error = manifest.set(key, value).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(reason), "{text}");
        assert!(!error.hint().is_empty());
        assert_eq!(manifest, Manifest::default());
    }
}

#[test]
fn set_takes_single_variables() {
    let mut manifest = Manifest::default();
    manifest.set("env.A", "b=c").unwrap();
    assert_eq!(manifest.env["A"], "b=c");
}

proptest! {
    #[test]
    fn no_text_panics(text in ".*", key in "[a-z.]{0,12}", value in ".*") {
        let _ = Manifest::from_toml(&text);
        let _ = Manifest::from_toml(&format!("{key} = {value}"));
        let _ = serde_json::from_str::<Manifest>(&text);
        let _ = Manifest::default().set(&key, &value);
    }

    #[test]
    fn every_manifest_reads_back(
        memory in prop::option::of(any::<u64>()),
        cpu in prop::option::of(any::<u32>()),
        timeout in prop::option::of(0..u64::MAX),
        max in prop::option::of(any::<u32>()),
        env in prop::collection::btree_map(".*", ".*", 0..4),
        args in prop::option::of(prop::collection::vec(".*", 0..4)),
    ) {
        let manifest = Manifest {
            memory: memory.map(ByteSize::bytes),
            cpu: cpu.map(Cpu::millis),
            timeout: timeout.map(Span::millis),
            scale: ScaleTyped { max, ..ScaleTyped::default() },
            env,
            stdio: StdioTyped { args },
            ..Manifest::default()
        };
        let toml = toml::to_string(&manifest).unwrap();
        prop_assert_eq!(&Manifest::from_toml(&toml).unwrap(), &manifest);
        let json = serde_json::to_string(&manifest).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Manifest>(&json).unwrap(), &manifest);
    }
}
