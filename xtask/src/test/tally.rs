//! Counts what a program of tests prints, in the format of Rust's own test harness.

/// How the reason begins of what is no test of its own: a process that another test starts, from the same program.
const CHILD: &str = "a child of ";

/// The sum over any number of programs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    /// The name of every test that failed.
    pub(crate) failures: Vec<String>,
    /// Name and reason of every test that is marked as ignored.
    pub(crate) ignored: Vec<(String, String)>,
}

impl Tally {
    /// Takes one line of output into account.
    pub(crate) fn line(&mut self, line: &str) {
        if let Some(counts) = line.strip_prefix("test result: ") {
            self.passed += count(counts, " passed");
            self.failed += count(counts, " failed");
        } else if let Some((name, outcome)) = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... ")) {
            if outcome == "FAILED" {
                self.failures.push(name.to_owned());
            } else if let Some(reason) = outcome.strip_prefix("ignored") {
                let reason = reason.trim_start_matches([',', ' ']);
                if !reason.starts_with(CHILD) {
                    self.ignored.push((name.to_owned(), reason.to_owned()));
                }
            }
        }
    }

    /// Counts a program that ended badly without naming a test: it crashed, or was killed.
    pub(crate) fn broke(&mut self, program: &str, status: &str) {
        self.failed += 1;
        self.failures.push(format!("{program}: ended with {status}"));
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.failures.extend(other.failures);
        self.ignored.extend(other.ignored);
    }
}

fn count(counts: &str, what: &str) -> usize {
    let Some(end) = counts.find(what) else { return 0 };
    let digits = counts[..end]
        .rsplit(|c: char| !c.is_ascii_digit())
        .next()
        .unwrap_or_default();
    digits.parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_added_up() {
        let mut tally = Tally::default();
        for line in [
            "running 3 tests",
            "test wire::a ... ok",
            "test wire::b ... FAILED",
            "test src/lib.rs - f (line 3) ... ignored",
            "test wire::c ... ignored, needs a printer",
            "test wire::d ... ignored, a child of the test below",
            "test result: FAILED. 12 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: ok. 5 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        ] {
            tally.line(line);
        }
        assert_eq!((tally.passed, tally.failed), (17, 1));
        assert_eq!(tally.failures, ["wire::b"]);
        let ignored: Vec<_> = tally
            .ignored
            .iter()
            .map(|(name, reason)| (name.as_str(), reason.as_str()))
            .collect();
        assert_eq!(
            ignored,
            [("src/lib.rs - f (line 3)", ""), ("wire::c", "needs a printer")]
        );
    }

    #[test]
    fn what_a_test_prints_is_not_counted() {
        let mut tally = Tally::default();
        tally.line("testing 5 passed");
        tally.line("  test result: 5 passed");
        assert_eq!(tally, Tally::default());
    }
}
