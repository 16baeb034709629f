//! `fn.toml`, and `--set`.

use functions::detect::Detected;
use functions::{FunctionName, Manifest, Runtime, Settings};

/// A file, behind it a line `KEY=VALUE` for each NUL byte.
pub(crate) fn manifest(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let mut parts = text.split('\0');
    let Ok(mut manifest) = Manifest::from_toml(parts.next().unwrap_or_default()) else {
        return;
    };
    for (key, value) in parts.filter_map(|set| set.split_once('=')) {
        if let Err(error) = manifest.set(key, value) {
            assert!(!error.hint().is_empty(), "every refusal says what to do");
        }
    }
    let name: FunctionName = "fuzzed".parse().expect("a name");
    for runtime in [Runtime::Python, Runtime::Stdio, Runtime::Http, Runtime::Lambda] {
        let detected = Detected {
            runtime,
            handler: "handler.handler".to_owned(),
        };
        match manifest.resolve(&name, &detected) {
            Ok(settings) => stored(&settings),
            Err(error) => assert!(!error.hint().is_empty(), "every refusal says what to do"),
        }
    }
}

/// Settings are stored as JSON with a revision, and must come back as they were.
fn stored(settings: &Settings) {
    let json = serde_json::to_string(settings).expect("settings are written");
    let back: Settings = serde_json::from_str(&json).expect("what was written is read");
    assert_eq!(&back, settings);
}
