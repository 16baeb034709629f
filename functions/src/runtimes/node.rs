//! `handler(event, context)` and web apps in Node, sync or async, CommonJS or ES module, run by the host's interpreter on a shim of
//! ours.

use super::host::Version;
use super::launch::BaseFile;
use crate::ByteSize;

/// The interpreter, on the host and in every sandbox.
pub const INTERPRETER: &str = "/usr/bin/node";

/// Older ones lack what the shim uses.
pub const OLDEST: Version = Version(18, 0, 0);

/// The shim.
pub const BOOTSTRAP: BaseFile = BaseFile {
    path: "/var/runtime/node/bootstrap.mjs",
    mode: 0o444,
    contents: include_bytes!("node/bootstrap.mjs"),
};

/// What the shim loads, the last three when a function is a web app, or may be one.
pub(super) const BESIDE: [BaseFile; 6] = [
    BaseFile {
        path: "/var/runtime/node/wire.cjs",
        mode: 0o444,
        contents: include_bytes!("node/wire.cjs"),
    },
    BaseFile {
        path: "/var/runtime/node/failure.cjs",
        mode: 0o444,
        contents: include_bytes!("node/failure.cjs"),
    },
    BaseFile {
        path: "/var/runtime/node/loading.cjs",
        mode: 0o444,
        contents: include_bytes!("node/loading.cjs"),
    },
    BaseFile {
        path: "/var/runtime/node/choice.mjs",
        mode: 0o444,
        contents: include_bytes!("node/choice.mjs"),
    },
    BaseFile {
        path: "/var/runtime/node/framework.mjs",
        mode: 0o444,
        contents: include_bytes!("node/framework.mjs"),
    },
    BaseFile {
        path: "/var/runtime/node/web.mjs",
        mode: 0o444,
        contents: include_bytes!("node/web.mjs"),
    },
];

/// What a parked process loads to rehearse; beside the shim.
pub const REHEARSAL: BaseFile = BaseFile {
    path: "/var/runtime/node/rehearsal.mjs",
    mode: 0o444,
    contents: include_bytes!("node/rehearsal.mjs"),
};

/// Whether the interpreter, or a library in it, reads the variable when it starts and not when code asks for it.
pub(super) fn reads_at_start(name: &str) -> bool {
    // Code asks for it, Node itself never does; it is the one of this prefix that most functions set.
    if name == "NODE_ENV" {
        return false;
    }
    const WHOLE: [&str; 4] = ["HOME", "LANG", "LANGUAGE", "TZ"];
    const PREFIXES: [&str; 10] = [
        "NODE_", "UV_", "V8_", "ICU_", "LC_", "LD_", "GLIBC_", "MALLOC_", "OPENSSL_", "SSL_",
    ];
    WHOLE.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// The command line. Node sizes its heap by the machine it sees, not by the function's limit, and would let garbage
/// grow until the kernel kills it; three quarters leave room for buffers and code.
pub(super) fn argv(memory: ByteSize) -> Vec<String> {
    let heap = (memory.as_u64() >> 20) * 3 / 4;
    vec![
        INTERPRETER.to_owned(),
        format!("--max-old-space-size={}", heap.max(16)),
        BOOTSTRAP.path.to_owned(),
    ]
}
