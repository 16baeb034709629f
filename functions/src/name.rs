//! The name of a function.
//!
//! A name becomes a path, a host name label, a cgroup and a metric label, so only strings that are
//! harmless in all four places can be a [`FunctionName`]: a DNS label in lower case (RFC 1123).

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The longest name, because a DNS label ends there (RFC 1035, section 2.3.4).
pub const MAX_LENGTH: usize = 63;

/// A valid function name: 1 to 63 characters of `a-z`, `0-9` and `-`, with no `-` at either end.
///
/// Cloning is cheap: clones share the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FunctionName(Arc<str>);

/// Why a string is not a function name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// The string is empty.
    #[error("a function name is not empty")]
    Empty,
    /// The string has more than [`MAX_LENGTH`] characters.
    #[error("a function name has at most {MAX_LENGTH} characters, this one has {length}")]
    TooLong {
        /// Characters of the string.
        length: usize,
    },
    /// A character outside `a-z`, `0-9`, `-`.
    #[error("{character:?} is not allowed in a function name")]
    Character {
        /// The first such character.
        character: char,
    },
    /// A `-` at the start or the end.
    #[error("a function name does not start or end with `-`")]
    Hyphen,
}

impl NameError {
    /// What to do about it, as a full sentence.
    pub fn hint(&self) -> &'static str {
        match self {
            NameError::Empty => "Give a name such as `hello` or `image-resize`.",
            NameError::TooLong { .. } => "Choose a shorter name: it also becomes a host name label, which ends at 63.",
            NameError::Character { .. } | NameError::Hyphen => {
                "Use lower case letters, digits and `-`, with a letter or a digit at both ends."
            }
        }
    }
}

impl FunctionName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for FunctionName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        // The bad character is named before the length, because it tells more about `../../etc`.
        if let Some(character) = text
            .chars()
            .find(|c| !(c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-'))
        {
            return Err(NameError::Character { character });
        }
        if text.len() > MAX_LENGTH {
            return Err(NameError::TooLong { length: text.len() });
        }
        if text.starts_with('-') || text.ends_with('-') {
            return Err(NameError::Hyphen);
        }
        Ok(FunctionName(text.into()))
    }
}

impl TryFrom<String> for FunctionName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<FunctionName> for String {
    fn from(name: FunctionName) -> String {
        name.0.as_ref().to_owned()
    }
}

impl AsRef<str> for FunctionName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for FunctionName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FunctionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for FunctionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FunctionName({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bad_names_each_have_their_reason() {
        let long = "a".repeat(64);
        for (text, error) in [
            ("", NameError::Empty),
            ("../etc", NameError::Character { character: '.' }),
            ("a/b", NameError::Character { character: '/' }),
            ("Hello", NameError::Character { character: 'H' }),
            ("a\0", NameError::Character { character: '\0' }),
            ("é", NameError::Character { character: 'é' }),
            ("-a", NameError::Hyphen),
            ("a-", NameError::Hyphen),
            (long.as_str(), NameError::TooLong { length: 64 }),
        ] {
            assert_eq!(text.parse::<FunctionName>(), Err(error), "{text:?}");
        }
        assert!("a".repeat(63).parse::<FunctionName>().is_ok());
    }

    #[test]
    fn a_bad_name_cannot_come_in_through_json() {
        assert!(serde_json::from_str::<FunctionName>("\"a/b\"").is_err());
        let name: FunctionName = serde_json::from_str("\"a-b\"").unwrap();
        assert_eq!(serde_json::to_string(&name).unwrap(), "\"a-b\"");
    }

    proptest! {
        #[test]
        fn exactly_the_documented_pattern_is_accepted(text in "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?") {
            let name: FunctionName = text.parse().unwrap();
            prop_assert_eq!(name.as_str(), text);
        }

        #[test]
        fn whatever_is_accepted_is_harmless(text in ".*") {
            if let Ok(name) = text.parse::<FunctionName>() {
                let bytes = name.as_str().as_bytes();
                prop_assert!((1..=63).contains(&bytes.len()));
                prop_assert!(bytes.iter().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-')));
                prop_assert!(bytes[0] != b'-' && bytes[bytes.len() - 1] != b'-');
            }
        }
    }
}
