//! `handler(event, context)` in Python, run by the host's interpreter on a shim of ours.

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

/// The command line. `-s`: /tmp, the home of a function, is no place for modules. `-B`: the root is read-only, so an
/// attempt to write byte code only costs time.
pub(super) fn argv() -> Vec<String> {
    [INTERPRETER, "-s", "-B", BOOTSTRAP.path].map(str::to_owned).to_vec()
}

/// Where modules are found besides the interpreter's own places: the function itself, then its dependencies.
pub(super) fn env() -> Vec<(String, String)> {
    vec![("PYTHONPATH".to_owned(), "/function:/function/.fn-packages".to_owned())]
}
