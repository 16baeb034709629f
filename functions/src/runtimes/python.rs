//! `handler(event, context)` and web apps in Python, run by the host's interpreter on a shim of ours.

use super::host::Version;
use super::launch::BaseFile;

/// The interpreter, on the host and in every sandbox.
pub const INTERPRETER: &str = "/usr/bin/python3";

/// Older ones lack what the shim uses.
pub const OLDEST: Version = Version(3, 9, 0);

/// The shim.
pub const BOOTSTRAP: BaseFile = BaseFile {
    path: "/var/runtime/python/bootstrap.py",
    mode: 0o444,
    contents: include_bytes!("python/bootstrap.py"),
};

/// What is loaded beside the shim: its parts, and what it needs when a function is a web app, or may be one.
pub(super) const BESIDE: [BaseFile; 9] = [
    BaseFile {
        path: "/var/runtime/python/rehearsal.py",
        mode: 0o444,
        contents: include_bytes!("python/rehearsal.py"),
    },
    BaseFile {
        path: "/var/runtime/python/loading.py",
        mode: 0o444,
        contents: include_bytes!("python/loading.py"),
    },
    BaseFile {
        path: "/var/runtime/python/wire.py",
        mode: 0o444,
        contents: include_bytes!("python/wire.py"),
    },
    BaseFile {
        path: "/var/runtime/python/choice.py",
        mode: 0o444,
        contents: include_bytes!("python/choice.py"),
    },
    BaseFile {
        path: "/var/runtime/python/request.py",
        mode: 0o444,
        contents: include_bytes!("python/request.py"),
    },
    BaseFile {
        path: "/var/runtime/python/asgi.py",
        mode: 0o444,
        contents: include_bytes!("python/asgi.py"),
    },
    BaseFile {
        path: "/var/runtime/python/cloudevents.py",
        mode: 0o444,
        contents: include_bytes!("python/cloudevents.py"),
    },
    BaseFile {
        path: "/var/runtime/python/framework.py",
        mode: 0o444,
        contents: include_bytes!("python/framework.py"),
    },
    BaseFile {
        path: "/var/runtime/python/wsgi.py",
        mode: 0o444,
        contents: include_bytes!("python/wsgi.py"),
    },
];

/// What loads a function once and forks it; it stands on the shim.
pub const TEMPLATE: BaseFile = BaseFile {
    path: "/var/runtime/python/template.py",
    mode: 0o444,
    contents: include_bytes!("python/template.py"),
};

/// The command line. `-s`: /tmp, the home of a function, is no place for modules. `-B`: the root is read-only, so an
/// attempt to write byte code only costs time.
pub(super) fn argv() -> Vec<String> {
    [INTERPRETER, "-s", "-B", BOOTSTRAP.path].map(str::to_owned).to_vec()
}

/// The command line of a template. A fork attaches `given_up`, a program for seccomp, before it serves.
pub(super) fn template_argv(given_up: &[u8]) -> Vec<String> {
    let mut argv = argv();
    argv.pop();
    argv.push(TEMPLATE.path.to_owned());
    argv.push(given_up.iter().map(|byte| format!("{byte:02x}")).collect());
    argv
}

/// Where modules are found besides the interpreter's own places: the function itself, then its dependencies. And how many
/// threads the libraries of numpy start when they are imported: one for each processor of the host otherwise, which a
/// function with one processor or less has no use for, and which would keep it from being forked.
pub(super) fn env(cpu_millis: u32) -> Vec<(String, String)> {
    let mut env = vec![("PYTHONPATH".to_owned(), "/function:/function/.fn-packages".to_owned())];
    if cpu_millis <= 1000 {
        env.extend(["OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"].map(|name| (name.to_owned(), "1".to_owned())));
    }
    env
}
