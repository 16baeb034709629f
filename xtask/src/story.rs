//! `cargo xtask chaos` and `cargo xtask neighbours`: one story of the end-to-end tests, told at length.
//!
//! The tests tell the same stories in seconds. Which one is told, and how long, is said by its name and by the environment; what it
//! prints passes through, and ends with a table and `N passed, N failed, N skipped`.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::program::Program;
use crate::requirements::{self, Purpose};
use crate::test::Shared;
use crate::workspace::Workspace;

/// One story.
pub(crate) struct Story {
    /// The whole name of its test.
    pub(crate) name: &'static str,
    /// What it is told by its environment.
    pub(crate) settings: Vec<(&'static str, String)>,
}

/// Kills for this long; the victims and the pauses follow from the seed.
pub(crate) fn chaos(duration: Duration, seed: Option<u64>) -> Story {
    let mut settings = vec![("FN_CHAOS_SECONDS", duration.as_secs().to_string())];
    settings.extend(seed.map(|seed| ("FN_CHAOS_SEED", seed.to_string())));
    Story {
        name: "chaos::kills_at_random_moments_lose_nothing",
        settings,
    }
}

/// Measures a neighbour for this long before, during and after each attack.
pub(crate) fn neighbours(duration: Duration) -> Story {
    Story {
        name: "neighbours::attacks_end_as_expected_and_neighbours_are_served",
        settings: vec![("FN_NEIGHBOURS_SECONDS", duration.as_secs().to_string())],
    }
}

/// Builds what it needs and tells it. An error when one of its promises was broken.
pub(crate) fn run(workspace: &Workspace, story: &Story) -> Result<()> {
    for missing in requirements::ensure(Purpose::Tests)? {
        eprintln!("{} is missing; it comes with\n  {}", missing.name, missing.remedy);
    }
    let programs = workspace.build(&["build", "--workspace", "--bins"])?;
    let built = workspace.build(&["test", "--package", "tests", "--test", "e2e", "--no-run"])?;
    let tests: Vec<_> = built
        .iter()
        .filter(|built| built.is_test && built.name == "e2e")
        .collect();
    let shared = Shared::copy(&programs, &tests)?;
    let mut program = Program::new(shared.tests())
        .dir(shared.package())
        .env("FN_TEST_BIN", shared.program("fn"))
        .args([story.name, "--exact", "--nocapture"]);
    for (key, value) in &story.settings {
        program = program.env(key, value);
    }
    let mut ran = false;
    let status =
        program.watch(|line| ran |= line.starts_with("test result: ") && !line.contains(" 0 passed; 0 failed"))?;
    if !status.success() {
        bail!("{} ended with {status}", story.name);
    }
    ran.then_some(())
        .with_context(|| format!("there is no test {}", story.name))
}

/// Reads `90`, `90s` or `5m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let (digits, unit) = match text.strip_suffix('m') {
        Some(digits) => (digits, 60),
        None => (text.strip_suffix('s').unwrap_or(text), 1),
    };
    let number: u64 = digits.parse().map_err(|_| wrong(text))?;
    let seconds = number.checked_mul(unit).filter(|seconds| *seconds > 0);
    seconds.map(Duration::from_secs).ok_or_else(|| wrong(text))
}

fn wrong(text: &str) -> String {
    format!("`{text}` is no duration; say seconds or minutes, like 90s or 5m")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_seconds_or_minutes() {
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        for bad in [
            "",
            "m",
            "0s",
            "-1",
            "1h",
            "99999999999999999999m",
            "18446744073709551615m",
        ] {
            let refused = duration(bad).unwrap_err();
            assert!(refused.contains("like 90s or 5m"), "{bad}: {refused}");
        }
    }

    #[test]
    fn a_seed_is_told_only_when_it_was_given() {
        let settings = |story: Story| story.settings;
        let five = Duration::from_secs(300);
        assert_eq!(settings(chaos(five, None)), [("FN_CHAOS_SECONDS", "300".to_owned())]);
        assert_eq!(settings(chaos(five, Some(7)))[1], ("FN_CHAOS_SEED", "7".to_owned()));
    }
}
