//! What Lambda's API knows of a function beyond its live revision: versions, aliases, and what its clients said that changes nothing about how
//! code runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Revision, RevisionNumber};

/// A revision under a number that never means another one: 1 for the first that was published of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Its number among the versions of the function.
    pub number: u64,
    /// The revision that it names.
    pub revision: Arc<Revision>,
    /// What was said about it.
    pub description: String,
    /// When it was published.
    pub created: Timestamp,
}

/// A name that points to a version, and maybe to a second one for a part of the calls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alias {
    /// The version; `None` means the live revision.
    pub version: Option<u64>,
    /// Where a part of the calls goes instead.
    pub shifted: Option<Shift>,
    /// What was said about it.
    pub description: String,
    /// Counts its changes, from 1.
    pub change: u64,
}

/// A part of an alias's calls.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shift {
    /// The version that they reach.
    pub version: u64,
    /// How large the part is, from 0 to 1.
    pub weight: f64,
}

/// All versions and aliases of a function.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Published {
    /// By number.
    pub versions: BTreeMap<u64, Version>,
    /// By name.
    pub aliases: BTreeMap<String, Alias>,
}

impl Alias {
    /// Whether it points to a version, with all or a part of its calls.
    pub fn names(&self, version: u64) -> bool {
        self.version == Some(version) || self.shifted.is_some_and(|shift| shift.version == version)
    }
}

impl Published {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.versions.is_empty() && self.aliases.is_empty()
    }
}

/// What a client of Lambda's API said about a revision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Labels {
    /// The name of the runtime, such as `python3.12`. The host's own interpreter runs it, whatever its version.
    pub runtime: String,
    /// The role, which nothing here looks at.
    pub role: String,
    /// A text for people.
    pub description: String,
    /// SHA-256 of the zip as it was sent, in base64.
    pub code_sha256: String,
    /// Bytes of the zip.
    pub code_size: u64,
    /// Bytes of the zips of the layers, in the order of [`Settings::layers`](crate::Settings::layers).
    pub layer_sizes: Vec<u64>,
}

/// A setting of Lambda's API that belongs to a function, or to one of its versions or aliases, and is kept as its document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Facet {
    /// Tags of the function: names and values.
    Tags,
    /// How many calls at a time are reserved for the function.
    Concurrency,
    /// How a function, or one of its aliases, is called by HTTP.
    Url,
    /// What becomes of events in the background that fail.
    Event,
    /// How many instances of a version are kept.
    Provisioned,
}

impl Facet {
    /// The word in the database.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Facet::Tags => "tags",
            Facet::Concurrency => "concurrency",
            Facet::Url => "url",
            Facet::Event => "event",
            Facet::Provisioned => "provisioned",
        }
    }
}

/// Why a version or an alias can't be changed so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// There is no such version.
    #[error("there is no version {version}")]
    NoVersion {
        /// Its number.
        version: u64,
    },
    /// There is no such alias.
    #[error("there is no alias {alias}")]
    NoAlias {
        /// Its name.
        alias: String,
    },
    /// There is one of that name.
    #[error("the alias {alias} exists already")]
    AliasExists {
        /// Its name.
        alias: String,
    },
    /// An alias points to the version.
    #[error("the alias {alias} points to version {version}")]
    InUse {
        /// The version.
        version: u64,
        /// The alias.
        alias: String,
    },
}

/// The number of a revision, in the order of deploys, as text that looks like a UUID: what Lambda's API calls `RevisionId`.
pub fn revision_id(number: RevisionNumber) -> String {
    let number = number.get();
    format!("00000000-0000-4000-8000-{:012x}", number & 0xffff_ffff_ffff)
}
