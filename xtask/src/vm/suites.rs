//! The programs of tests that run in the machine, and the demonstration.

use anyhow::{Result, bail};

use super::machine::Machine;
use super::programs::AT;
use super::{Account, Part};
use crate::test::skips::{self, Skip};
use crate::test::tally::Tally;

/// One program of tests.
pub(super) struct Suite {
    pub(super) part: Part,
    /// Its name on the disk of programs.
    pub(super) program: &'static str,
    /// What stands before it on the command line.
    before: &'static [&'static str],
    /// Whether it is one of Rust's own test harness, which lists its tests and takes options.
    harness: bool,
    /// Tests that can't run in the machine: a part of their names, and why.
    not_here: &'static [(&'static str, &'static str)],
}

/// All of them, in the order in which they run.
pub(super) const SUITES: &[Suite] = &[
    Suite {
        part: Part::Confinement,
        program: "confinement",
        // It makes its groups in the scope in which it stands.
        before: &["systemd-run", "--user", "--scope", "--quiet", "-p", "Delegate=yes"],
        harness: true,
        not_here: &[],
    },
    Suite {
        part: Part::Abuse,
        // It finds its other programs beside itself.
        program: "abuse",
        before: &[],
        harness: false,
        not_here: &[],
    },
    Suite {
        part: Part::E2e,
        program: "e2e",
        // Each server asks for a scope of its own.
        before: &[],
        harness: true,
        not_here: NOT_HERE,
    },
];

const NOT_HERE: &[(&str, &str)] = &[
    ("builds::", "the machine has no pip, no npm and no network"),
    ("fdk::the_fdk_for", "the FDKs come from PyPI and npm"),
    ("http::frameworks::", "the servers come from PyPI and npm"),
    (
        "dashboards::the_dashboard",
        "the dashboards are not on the disk of programs",
    ),
    (
        "http::a_server_outlives_its_slow_calls_but_not_if_it_answers_nobody",
        "its function has one second, in which an emulated Python does not start",
    ),
    (
        "http::h2c::a_call_that_ends_badly_harms_no_other",
        "its function has two seconds, in which an emulated Python does not start",
    ),
];

/// How much longer than elsewhere a test may wait: emulated code is ten to twenty times slower.
const PATIENCE: &str = "10";

/// Where the tests write down their skips.
const SKIPS: &str = "/home/fn/skips";

/// Runs one and counts what it prints.
pub(super) fn run(machine: &Machine, suite: &Suite, filter: Option<&str>, account: &mut Account) -> Result<()> {
    let label = format!("the stock machine, {}", suite.program);
    println!("\n== {label}");
    let program = format!("{AT}/{}", suite.program);
    machine.user(&["rm", "-f", SKIPS])?.success("rm")?;
    let left_out = left_out(machine, &program, suite, filter, &label)?;
    let variables = [
        format!("FN_TEST_BIN={AT}/fn"),
        format!("FN_TEST_LOADTEST_BIN={AT}/loadtest"),
        format!("FN_TEST_SPAWNER={AT}/spawner"),
        format!("FN_TEST_PATIENCE={PATIENCE}"),
        format!("FN_TEST_PACKAGES={AT}/packages"),
        format!("FN_TEST_SKIPS={SKIPS}"),
    ];
    let mut words = suite.before.to_vec();
    words.push("env");
    words.extend(variables.iter().map(String::as_str));
    words.push(&program);
    if suite.harness {
        // One test at a time: they share two emulated processors.
        words.extend(["--test-threads", "1"]);
    }
    words.extend(filter);
    for (part, _) in suite.not_here {
        words.extend(["--skip", part]);
    }
    let mut seen = Tally::default();
    let status = machine.program(&words).watch(|line| seen.line(line))?;
    if !status.success() && seen.failed == 0 {
        seen.broke(&label, &status.to_string());
    }
    let recorded = machine.user(&["sh", "-c", &format!("cat {SKIPS} 2> /dev/null || true")])?;
    let recorded = skips::parse(&recorded.success("cat")?, &label)?;
    // A test that skips returns like one that passes, and the test harness counts it so.
    seen.passed = seen.passed.saturating_sub(recorded.len());
    account.skips.extend(left_out);
    account.skips.extend(recorded);
    account.skips.extend(seen.ignored.drain(..).map(|(name, reason)| Skip {
        name,
        reason,
        stage: label.clone(),
    }));
    account.tally.add(seen);
    Ok(())
}

/// The tests of the program that can't run there.
fn left_out(machine: &Machine, program: &str, suite: &Suite, filter: Option<&str>, label: &str) -> Result<Vec<Skip>> {
    if suite.not_here.is_empty() {
        return Ok(Vec::new());
    }
    let list = machine.user(&[program, "--list"])?.success("the list of tests")?;
    let names: Vec<_> = list.lines().filter_map(|line| line.strip_suffix(": test")).collect();
    let mut skips = Vec::new();
    for (part, reason) in suite.not_here {
        let mut found = names.iter().filter(|name| name.contains(part)).peekable();
        if found.peek().is_none() {
            bail!(
                "no test of {} is named `{part}`, so none need be left out",
                suite.program
            );
        }
        skips.extend(
            found
                .filter(|name| filter.is_none_or(|filter| name.contains(filter)))
                .map(|name| Skip {
                    name: (*name).to_owned(),
                    reason: (*reason).to_owned(),
                    stage: label.to_owned(),
                }),
        );
    }
    Ok(skips)
}

/// The demonstration, by the same program that `cargo xtask demo` is, as one check.
pub(super) fn demo(machine: &Machine, account: &mut Account) -> Result<()> {
    println!("\n== demo");
    let xtask = format!("{AT}/xtask");
    let status = machine.program(&[&xtask, "demo", "--prebuilt", AT]).watch(|_| ())?;
    let outcome = if status.success() {
        Ok(())
    } else {
        Err(anyhow::anyhow!("it ended with {status}"))
    };
    account.check("the demonstration", outcome);
    Ok(())
}
