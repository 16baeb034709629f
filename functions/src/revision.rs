//! One immutable deploy of a function.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Digest, FunctionName, Settings};

/// The number of a revision: 1 for the first deploy of a name, one more for each later one.
/// A number is never used twice for one name, not even after the function was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RevisionNumber(NonZeroU64);

/// The value is not a whole number from 1 up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a revision number is a whole number from 1 up")]
pub struct RevisionNumberError;

impl RevisionNumber {
    /// The number of the first deploy.
    pub const FIRST: RevisionNumber = RevisionNumber(NonZeroU64::MIN);

    /// The number `value`, if it is not zero.
    pub const fn new(value: u64) -> Option<RevisionNumber> {
        match NonZeroU64::new(value) {
            Some(value) => Some(RevisionNumber(value)),
            None => None,
        }
    }

    /// The number as an integer.
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

impl FromStr for RevisionNumber {
    type Err = RevisionNumberError;

    fn from_str(text: &str) -> Result<Self, RevisionNumberError> {
        text.parse()
            .ok()
            .and_then(RevisionNumber::new)
            .ok_or(RevisionNumberError)
    }
}

impl fmt::Display for RevisionNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A deploy as it was made. Nothing in it changes afterwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// The function it belongs to.
    pub name: FunctionName,
    /// Its place among the deploys of that function.
    pub number: RevisionNumber,
    /// The code.
    pub bundle: Digest,
    /// How the code is run.
    pub settings: Settings,
    /// When the deploy was made. Serialised as RFC 3339 in UTC.
    pub created: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_no_number() {
        assert_eq!(RevisionNumber::new(0), None);
        assert_eq!("0".parse::<RevisionNumber>(), Err(RevisionNumberError));
        assert!(serde_json::from_str::<RevisionNumber>("0").is_err());
        assert_eq!("3".parse::<RevisionNumber>().unwrap().to_string(), "3");
    }
}
