//! Shares of the processor: `1.0` is one processor, `0.25` a quarter of one.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::size::scaled;

/// Thousandths of a processor. Serialised as a number, such as `0.25`; read from a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cpu(u32);

/// The value is not a number of processors in steps of 0.001, or it is 4 million or more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text} is not a number of processors: write a number such as 0.5, in steps of 0.001")]
pub struct CpuError {
    text: String,
}

impl Cpu {
    /// That many thousandths of a processor.
    pub const fn millis(millis: u32) -> Cpu {
        Cpu(millis)
    }

    /// Thousandths of a processor.
    pub const fn as_millis(self) -> u32 {
        self.0
    }
}

impl FromStr for Cpu {
    type Err = CpuError;

    fn from_str(text: &str) -> Result<Self, CpuError> {
        scaled(text, 1_000)
            .ok()
            .and_then(|millis| u32::try_from(millis).ok())
            .map(Cpu)
            .ok_or_else(|| CpuError { text: text.to_owned() })
    }
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:03}", self.0 / 1_000, self.0 % 1_000);
        let text = text.trim_end_matches('0');
        f.pad(&if text.ends_with('.') {
            format!("{text}0")
        } else {
            text.to_owned()
        })
    }
}

impl Serialize for Cpu {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(f64::from(self.0) / 1_000.0)
    }
}

impl<'de> Deserialize<'de> for Cpu {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CpuVisitor;

        impl Visitor<'_> for CpuVisitor {
            type Value = Cpu;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of processors such as 0.5")
            }

            // The shortest decimal text of a float is what was typed, so its steps are checked exactly.
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Cpu, E> {
                value.to_string().parse().map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Cpu, E> {
                value.to_string().parse().map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Cpu, E> {
                value.to_string().parse().map_err(E::custom)
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Cpu, E> {
                value.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_any(CpuVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_that_are_no_share_are_refused() {
        for text in ["", "-1", "NaN", "inf", "0.0001", "1e3", "99999999999", "one"] {
            assert!(text.parse::<Cpu>().is_err(), "{text}");
        }
        for json in ["-1", "-0.5", "0.0001", "true"] {
            assert!(serde_json::from_str::<Cpu>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn whole_processors_keep_their_point() {
        assert_eq!(Cpu::millis(1_000).to_string(), "1.0");
        assert_eq!(Cpu::millis(250).to_string(), "0.25");
        assert_eq!(serde_json::from_str::<Cpu>("2").unwrap(), Cpu::millis(2_000));
    }

    proptest! {
        #[test]
        fn text_and_number_read_back(millis: u32) {
            let cpu = Cpu::millis(millis);
            prop_assert_eq!(cpu.to_string().parse(), Ok(cpu));
            let json = serde_json::to_string(&cpu).unwrap();
            prop_assert_eq!(serde_json::from_str::<Cpu>(&json).unwrap(), cpu);
        }
    }
}
