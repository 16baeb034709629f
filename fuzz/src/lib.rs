//! Each place that reads what somebody hostile wrote, as a function of bytes that panics when something is wrong.
//!
//! Two run them: `tests/smoke.rs`, over the corpus and a bounded number of its mutations with each `cargo xtask test`, and libFuzzer, through
//! `libfuzzer/`, for as long as somebody likes (docs/fuzzing.md). A target returns normally for whatever is refused as it should be.

mod archive;
mod http;
mod manifest;
mod reply;
mod wire;

/// One place that reads hostile input.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, and that of its directory in `corpus/`.
    pub name: &'static str,
    /// Reads the input. Panics when what it read breaks a promise.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target {
        name: "wire_from_instance",
        run: wire::from_instance,
    },
    Target {
        name: "wire_from_host",
        run: wire::from_host,
    },
    Target {
        name: "manifest",
        run: manifest::manifest,
    },
    Target {
        name: "tar",
        run: archive::tar,
    },
    Target {
        name: "zip",
        run: archive::zip,
    },
    Target {
        name: "reply",
        run: reply::reply,
    },
    Target {
        name: "http_edge",
        run: http::edge,
    },
    Target {
        name: "lambda_headers",
        run: http::lambda_headers,
    },
    Target {
        name: "runtime_api",
        run: http::runtime_api,
    },
];

/// The target of this name.
///
/// # Panics
/// When there is none.
pub fn target(name: &str) -> Target {
    let found = TARGETS.iter().find(|target| target.name == name);
    *found.expect("a target that is in the list")
}
