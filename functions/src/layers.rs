//! Layers of Lambda's API: file trees that several functions find in `/opt`, each under a name and a number.
//!
//! A function that uses one has a copy of its files in its own bundle, so a layer can go while functions that use it stay.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Digest;

/// Most layers of a function: Lambda's own bound.
pub const MOST_LAYERS: usize = 5;
/// Longest name.
const MOST_NAME: usize = 64;

/// The name of a layer: 1 to 64 of `a-z`, `A-Z`, `0-9`, `-` and `_`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LayerName(String);

/// Text that is no name of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a layer's name is 1 to {MOST_NAME} of a-z, A-Z, 0-9, - and _")]
pub struct BadLayerName;

impl LayerName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LayerName {
    type Err = BadLayerName;

    fn from_str(text: &str) -> Result<Self, BadLayerName> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        match !text.is_empty() && text.len() <= MOST_NAME && text.bytes().all(plain) {
            true => Ok(Self(text.to_owned())),
            false => Err(BadLayerName),
        }
    }
}

impl fmt::Display for LayerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One version of a layer. It never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerVersion {
    /// The layer.
    pub name: LayerName,
    /// Its number, from 1. No number is used again.
    pub number: u64,
    /// Its files, as a bundle.
    pub bundle: Digest,
    /// When it was published.
    pub created: Timestamp,
    /// What was said about it.
    pub labels: LayerLabels,
}

/// What was said about a version of a layer. Nothing here looks at it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LayerLabels {
    /// A text for people.
    pub description: String,
    /// Under which licence it is.
    pub license: String,
    /// The runtimes that it is for.
    pub runtimes: Vec<String>,
    /// The architectures that it is for.
    pub architectures: Vec<String>,
    /// SHA-256 of the zip as it was sent, in base64.
    pub code_sha256: String,
    /// Bytes of the zip.
    pub code_size: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_words() {
        for good in ["a", "My_layer-2", &"x".repeat(64)] {
            assert_eq!(good.parse::<LayerName>().unwrap().as_str(), good);
        }
        for bad in ["", "a b", "a/b", "..", "a:1", "\u{e9}", &"x".repeat(65)] {
            assert_eq!(bad.parse::<LayerName>(), Err(BadLayerName), "{bad}");
        }
    }
}
