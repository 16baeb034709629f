//! Sizes as people write them: `256MiB`, `64MB`, `1.5GiB`, `4096`.
//!
//! Units of 1024 end in `iB`, units of 1000 end in `B`; a bare number is bytes. `64M` is refused,
//! because half of the world reads it one way and half the other.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A number of bytes. Serialised as text in the largest unit that divides it, such as `"256MiB"`;
/// read from that text or from a bare number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteSize(u64);

/// Why a string is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SizeError {
    /// No number at the start.
    #[error("{text:?} is not a size: write a number and a unit, such as 256MiB")]
    NoNumber {
        /// What was given.
        text: String,
    },
    /// A unit that is not known.
    #[error("{unit:?} is not a unit of size: write B, KB, MB, GB, TB, KiB, MiB, GiB or TiB")]
    Unit {
        /// What was given as the unit.
        unit: String,
    },
    /// Not a whole number of bytes.
    #[error("{text:?} is not a whole number of bytes")]
    Fraction {
        /// What was given.
        text: String,
    },
    /// More than 2^64-1 bytes.
    #[error("{text:?} is more bytes than 64 bits can count")]
    TooLarge {
        /// What was given.
        text: String,
    },
}

const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("KB", 1_000),
    ("B", 1),
];

impl ByteSize {
    /// That many bytes.
    pub const fn bytes(bytes: u64) -> ByteSize {
        ByteSize(bytes)
    }

    /// That many KiB. Overflow is a panic at compile time, where this is meant to be used.
    pub const fn kib(count: u64) -> ByteSize {
        ByteSize(count * (1 << 10))
    }

    /// That many MiB. Overflow is a panic at compile time, where this is meant to be used.
    pub const fn mib(count: u64) -> ByteSize {
        ByteSize(count * (1 << 20))
    }

    /// That many GiB. Overflow is a panic at compile time, where this is meant to be used.
    pub const fn gib(count: u64) -> ByteSize {
        ByteSize(count * (1 << 30))
    }

    /// The number of bytes.
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let end = text
            .find(|c: char| !(c.is_ascii_digit() || c == '.'))
            .unwrap_or(text.len());
        let (number, unit) = (&text[..end], text[end..].trim());
        let scale = match unit {
            "" => 1,
            unit => UNITS
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(unit))
                .map(|(_, scale)| *scale)
                .ok_or_else(|| match number {
                    "" => SizeError::NoNumber { text: text.to_owned() },
                    _ => SizeError::Unit { unit: unit.to_owned() },
                })?,
        };
        match scaled(number, scale) {
            Ok(bytes) => Ok(ByteSize(bytes)),
            Err(Scaling::NoNumber) => Err(SizeError::NoNumber { text: text.to_owned() }),
            Err(Scaling::Fraction) => Err(SizeError::Fraction { text: text.to_owned() }),
            Err(Scaling::Overflow) => Err(SizeError::TooLarge { text: text.to_owned() }),
        }
    }
}

/// Why `number * scale` is not a `u64`.
pub(crate) enum Scaling {
    NoNumber,
    Fraction,
    Overflow,
}

/// `number` (digits with at most one point between them) times `scale`, exactly, without floating
/// point: 0.1 has no exact binary form.
pub(crate) fn scaled(number: &str, scale: u64) -> Result<u64, Scaling> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return Err(Scaling::NoNumber);
    }
    let whole: u64 = whole.parse().map_err(|_| Scaling::Overflow)?;
    let whole = whole.checked_mul(scale).ok_or(Scaling::Overflow)?;

    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() {
        return Ok(whole);
    }
    // 18 digits are below 2^64 and times any unit below 2^128; no unit has more factors of ten or two.
    if fraction.len() > 18 {
        return Err(Scaling::Fraction);
    }
    let power = 10u128.pow(fraction.len() as u32);
    let part = fraction.parse::<u128>().map_err(|_| Scaling::Fraction)? * u128::from(scale);
    if part % power != 0 {
        return Err(Scaling::Fraction);
    }
    // The quotient is below `scale`, because the fraction is below one.
    whole.checked_add((part / power) as u64).ok_or(Scaling::Overflow)
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, scale) = UNITS
            .iter()
            .find(|(_, scale)| self.0 != 0 && self.0.is_multiple_of(*scale))
            .copied()
            .unwrap_or(("B", 1));
        f.pad(&format!("{}{unit}", self.0 / scale))
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SizeVisitor;

        impl Visitor<'_> for SizeVisitor {
            type Value = ByteSize;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as \"256MiB\" or a number of bytes")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ByteSize, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<ByteSize, E> {
                Ok(ByteSize(bytes))
            }

            fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<ByteSize, E> {
                u64::try_from(bytes)
                    .map(ByteSize)
                    .map_err(|_| E::custom("a size is not negative"))
            }
        }

        deserializer.deserialize_any(SizeVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_as_people_write_them() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("256MiB", 256 << 20),
            ("64MB", 64_000_000),
            ("1GiB", 1 << 30),
            ("1.5GiB", 3 << 29),
            ("0.1KB", 100),
            ("10 mib", 10 << 20),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
    }

    #[test]
    fn everything_else_says_why() {
        let refused = |text: &str| text.parse::<ByteSize>().unwrap_err().to_string();
        assert!(refused("").contains("write a number and a unit"));
        assert!(refused("MiB").contains("write a number and a unit"));
        assert!(refused("lots").contains("write a number and a unit"));
        assert!(refused("-1").contains("write a number and a unit"));
        assert!(refused("1.").contains("write a number and a unit"));
        assert!(refused("1..5MB").contains("write a number and a unit"));
        assert!(refused("64M").contains("not a unit of size"));
        assert!(refused("0.5").contains("whole number"));
        assert!(refused("0.3KiB").contains("whole number"));
        assert!(refused("99999999999TiB").contains("64 bits"));
    }

    #[test]
    fn text_is_in_the_largest_exact_unit() {
        for (bytes, text) in [
            (0, "0B"),
            (1, "1B"),
            (1501, "1501B"),
            (1500, "1500B"),
            (64_000_000, "64MB"),
            (1 << 30, "1GiB"),
        ] {
            assert_eq!(ByteSize(bytes).to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn text_reads_back(bytes: u64, shift in 0u32..64) {
            let size = ByteSize(bytes >> shift << (shift / 2));
            prop_assert_eq!(size.to_string().parse(), Ok(size));
            let json = serde_json::to_string(&size).unwrap();
            prop_assert_eq!(serde_json::from_str::<ByteSize>(&json).unwrap(), size);
        }

        #[test]
        fn no_text_panics(text in ".*", digits in "[0-9.]{0,40}[kKmMiIbB]{0,3}") {
            let _ = text.parse::<ByteSize>();
            let _ = digits.parse::<ByteSize>();
        }
    }
}
