//! Durations as people write them: `500ms`, `30s`, `1.5m`, `2h`.
//!
//! The unit is required: a bare `30` is seconds to one reader and milliseconds to the next.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::size::{Scaling, scaled};

/// A duration in whole milliseconds. Its text form is the largest unit that divides it, such as `30s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(u64);

/// Why a string is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpanError {
    /// No number at the start.
    #[error("{text:?} is not a duration: write a number and a unit, such as 30s")]
    NoNumber {
        /// What was given.
        text: String,
    },
    /// A number alone.
    #[error("{text:?} has no unit: write {text}ms or {text}s")]
    NoUnit {
        /// What was given.
        text: String,
    },
    /// A unit that is not known.
    #[error("{unit:?} is not a unit of time: write ms, s, m, h or d")]
    Unit {
        /// What was given as the unit.
        unit: String,
    },
    /// Finer than a millisecond.
    #[error("{text:?} is not a whole number of milliseconds")]
    Fraction {
        /// What was given.
        text: String,
    },
    /// More than 2^64-1 milliseconds.
    #[error("{text:?} is longer than 64 bits of milliseconds can count")]
    TooLong {
        /// What was given.
        text: String,
    },
}

const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

impl Span {
    /// That many milliseconds.
    pub const fn millis(millis: u64) -> Span {
        Span(millis)
    }

    /// That many seconds. Overflow is a panic at compile time, where this is meant to be used.
    pub const fn secs(secs: u64) -> Span {
        Span(secs * 1_000)
    }

    /// That many hours. Overflow is a panic at compile time, where this is meant to be used.
    pub const fn hours(hours: u64) -> Span {
        Span(hours * 3_600_000)
    }

    /// The number of milliseconds.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// The same length as a [`Duration`].
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let end = text
            .find(|c: char| !(c.is_ascii_digit() || c == '.'))
            .unwrap_or(text.len());
        let (number, unit) = (&text[..end], text[end..].trim());
        let owned = || text.to_owned();
        if number.is_empty() {
            return Err(SpanError::NoNumber { text: owned() });
        }
        if unit.is_empty() {
            return Err(SpanError::NoUnit { text: owned() });
        }
        let scale = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .map(|(_, scale)| *scale)
            .ok_or_else(|| SpanError::Unit { unit: unit.to_owned() })?;
        scaled(number, scale).map(Span).map_err(|error| match error {
            Scaling::NoNumber => SpanError::NoNumber { text: owned() },
            Scaling::Fraction => SpanError::Fraction { text: owned() },
            Scaling::Overflow => SpanError::TooLong { text: owned() },
        })
    }
}

impl TryFrom<String> for Span {
    type Error = SpanError;

    fn try_from(text: String) -> Result<Self, SpanError> {
        text.parse()
    }
}

impl From<Span> for String {
    fn from(span: Span) -> String {
        span.to_string()
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Duration {
        span.duration()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, scale) = match self.0 {
            0 => ("s", 1_000),
            // The last unit, a millisecond, divides everything.
            _ => UNITS
                .iter()
                .find(|(_, scale)| self.0.is_multiple_of(*scale))
                .copied()
                .unwrap_or(("ms", 1)),
        };
        f.pad(&format!("{}{unit}", self.0 / scale))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_as_people_write_them() {
        for (text, millis) in [
            ("0s", 0),
            ("500ms", 500),
            ("30s", 30_000),
            ("1.5m", 90_000),
            ("0.25s", 250),
            ("2h", 7_200_000),
        ] {
            assert_eq!(text.parse(), Ok(Span(millis)), "{text}");
        }
    }

    #[test]
    fn everything_else_says_why() {
        let refused = |text: &str| text.parse::<Span>().unwrap_err().to_string();
        assert!(refused("").contains("write a number and a unit"));
        assert!(refused("soon").contains("write a number and a unit"));
        assert!(refused("-1s").contains("write a number and a unit"));
        assert!(refused("1.s").contains("write a number and a unit"));
        assert!(refused("30").contains("write 30ms or 30s"));
        assert!(refused("30sec").contains("not a unit of time"));
        assert!(refused("1h30m").contains("not a unit of time"));
        assert!(refused("0.5ms").contains("whole number of milliseconds"));
        assert!(refused("999999999999999999d").contains("64 bits"));
    }

    proptest! {
        #[test]
        fn text_reads_back(millis: u64, scale in prop::sample::select(vec![1u64, 1_000, 60_000, 86_400_000])) {
            let span = Span(millis / scale * scale);
            prop_assert_eq!(span.to_string().parse(), Ok(span));
        }

        #[test]
        fn no_text_panics(text in ".*", digits in "[0-9.]{0,40}[mshd]{0,3}") {
            let _ = text.parse::<Span>();
            let _ = digits.parse::<Span>();
        }
    }
}
