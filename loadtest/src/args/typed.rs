//! What a word on the command line means: rates, durations, names.

use std::time::Duration;

/// Calls per second.
pub(super) fn rate(typed: &str) -> Result<f64, String> {
    let rate: f64 = typed
        .parse()
        .map_err(|_| format!("`{typed}` is not a number of calls per second"))?;
    if rate.is_finite() && (0.001..=1_000_000.0).contains(&rate) {
        Ok(rate)
    } else {
        Err("the rate must lie between 0.001 and 1000000 calls per second".to_owned())
    }
}

/// Such as `10s`; without a unit, seconds.
pub(super) fn duration(typed: &str) -> Result<Duration, String> {
    let digits = typed.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &typed[digits.len()..] {
        "us" => 1e-6,
        "ms" => 1e-3,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        other => return Err(format!("unknown unit `{other}`; use us, ms, s, m or h")),
    };
    let value: f64 = digits
        .parse()
        .map_err(|_| format!("`{typed}` is not a duration such as 10s or 500ms"))?;
    let seconds = value * unit;
    if seconds.is_finite() && (0.0..=86_400.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("a duration must lie between 0 and 24h".to_owned())
    }
}

/// The name of a function.
pub(super) fn function(typed: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if (1..=63).contains(&typed.len()) && typed.chars().all(good) {
        Ok(typed.to_owned())
    } else {
        Err("a function name has 1 to 63 of a-z, 0-9 and `-`".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert!(duration("2 weeks").is_err());
        assert!(duration("-1s").is_err());
        assert!(duration("ms").is_err());
    }

    #[test]
    fn names_that_would_change_the_path_are_refused() {
        for bad in ["", "a/b", "A", "a?b", "a b", &"a".repeat(64)] {
            assert!(function(bad).is_err(), "{bad}");
        }
    }
}
