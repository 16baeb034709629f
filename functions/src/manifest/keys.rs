//! The one table of keys: name, type, default, bounds and what each is for.

use super::settings::{Ahead, BuildMode, Keep, Profile, Protocol, Reuse, RootfsMode, Runtime, Signature};

/// One key of `fn.toml`.
#[derive(Debug)]
pub struct Key {
    /// The name, with its section before a point: `memory`, `scale.max`.
    pub name: &'static str,
    /// What kind of value it takes.
    pub kind: Kind,
    /// The default as `--set` would read it, or `None` if there is none.
    pub default: Option<&'static str>,
    /// The least and the most it may be, if it has bounds of its own.
    pub bounds: Option<Bounds>,
    /// What it is for: one or more full sentences.
    pub doc: &'static str,
}

/// The values that a key may have, both ends included, as `--set` would read them.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The least value.
    pub least: &'static str,
    /// The greatest value.
    pub most: &'static str,
    /// Why there, as a full sentence.
    pub why: &'static str,
}

/// What kind of value a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A size such as `"256MiB"`.
    Size,
    /// A duration such as `"30s"`.
    Span,
    /// A whole number.
    Whole,
    /// A number with a point.
    Decimal,
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A whole number, or one of these words.
    WholeOrWord(&'static [&'static str]),
    /// A list of texts.
    List,
    /// A table of texts.
    Table,
}

const fn bounds(least: &'static str, most: &'static str, why: &'static str) -> Option<Bounds> {
    Some(Bounds { least, most, why })
}

/// Every key that `fn.toml` may hold, in the order of the documentation.
pub const KEYS: &[Key] = &[
    Key {
        name: "name",
        kind: Kind::Text,
        default: None,
        bounds: None,
        doc: "The name of the function: 1 to 63 of `a-z`, `0-9` and `-`. Without it, the name of the directory.",
    },
    Key {
        name: "runtime",
        kind: Kind::Word(Runtime::WORDS),
        default: None,
        bounds: None,
        doc: "The program that runs the handler. Without it, what the files say.",
    },
    Key {
        name: "handler",
        kind: Kind::Text,
        default: None,
        bounds: None,
        doc: "`python` and `node`: `<file without its ending>.<function>`. `stdio`: the path of an executable in \
              the bundle. `http` and `fdk`: a command line for `/bin/sh` that starts the server. `lambda`: \
              what the runtime finds in `_HANDLER`. Without it, what the files say.",
    },
    Key {
        name: "signature",
        kind: Kind::Word(Signature::WORDS),
        default: Some("auto"),
        bounds: None,
        doc: "How the handler is called. `auto`: what its parameters say, see docs/contracts. `event`: \
              `handler(event, context)`. `wsgi`: `app(environ, start_response)`, `asgi`: `app(scope, receive, send)`, both in Python. `fetch`: \
              `fetch(request)`, in Node. `http`: `(req, res)` in Node, `(request)` of the Functions Framework in Python. `cloudevent`: \
              a CloudEvent of the Functions Framework.",
    },
    Key {
        name: "memory",
        kind: Kind::Size,
        default: Some("256MiB"),
        bounds: bounds("16MiB", "256GiB", "An interpreter needs 16MiB to start at all."),
        doc: "Most memory of one instance, its `/tmp` included. An instance that needs more is killed.",
    },
    Key {
        name: "cpu",
        kind: Kind::Decimal,
        default: Some("1.0"),
        bounds: bounds(
            "0.01",
            "256.0",
            "The kernel gives out processor time in steps of a hundredth.",
        ),
        doc: "Processors of one instance.",
    },
    Key {
        name: "pids",
        kind: Kind::Whole,
        default: Some("128"),
        bounds: bounds("4", "32768", "The first process of a sandbox and the runtime need 4."),
        doc: "Most processes and threads of one instance.",
    },
    Key {
        name: "tmp",
        kind: Kind::Size,
        default: Some("64MiB"),
        bounds: bounds("64KiB", "64GiB", "It is a file system in memory."),
        doc: "Size of `/tmp`. It lives in memory and counts towards `memory` as it fills.",
    },
    Key {
        name: "timeout",
        kind: Kind::Span,
        default: Some("30s"),
        bounds: bounds(
            "10ms",
            "24h",
            "Longer work belongs to something that survives a restart.",
        ),
        doc: "Longest time for one invocation, from the arrival of the request to the end of the reply.",
    },
    Key {
        name: "idle",
        kind: Kind::Span,
        default: Some("60s"),
        bounds: bounds("10ms", "24h", "To keep instances for good, set `scale.min`."),
        doc: "How long an instance is kept after its last invocation. After ten seconds of it, its threads and timers \
              stand still until the next one, where the host can do that.",
    },
    Key {
        name: "concurrency",
        kind: Kind::Whole,
        default: Some("1"),
        bounds: bounds(
            "1",
            "64",
            "Each invocation at a time has a socket of its own in the instance.",
        ),
        doc: "Invocations that one instance runs at a time. 16 for `http`, unless `reuse` is `request`: servers are made for several.",
    },
    Key {
        name: "reuse",
        kind: Kind::Word(Reuse::WORDS),
        default: Some("instance"),
        bounds: None,
        doc: "What an instance does after an invocation. `instance`: it serves the next one. `request`: it is killed, \
              so that every invocation has a process, a `/tmp` and memory that no other one touched; one instance \
              more waits ahead in the minutes after a call. Needs `concurrency = 1`.",
    },
    Key {
        name: "queue",
        kind: Kind::Whole,
        default: Some("100"),
        bounds: bounds("0", "100000", "Whoever waits holds memory of the server."),
        doc: "Most invocations that wait for an instance; twice as many while none serves yet. The next one is answered 429.",
    },
    Key {
        name: "max_body",
        kind: Kind::Size,
        default: Some("6MiB"),
        bounds: bounds("0B", "1TiB", "A body ends some time."),
        doc: "Largest request body. A larger one is answered 413. At most 6MiB for `python`, `node` and `lambda`, whose \
              events are held in memory.",
    },
    Key {
        name: "rootfs",
        kind: Kind::Word(RootfsMode::WORDS),
        default: Some("read-only"),
        bounds: None,
        doc: "Whether the code can write outside `/tmp`. What it writes goes away with the instance.",
    },
    Key {
        name: "build",
        kind: Kind::Word(BuildMode::WORDS),
        default: Some("safe"),
        bounds: None,
        doc: "Whether install scripts of dependencies run. `allow-scripts` runs them inside a build sandbox.",
    },
    Key {
        name: "scale.min",
        kind: Kind::Whole,
        default: Some("0"),
        bounds: bounds("0", "1000", "One machine holds no more."),
        doc: "Instances that are kept even when no call comes. At most `scale.max`.",
    },
    Key {
        name: "scale.max",
        kind: Kind::Whole,
        default: Some("16"),
        bounds: bounds("1", "1000", "One machine holds no more."),
        doc: "Most instances at a time.",
    },
    Key {
        name: "scale.ahead",
        kind: Kind::WholeOrWord(&[Ahead::WORD]),
        default: Some("auto"),
        bounds: bounds("0", "64", "Each one holds memory for a call that may not come."),
        doc: "Instances that never ran an invocation and wait ready for one, beside those that did. `auto`: as many as \
              arrive at a time, from 1 to 4, in the minutes after a call, where starting one is cheap, which is where \
              the function has a template; else none. A number: so many, always. Never more than `scale.max` in all, and \
              none with `scale.keep = \"nothing\"`.",
    },
    Key {
        name: "scale.keep",
        kind: Kind::Word(Keep::WORDS),
        default: Some("auto"),
        bounds: None,
        doc: "What is left after `idle`. `auto`: what makes the next start fast, but no process that ran an \
              invocation. `nothing`: no process at all.",
    },
    Key {
        name: "layers",
        kind: Kind::List,
        default: None,
        bounds: None,
        doc: "Directories and zip files, from the directory of `fn.toml`, whose contents the function finds in `/opt`: the later ones lie over the \
              earlier. At most 5. Modules in `/opt/python` and `/opt/nodejs/node_modules`, programs in `/opt/bin` and libraries in `/opt/lib` are \
              found. `fn deploy` packs them; they count towards the size of the bundle.",
    },
    Key {
        name: "env",
        kind: Kind::Table,
        default: None,
        bounds: None,
        doc: "Environment variables. Names that start with `FN_`, `AWS_LAMBDA_` or `LAMBDA_` and `_HANDLER` belong \
              to the platform, as do `PORT`, `K_SERVICE`, `K_REVISION` and `K_CONFIGURATION` of `http` functions.",
    },
    Key {
        name: "security.profile",
        kind: Kind::Word(Profile::WORDS),
        default: Some("default"),
        bounds: None,
        doc: "What the function gives up beyond what no function may do. `default`: nothing. `strict`: all of the keys below, as far as the \
              runtime allows; `fn show` lists what came of it. A key that is set wins over the profile. With anything given up, each start \
              builds a sandbox of its own and none that stands is used; forks of a template obey it as well.",
    },
    Key {
        name: "security.deny",
        kind: Kind::List,
        default: None,
        bounds: None,
        doc: "System calls that answer `EPERM`, by name or as `group:NAME`: see docs/seccomp.md. Of `group:process`, threads stay. `strict` denies \
              what no runtime needs, and to `python` and `node` also other processes. At most 64.",
    },
    Key {
        name: "security.read_only",
        kind: Kind::List,
        default: None,
        bounds: None,
        doc: "Absolute paths that can't be written, such as `/tmp`. Each must exist when the function starts and be no link. `strict` takes `/dev/shm`, and `/tmp` \
              of `python`, `node` and `stdio`. At most 64.",
    },
    Key {
        name: "security.network",
        kind: Kind::Flag,
        default: None,
        bounds: None,
        doc: "`false`: the function makes unix sockets only, and not even its loopback device is of use. `http` and `lambda` are called over TCP \
              and need it. `true` without the profile `strict`.",
    },
    Key {
        name: "security.exec_written",
        kind: Kind::Flag,
        default: None,
        bounds: None,
        doc: "`false`: a file that the function has written can't be executed or mapped as code, and files in memory (`memfd_create`) can't be made. \
              An interpreter can still read it as a script, and memory without a file can hold code. Needs `rootfs = \"read-only\"`. `true` \
              without the profile `strict`.",
    },
    Key {
        name: "stdio.args",
        kind: Kind::List,
        default: None,
        bounds: None,
        doc: "Arguments of the executable of a `stdio` function.",
    },
    Key {
        name: "http.command",
        kind: Kind::List,
        default: None,
        bounds: None,
        doc: "The program of an `http` function and its arguments: a path in the bundle, or a name that is looked up in \
              `PATH`. Makes the runtime `http`. Without it, the line `web:` of the file `Procfile`.",
    },
    Key {
        name: "http.port",
        kind: Kind::Whole,
        default: Some("8080"),
        bounds: bounds(
            "1024",
            "32767",
            "Lower ones need a right that functions lack, and higher ones the kernel gives to whoever connects.",
        ),
        doc: "The port that the server listens on. It finds the number in the variable `PORT`. Without it, the port of \
              `http_upstream_url` in `env`, where OpenFaaS has it.",
    },
    Key {
        name: "http.protocol",
        kind: Kind::Word(Protocol::WORDS),
        default: Some("http1"),
        bounds: None,
        doc: "What the server speaks at its port. `http1`: HTTP/1.1. `h2c`: HTTP/2 from the first byte, without TLS, all calls over one \
              connection, as servers of gRPC expect it.",
    },
    Key {
        name: "http.grace",
        kind: Kind::Span,
        default: Some("2s"),
        bounds: bounds("10ms", "10s", "Whoever stops the server waits for it."),
        doc: "How long the server may take to end after SIGTERM, when an instance is let go: after `idle`, for a newer revision, \
              or because `fn serve` stops. Then it is killed.",
    },
    Key {
        name: "cors.allow_origins",
        kind: Kind::List,
        default: None,
        bounds: None,
        doc: "Origins such as `https://example.org` whose pages may call the function from a browser, or `*`. With one, the platform \
              answers for the function: see docs/contracts/function-url.md. At most 100.",
    },
    Key {
        name: "cors.allow_methods",
        kind: Kind::List,
        default: None,
        bounds: None,
        doc: "Methods that such a page may use: `GET`, `HEAD`, `POST`, `PUT`, `PATCH`, `DELETE`, or `*`.",
    },
    Key {
        name: "cors.allow_headers",
        kind: Kind::List,
        default: None,
        bounds: None,
        doc: "Headers that such a page may send, or `*`. At most 100.",
    },
    Key {
        name: "cors.expose_headers",
        kind: Kind::List,
        default: None,
        bounds: None,
        doc: "Headers of the reply that such a page may read, or `*`. At most 100.",
    },
    Key {
        name: "cors.allow_credentials",
        kind: Kind::Flag,
        default: None,
        bounds: None,
        doc: "Whether the browser may send cookies with such a call; without it, it may not. Not together with the origin `*`.",
    },
    Key {
        name: "cors.max_age",
        kind: Kind::Span,
        default: None,
        bounds: None,
        doc: "How long a browser may remember what it was answered, at most `24h`.",
    },
    Key {
        name: "network.allow",
        kind: Kind::List,
        default: None,
        bounds: None,
        doc: "Where the function may connect to: at most 16 of the form `example.org:443`, a DNS name and a TCP port. Without it, nowhere. \
              Addresses of the server's own machine and of private networks are refused unless `fn serve --egress-allow` names them: see \
              docs/network.md.",
    },
];

impl Key {
    /// The key with exactly this name.
    pub fn find(name: &str) -> Option<&'static Key> {
        KEYS.iter().find(|key| key.name == name)
    }

    /// The section it stands in, empty for the top of the file.
    pub fn section(&self) -> &'static str {
        self.name.split_once('.').map_or("", |(section, _)| section)
    }
}
