//! The examples: their files, as they lie in `cli/templates`.

use functions::{Runtime, Signature};

/// One file.
pub(super) struct Seed {
    pub(super) name: &'static str,
    pub(super) mode: u32,
    pub(super) content: &'static str,
}

macro_rules! seeds {
    ($dir:literal: $($mode:literal $name:literal),+) => {
        &[$(Seed {
            name: $name,
            mode: $mode,
            content: include_str!(concat!("../../../templates/", $dir, "/", $name)),
        }),+]
    };
}

/// The files of an example; `None` where nothing is called so.
pub(super) fn files(runtime: Runtime, signature: Signature) -> Option<&'static [Seed]> {
    Some(match (runtime, signature) {
        (Runtime::Python, Signature::Auto | Signature::Event) => seeds!("python": 0o644 "handler.py", 0o644 "fn.toml"),
        (Runtime::Python, Signature::Wsgi) => seeds!("python-wsgi": 0o644 "app.py", 0o644 "fn.toml"),
        (Runtime::Python, Signature::Asgi) => seeds!("python-asgi": 0o644 "app.py", 0o644 "fn.toml"),
        (Runtime::Python, Signature::Http) => {
            seeds!("python-http": 0o644 "main.py", 0o644 "requirements.txt", 0o644 "fn.toml")
        }
        (Runtime::Python, Signature::CloudEvent) => {
            seeds!("python-cloudevent": 0o644 "main.py", 0o644 "requirements.txt", 0o644 "fn.toml")
        }
        (Runtime::Node, Signature::Auto | Signature::Event) => seeds!("node": 0o644 "index.mjs", 0o644 "fn.toml"),
        (Runtime::Node, Signature::Http) => seeds!("node-http": 0o644 "index.mjs", 0o644 "fn.toml"),
        (Runtime::Node, Signature::Fetch) => seeds!("node-fetch": 0o644 "index.mjs", 0o644 "fn.toml"),
        (Runtime::Node, Signature::CloudEvent) => {
            seeds!("node-cloudevent": 0o644 "index.mjs", 0o644 "package.json", 0o644 "fn.toml")
        }
        (Runtime::Stdio, Signature::Auto) => seeds!("stdio": 0o755 "handler.sh", 0o644 "fn.toml"),
        (Runtime::Http, Signature::Auto) => seeds!("http": 0o644 "app.py", 0o644 "fn.toml"),
        (Runtime::Lambda, Signature::Auto) => seeds!("lambda": 0o755 "bootstrap", 0o644 "fn.toml"),
        (Runtime::Fdk, Signature::Auto) => {
            seeds!("fdk": 0o644 "func.py", 0o644 "func.yaml", 0o644 "requirements.txt", 0o644 "fn.toml")
        }
        _ => return None,
    })
}
