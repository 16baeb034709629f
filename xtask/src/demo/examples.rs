//! The examples that the demonstration deploys: what each is asked, and what its answer must contain.

/// The example that cargo has to build first; what is deployed is the executable.
pub(super) const RUST: &str = "hello-rust";

/// One example of `functions/examples`.
#[derive(Clone, Copy)]
pub(super) struct Example {
    /// The name it is deployed under.
    pub(super) name: &'static str,
    /// Its directory.
    pub(super) dir: &'static str,
    /// The path below the function.
    pub(super) path: &'static str,
    /// Further arguments of curl.
    pub(super) curl: &'static [&'static str],
    /// Text that the body must contain.
    pub(super) answers: &'static str,
    /// Whether a warm call is answered by the same process: `stdio` starts one for each call in the same slot.
    pub(super) keeps_its_process: bool,
    /// Whether the load test compares its cold and warm calls.
    pub(super) compared: bool,
}

pub(super) const EXAMPLES: &[Example] = &[
    Example {
        name: "hello-python",
        dir: "hello-python",
        path: "",
        curl: &[],
        answers: "ello",
        keeps_its_process: true,
        compared: true,
    },
    Example {
        name: "hello-node",
        dir: "hello-node",
        path: "",
        curl: &[],
        answers: "ello",
        keeps_its_process: true,
        compared: true,
    },
    Example {
        name: "hello-shell",
        dir: "hello-shell",
        path: "",
        curl: &[],
        answers: "ello",
        keeps_its_process: false,
        compared: true,
    },
    Example {
        name: RUST,
        dir: RUST,
        path: "",
        curl: &[],
        answers: "ello",
        keeps_its_process: false,
        compared: true,
    },
    Example {
        name: "resize-python",
        dir: "resize-python",
        path: "",
        curl: &[],
        answers: "",
        keeps_its_process: true,
        compared: false,
    },
    Example {
        name: "api-node",
        dir: "api-node",
        path: "/items",
        curl: &[],
        answers: "",
        keeps_its_process: true,
        compared: false,
    },
];
