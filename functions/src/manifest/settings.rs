//! What a function runs with: every key decided, every bound checked.
//!
//! A [`Settings`] made by [`Manifest::resolve`](super::Manifest::resolve) is valid. One read back from
//! the store was valid when it was written, so it is not checked again.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::security::Security;
use super::suggest::{did_you_mean, nearest};
use crate::cors::Cors;
use crate::network::Network;
use crate::{ByteSize, Cpu, Span};

/// The resolved settings of one revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Which program runs the handler.
    pub runtime: Runtime,
    /// `python` and `node`: `<file without its ending>.<function>`, such as `handler.handler`.
    /// `stdio`: the path of an executable inside the bundle.
    /// `lambda`: whatever the runtime makes of `_HANDLER`.
    /// `fdk`: a command line for a shell.
    /// `http`: the command line, for a shell unless `http.command` says it word by word.
    pub handler: String,
    /// How the handler is called.
    #[serde(default)]
    pub signature: Signature,
    /// Most memory of one instance, its tmp included.
    pub memory: ByteSize,
    /// Most processor time of one instance.
    pub cpu: Cpu,
    /// Most processes and threads of one instance.
    pub pids: u32,
    /// Size of an instance's `/tmp`.
    pub tmp: ByteSize,
    /// Longest that one invocation may take, waiting included.
    pub timeout: Span,
    /// How long an instance is kept after its last invocation.
    pub idle: Span,
    /// Invocations that one instance runs at a time.
    pub concurrency: u8,
    /// What an instance does after an invocation.
    #[serde(default)]
    pub reuse: Reuse,
    /// Most invocations that wait for an instance.
    pub queue: u32,
    /// Largest request body.
    pub max_body: ByteSize,
    /// Whether the code can write outside `/tmp`.
    pub rootfs: RootfsMode,
    /// Whether install scripts of dependencies ran.
    pub build: BuildMode,
    /// What was put into `/opt`, by the names that were given: paths for `fn deploy`, ARNs for Lambda's API. The files are in the bundle.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<String>,
    /// How many instances there may be.
    pub scale: Scale,
    /// Environment variables of the function.
    pub env: BTreeMap<String, String>,
    /// What it gives up beyond what no function may do.
    #[serde(default, skip_serializing_if = "Security::is_default")]
    pub security: Security,
    /// What only the `stdio` runtime has.
    pub stdio: Stdio,
    /// What only the `http` runtime has.
    #[serde(default)]
    pub http: Http,
    /// Which pages of other origins may call it, where the platform answers for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,
    /// Where it may connect to.
    #[serde(default, skip_serializing_if = "Network::is_empty")]
    pub network: Network,
}

/// How many instances a function has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scale {
    /// Instances that are always kept.
    pub min: u32,
    /// Most instances at a time.
    pub max: u32,
    /// What is left when no call comes.
    pub keep: Keep,
    /// Instances that wait for their first invocation.
    #[serde(default)]
    pub ahead: Ahead,
}

/// How many instances that never ran an invocation wait for one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ahead {
    /// What the calls of the last minutes are worth.
    #[default]
    Auto,
    /// So many.
    Exactly(u32),
}

impl Ahead {
    /// How [`Ahead::Auto`] is written.
    pub const WORD: &'static str = "auto";
}

impl fmt::Display for Ahead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ahead::Auto => f.pad(Ahead::WORD),
            Ahead::Exactly(count) => count.fmt(f),
        }
    }
}

impl Serialize for Ahead {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Ahead::Auto => serializer.serialize_str(Ahead::WORD),
            Ahead::Exactly(count) => serializer.serialize_u32(*count),
        }
    }
}

impl<'de> Deserialize<'de> for Ahead {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AheadVisitor)
    }
}

struct AheadVisitor;

impl serde::de::Visitor<'_> for AheadVisitor {
    type Value = Ahead;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"auto\" or a whole number")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Ahead, E> {
        // A number in quotes is what `--set` has.
        match text.parse() {
            _ if text == Ahead::WORD => Ok(Ahead::Auto),
            Ok(count) => Ok(Ahead::Exactly(count)),
            Err(_) => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
        }
    }

    fn visit_u64<E: serde::de::Error>(self, count: u64) -> Result<Ahead, E> {
        u32::try_from(count)
            .map(Ahead::Exactly)
            .map_err(|_| E::invalid_value(serde::de::Unexpected::Unsigned(count), &self))
    }

    fn visit_i64<E: serde::de::Error>(self, count: i64) -> Result<Ahead, E> {
        u32::try_from(count)
            .map(Ahead::Exactly)
            .map_err(|_| E::invalid_value(serde::de::Unexpected::Signed(count), &self))
    }
}

/// Settings of the `stdio` runtime.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stdio {
    /// Arguments of the executable.
    pub args: Vec<String>,
}

/// Settings of the `http` runtime.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Http {
    /// The program and its arguments; empty when `handler` is a line for a shell.
    pub command: Vec<String>,
    /// The port that the program listens on.
    pub port: u16,
    /// How long the program may take to end after SIGTERM.
    #[serde(default = "Http::default_grace")]
    pub grace: Span,
    /// What the program speaks.
    #[serde(default)]
    pub protocol: Protocol,
}

impl Http {
    fn default_grace() -> Span {
        Http::default().grace
    }
}

impl Default for Http {
    fn default() -> Http {
        Http {
            command: Vec::new(),
            port: 8080,
            grace: Span::secs(2),
            protocol: Protocol::default(),
        }
    }
}

/// A word was given that is none of the words that a key knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not known{}, use one of: {}", did_you_mean(.suggestion), .known.join(", "))]
pub struct UnknownWord {
    /// What was given.
    pub given: String,
    /// The known word that looks most like it.
    pub suggestion: Option<&'static str>,
    /// All words known in that place.
    pub known: &'static [&'static str],
}

/// Defines an enum whose values are words in `fn.toml`, with the conversions both ways.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// All words, in the order of the variants.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// The word as it stands in `fn.toml`.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $word,)+
                }
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                match text {
                    $($word => Ok($name::$variant),)+
                    _ => Err(UnknownWord {
                        given: text.to_owned(),
                        suggestion: nearest(text, $name::WORDS.iter().copied()),
                        known: $name::WORDS,
                    }),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

words! {
    /// The program that runs a handler.
    Runtime {
        /// `handler(event, context)` in Python.
        Python = "python",
        /// `handler(event, context)` in Node.
        Node = "node",
        /// Any executable, one process for each invocation.
        Stdio = "stdio",
        /// Any HTTP server that listens on `$PORT`.
        Http = "http",
        /// An executable `bootstrap` that speaks Lambda's Runtime API.
        Lambda = "lambda",
        /// A function of the Fn Project, below its FDK.
        Fdk = "fdk",
    }
}

words! {
    /// What an HTTP server speaks at its port.
    Protocol {
        /// HTTP/1.1.
        Http1 = "http1",
        /// HTTP/2 from the first byte, without TLS.
        H2c = "h2c",
    }
}

#[expect(clippy::derivable_impls, reason = "the macro that makes the enum knows no default")]
impl Default for Protocol {
    fn default() -> Protocol {
        Protocol::Http1
    }
}

words! {
    /// How a handler of `python` or `node` is called.
    Signature {
        /// What it looks like.
        Auto = "auto",
        /// `handler(event, context)`.
        Event = "event",
        /// `app(environ, start_response)`, Python only.
        Wsgi = "wsgi",
        /// `app(scope, receive, send)`, Python only.
        Asgi = "asgi",
        /// `(req, res)`, as `node:http` calls it, in Node; a function of a request of the Functions Framework in Python.
        Http = "http",
        /// A function of a CloudEvent, of the Functions Framework.
        CloudEvent = "cloudevent",
        /// `fetch(request)`, Node only.
        Fetch = "fetch",
    }
}

#[expect(clippy::derivable_impls, reason = "the macro that makes the enum knows no default")]
impl Default for Signature {
    fn default() -> Signature {
        Signature::Auto
    }
}

impl Signature {
    /// Whether a handler of this runtime can be called so.
    pub fn fits(self, runtime: Runtime) -> bool {
        match self {
            Signature::Auto => true,
            Signature::Event | Signature::Http | Signature::CloudEvent => {
                matches!(runtime, Runtime::Python | Runtime::Node)
            }
            Signature::Wsgi | Signature::Asgi => runtime == Runtime::Python,
            Signature::Fetch => runtime == Runtime::Node,
        }
    }
}

words! {
    /// What the code may write to besides `/tmp`.
    RootfsMode {
        /// Nothing.
        ReadOnly = "read-only",
        /// Everything, in a bounded layer that is thrown away with the instance.
        Writable = "writable",
    }
}

words! {
    /// What happens to install scripts of dependencies.
    BuildMode {
        /// They do not run.
        Safe = "safe",
        /// They run inside a build sandbox.
        AllowScripts = "allow-scripts",
    }
}

words! {
    /// What a function gives up beyond what no function may do.
    Profile {
        /// Nothing.
        Default = "default",
        /// All that its runtime does without.
        Strict = "strict",
    }
}

words! {
    /// What is left of a function that no one calls.
    Keep {
        /// What makes the next start fast and holds little memory; no process that ran an invocation.
        Auto = "auto",
        /// No process at all.
        Nothing = "nothing",
    }
}

words! {
    /// What an instance does after an invocation.
    Reuse {
        /// It waits for the next one.
        Instance = "instance",
        /// It is killed: each invocation has an instance that never ran one.
        Request = "request",
    }
}

#[expect(clippy::derivable_impls, reason = "the macro that makes the enum knows no default")]
impl Default for Reuse {
    fn default() -> Reuse {
        Reuse::Instance
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_word_is_answered_with_the_nearest() {
        let error = "pyton".parse::<Runtime>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"pyton\" is not known, did you mean \"python\"?, use one of: python, node, stdio, http, lambda, fdk"
        );
        let error = "cobol".parse::<Runtime>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"cobol\" is not known, use one of: python, node, stdio, http, lambda, fdk"
        );
    }

    #[test]
    fn every_word_reads_back() {
        for word in RootfsMode::WORDS {
            assert_eq!(word.parse::<RootfsMode>().unwrap().as_str(), *word);
        }
        for word in BuildMode::WORDS {
            assert_eq!(word.parse::<BuildMode>().unwrap().as_str(), *word);
        }
        for word in Profile::WORDS {
            assert_eq!(word.parse::<Profile>().unwrap().as_str(), *word);
        }
        for word in Keep::WORDS {
            assert_eq!(word.parse::<Keep>().unwrap().as_str(), *word);
        }
        for word in Signature::WORDS {
            assert_eq!(word.parse::<Signature>().unwrap().as_str(), *word);
        }
        for word in Reuse::WORDS {
            assert_eq!(word.parse::<Reuse>().unwrap().as_str(), *word);
        }
    }
}
