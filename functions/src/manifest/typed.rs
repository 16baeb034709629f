//! The manifest as typed, from TOML, from JSON and from `--set`.
//!
//! All three end in `assign`, the one place that knows which field a key is.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::{BoolDeserializer, Error as ValueError, StrDeserializer, U64Deserializer};
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::keys::{KEYS, Key, Kind};
use super::settings::{Ahead, BuildMode, Keep, Profile, Protocol, Reuse, RootfsMode, Runtime, Signature};
use super::suggest::{did_you_mean, nearest};
use crate::cors::Cors;
use crate::network::Network;
use crate::{ByteSize, Cpu, FunctionName, Span};

/// What was typed. A key that was not typed is `None` or empty and takes its default when resolved.
///
/// Deserialising refuses keys that [`KEYS`] does not hold. The serialised form has only what was typed.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Manifest {
    /// `name`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<FunctionName>,
    /// `runtime`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<Runtime>,
    /// `handler`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handler: Option<String>,
    /// `signature`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
    /// `memory`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<ByteSize>,
    /// `cpu`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cpu>,
    /// `pids`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<u32>,
    /// `tmp`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tmp: Option<ByteSize>,
    /// `timeout`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// `idle`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<Span>,
    /// `concurrency`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// `reuse`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reuse: Option<Reuse>,
    /// `queue`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<u32>,
    /// `max_body`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_body: Option<ByteSize>,
    /// `rootfs`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rootfs: Option<RootfsMode>,
    /// `build`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build: Option<BuildMode>,
    /// `layers`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layers: Option<Vec<String>>,
    /// `[scale]`
    #[serde(skip_serializing_if = "is_default")]
    pub scale: ScaleTyped,
    /// `[env]`
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// `[security]`
    #[serde(skip_serializing_if = "is_default")]
    pub security: SecurityTyped,
    /// `[stdio]`
    #[serde(skip_serializing_if = "is_default")]
    pub stdio: StdioTyped,
    /// `[http]`
    #[serde(skip_serializing_if = "is_default")]
    pub http: HttpTyped,
    /// `[cors]`
    #[serde(skip_serializing_if = "is_default")]
    pub cors: Cors,
    /// `[network]`
    #[serde(skip_serializing_if = "is_default")]
    pub network: Network,
}

/// The section `[scale]` as typed.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ScaleTyped {
    /// `scale.min`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<u32>,
    /// `scale.max`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,
    /// `scale.keep`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep: Option<Keep>,
    /// `scale.ahead`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ahead: Option<Ahead>,
}

/// The section `[security]` as typed.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SecurityTyped {
    /// `security.profile`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
    /// `security.deny`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deny: Option<Vec<String>>,
    /// `security.read_only`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_only: Option<Vec<String>>,
    /// `security.network`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<bool>,
    /// `security.exec_written`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec_written: Option<bool>,
}

/// The section `[stdio]` as typed.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct StdioTyped {
    /// `stdio.args`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args: Option<Vec<String>>,
}

/// The section `[http]` as typed.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct HttpTyped {
    /// `http.command`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// `http.grace`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace: Option<Span>,
    /// `http.port`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// `http.protocol`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Why text is not a manifest.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// `fn.toml` is not TOML, has an unknown key, or a value of the wrong type. The message shows the line.
    #[error("{}", .0.to_string().trim_end())]
    Toml(toml::de::Error),
    /// `--set` names a key that does not exist.
    #[error(transparent)]
    UnknownKey(#[from] UnknownKey),
    /// `--set` gives a key a value of the wrong type.
    #[error("{key}: {reason}")]
    Value {
        /// The key.
        key: String,
        /// What is wrong with the value.
        reason: String,
    },
}

impl ManifestError {
    /// What to do about it, as a full sentence.
    pub fn hint(&self) -> &'static str {
        match self {
            ManifestError::Toml(_) => "Correct that line of fn.toml; docs/fn-toml.md lists every key.",
            ManifestError::UnknownKey(_) => "docs/fn-toml.md lists every key that --set takes.",
            ManifestError::Value { .. } => "docs/fn-toml.md shows a valid value of every key.",
        }
    }
}

/// A key that [`KEYS`] does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown key `{key}`{}", did_you_mean(.suggestion))]
pub struct UnknownKey {
    /// The key with its section.
    pub key: String,
    /// The known key that looks most like it.
    pub suggestion: Option<&'static str>,
}

impl UnknownKey {
    fn new(key: String) -> UnknownKey {
        // `max` outside of its section is as likely as a slip of the finger.
        let moved = KEYS.iter().map(|known| known.name).find(|known| {
            known.rsplit('.').next().is_some_and(|last| last == key) || key.ends_with(&format!(".{known}"))
        });
        let suggestion = moved.or_else(|| nearest(&key, KEYS.iter().map(|known| known.name)));
        UnknownKey { key, suggestion }
    }
}

impl Manifest {
    /// Reads the text of a `fn.toml`.
    ///
    /// # Errors
    /// [`ManifestError::Toml`], whose message shows the line and marks the place.
    pub fn from_toml(text: &str) -> Result<Manifest, ManifestError> {
        toml::from_str(text).map_err(ManifestError::Toml)
    }

    /// Sets one key as `--set KEY=VALUE` does. Texts need no quotes, lists and tables are TOML, and
    /// `env.NAME` sets one variable.
    ///
    /// # Errors
    /// [`ManifestError::UnknownKey`] and [`ManifestError::Value`]; the manifest is unchanged then.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), ManifestError> {
        if let Some(variable) = key.strip_prefix("env.") {
            self.env.insert(variable.to_owned(), value.to_owned());
            return Ok(());
        }
        let known = Key::find(key).ok_or_else(|| UnknownKey::new(key.to_owned()))?;
        let wrong = |reason: String| ManifestError::Value {
            key: key.to_owned(),
            reason,
        };
        match known.kind {
            Kind::Text | Kind::Size | Kind::Span | Kind::Decimal | Kind::Word(_) | Kind::WholeOrWord(_) => {
                let text: StrDeserializer<'_, ValueError> = StrDeserializer::new(value);
                self.assign(known.name, text).map_err(|error| wrong(error.to_string()))
            }
            Kind::Flag => {
                let flag = value
                    .parse()
                    .map_err(|_| wrong(format!("{value:?} is neither true nor false")))?;
                let flag: BoolDeserializer<ValueError> = BoolDeserializer::new(flag);
                self.assign(known.name, flag).map_err(|error| wrong(error.to_string()))
            }
            Kind::Whole => {
                let number = value
                    .parse()
                    .map_err(|_| wrong(format!("{value:?} is not a whole number")))?;
                let number: U64Deserializer<ValueError> = U64Deserializer::new(number);
                self.assign(known.name, number)
                    .map_err(|error| wrong(error.to_string()))
            }
            Kind::List | Kind::Table => toml::de::ValueDeserializer::parse(value)
                .and_then(|value| self.assign(known.name, value))
                .map_err(|error| wrong(error.to_string().trim_end().to_owned())),
        }
    }

    /// Reads the value of `key`, which stands in [`KEYS`].
    fn assign<'de, D: Deserializer<'de>>(&mut self, key: &str, value: D) -> Result<(), D::Error> {
        fn read<'de, T: Deserialize<'de>, D: Deserializer<'de>>(value: D) -> Result<Option<T>, D::Error> {
            T::deserialize(value).map(Some)
        }

        match key {
            "name" => self.name = read(value)?,
            "runtime" => self.runtime = read(value)?,
            "handler" => self.handler = read(value)?,
            "signature" => self.signature = read(value)?,
            "memory" => self.memory = read(value)?,
            "cpu" => self.cpu = read(value)?,
            "pids" => self.pids = read(value)?,
            "tmp" => self.tmp = read(value)?,
            "timeout" => self.timeout = read(value)?,
            "idle" => self.idle = read(value)?,
            "concurrency" => self.concurrency = read(value)?,
            "reuse" => self.reuse = read(value)?,
            "queue" => self.queue = read(value)?,
            "max_body" => self.max_body = read(value)?,
            "rootfs" => self.rootfs = read(value)?,
            "build" => self.build = read(value)?,
            "layers" => self.layers = read(value)?,
            "scale.min" => self.scale.min = read(value)?,
            "scale.max" => self.scale.max = read(value)?,
            "scale.ahead" => self.scale.ahead = read(value)?,
            "scale.keep" => self.scale.keep = read(value)?,
            "env" => self.env = BTreeMap::deserialize(value)?,
            "security.profile" => self.security.profile = read(value)?,
            "security.deny" => self.security.deny = read(value)?,
            "security.read_only" => self.security.read_only = read(value)?,
            "security.network" => self.security.network = read(value)?,
            "security.exec_written" => self.security.exec_written = read(value)?,
            "stdio.args" => self.stdio.args = read(value)?,
            "http.command" => self.http.command = read(value)?,
            "http.port" => self.http.port = read(value)?,
            "http.grace" => self.http.grace = read(value)?,
            "http.protocol" => self.http.protocol = read(value)?,
            "cors.allow_origins" => self.cors.allow_origins = Vec::deserialize(value)?,
            "cors.allow_methods" => self.cors.allow_methods = Vec::deserialize(value)?,
            "cors.allow_headers" => self.cors.allow_headers = Vec::deserialize(value)?,
            "cors.expose_headers" => self.cors.expose_headers = Vec::deserialize(value)?,
            "cors.allow_credentials" => self.cors.allow_credentials = bool::deserialize(value)?,
            "cors.max_age" => self.cors.max_age = read(value)?,
            "network.allow" => self.network.allow = Vec::deserialize(value)?,
            // A key that KEYS holds and this does not is found by the test that sets every default.
            other => return Err(de::Error::custom(UnknownKey::new(other.to_owned()))),
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Manifest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut manifest = Manifest::default();
        Section {
            manifest: &mut manifest,
            name: "",
        }
        .deserialize(deserializer)?;
        Ok(manifest)
    }
}

/// Reads one table of the file into the manifest: the top, or the section `name`.
struct Section<'m> {
    manifest: &'m mut Manifest,
    name: &'static str,
}

impl<'de> DeserializeSeed<'de> for Section<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Section<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name {
            "" => f.write_str("the keys of fn.toml"),
            name => write!(f, "a table with the keys of [{name}]"),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(place) = map.next_key_seed(KeyIn { section: self.name })? {
            match place {
                Place::Key(key) => map.next_value_seed(Assign {
                    manifest: self.manifest,
                    key,
                })?,
                Place::Section(name) => map.next_value_seed(Section {
                    manifest: self.manifest,
                    name,
                })?,
            }
        }
        Ok(())
    }
}

/// What a key of a table stands for.
enum Place {
    Key(&'static Key),
    Section(&'static str),
}

/// Reads a key of `section`. It fails on the key itself, so that the message marks the key and not its value.
struct KeyIn {
    section: &'static str,
}

impl<'de> DeserializeSeed<'de> for KeyIn {
    type Value = Place;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Place, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for KeyIn {
    type Value = Place;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: de::Error>(self, typed: &str) -> Result<Place, E> {
        let name = match self.section {
            "" => typed.to_owned(),
            section => format!("{section}.{typed}"),
        };
        if let Some(key) = Key::find(&name)
            && key.section() == self.section
        {
            return Ok(Place::Key(key));
        }
        let section = KEYS
            .iter()
            .map(Key::section)
            .find(|section| !section.is_empty() && *section == name);
        section
            .map(Place::Section)
            .ok_or_else(|| E::custom(UnknownKey::new(name)))
    }
}

/// Reads the value of one key.
struct Assign<'m> {
    manifest: &'m mut Manifest,
    key: &'static Key,
}

impl<'de> DeserializeSeed<'de> for Assign<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.manifest.assign(self.key.name, deserializer)
    }
}

#[cfg(test)]
mod tests;
