//! How a call found its instance, as the reply header `x-fn-start` says.

use serde::{Deserialize, Serialize};

/// The start types of the platform, and the two ways a reply can fail to name one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Start {
    /// The instance ran a call before.
    Warm,
    /// It ran one before and was frozen since.
    Thawed,
    /// A process that never ran a call was waiting.
    Ahead,
    /// Forked from the function's template on demand.
    Forked,
    /// Executed in a slot that was ready.
    Pooled,
    /// From nothing.
    Cold,
    /// The header names none of these.
    Unknown,
    /// The reply has no such header.
    Missing,
}

/// What a start type means to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// A process answered that had answered before.
    Warm,
    /// A new process answered.
    Cold,
    /// The reply did not say.
    Unsaid,
}

impl Start {
    /// Reads a header value; `None` is a reply without the header.
    pub(crate) fn parse(header: Option<&str>) -> Self {
        match header {
            None => Self::Missing,
            Some("warm") => Self::Warm,
            Some("thawed") => Self::Thawed,
            Some("ahead") => Self::Ahead,
            Some("forked") => Self::Forked,
            Some("pooled") => Self::Pooled,
            Some("cold") => Self::Cold,
            Some(_) => Self::Unknown,
        }
    }

    /// The word used in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Warm => "warm",
            Self::Thawed => "thawed",
            Self::Ahead => "ahead",
            Self::Forked => "forked",
            Self::Pooled => "pooled",
            Self::Cold => "cold",
            Self::Unknown => "unknown",
            Self::Missing => "missing",
        }
    }

    /// Warm or cold to the caller.
    pub(crate) fn family(self) -> Family {
        match self {
            Self::Warm | Self::Thawed => Family::Warm,
            Self::Ahead | Self::Forked | Self::Pooled | Self::Cold => Family::Cold,
            Self::Unknown | Self::Missing => Family::Unsaid,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for start in [
            Start::Warm,
            Start::Thawed,
            Start::Ahead,
            Start::Forked,
            Start::Pooled,
            Start::Cold,
        ] {
            assert_eq!(Start::parse(Some(start.name())), start);
        }
        assert_eq!(Start::parse(Some("lukewarm")), Start::Unknown);
        assert_eq!(Start::parse(None), Start::Missing);
    }
}
