//! `cargo xtask test`: every check and every test of the workspace, in the order in which a failure says most.
//!
//! Lint, then the tests of each crate from the leaves up, then the abuse suite and the end-to-end tests. As root those run twice: the server first as
//! `nobody`, then as a temporary user that has subordinate ids; an ordinary user runs them once, as himself. Everything is built
//! once. What the tests print passes through; the last lines list every skip with its reason and count what passed.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::unistd::Uid;

use crate::abuse::Programs;
use crate::lint;
use crate::program::Program;
use crate::requirements::{self, Purpose};
use crate::workspace::{Executable, Workspace};

mod account;
mod signals;
pub(crate) mod skips;
pub(crate) mod tally;

use signals::Signals;
use skips::{Runner, Skip};
use tally::Tally;

/// The crates whose tests run first, from the leaves up. One that is missing here runs after them.
const ORDER: &[&str] = &[
    "functions",
    "sandbox",
    "warm-pool",
    "gateway",
    "cli",
    "loadtest",
    "xtask",
];

/// The user without any right or subordinate id of its own, there on every Linux.
pub(crate) const NOBODY: &str = "nobody";

/// Runs everything, or only the tests whose name contains `filter`. An error when anything failed or a skip is not allowed.
pub(crate) fn run(workspace: &Workspace, filter: Option<&str>) -> Result<()> {
    // A temporary user and directories outlive a Ctrl-C otherwise: cargo and the tests end by it, we go on to the cleaning.
    let signals = Signals::remember()?;
    let missing = requirements::ensure(Purpose::Tests)?;
    for one in &missing {
        eprintln!(
            "{} is missing, so what needs it is skipped; it comes with\n  {}",
            one.name, one.remedy
        );
    }
    // First, as it leaves another `fn` where the next line puts the one for everybody.
    let abuse = Programs::build(workspace)?;
    let programs = workspace.build(&["build", "--workspace", "--bins"])?;
    let built = workspace.build(&["test", "--workspace", "--no-run"])?;
    let tests = in_order(built.into_iter().filter(|executable| executable.is_test).collect());
    if filter.is_none() {
        lint::run(workspace)?;
    }

    let mut session = Session {
        filter,
        signals,
        tally: Tally::default(),
        skips: Vec::new(),
    };
    for test in tests.iter().filter(|test| test.kind != "test" || test.name != "e2e") {
        session.unit(test)?;
    }
    session.documentation(workspace)?;
    let end_to_end: Vec<_> = tests
        .iter()
        .filter(|test| test.kind == "test" && test.name == "e2e")
        .collect();
    let shared = Shared::copy(&programs, &end_to_end)?;
    if Uid::effective().is_root() {
        session.abuse(&abuse, Some(NOBODY))?;
        session.end_to_end(&shared, Some(NOBODY))?;
        let user = account::Account::create()?;
        session.abuse(&abuse, Some(user.name()))?;
        session.end_to_end(&shared, Some(user.name()))?;
    } else {
        session.abuse(&abuse, None)?;
        session.end_to_end(&shared, None)?;
    }
    session.close(workspace)
}

fn in_order(mut tests: Vec<Executable>) -> Vec<Executable> {
    let place = |test: &Executable| {
        let package = test
            .package
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        ORDER.iter().position(|name| *name == package).unwrap_or(ORDER.len())
    };
    tests.retain(|test| test.kind != "custom-build");
    tests.sort_by_key(|test| (place(test), test.kind == "test"));
    tests
}

/// The programs under test in a directory that every user may read: the workspace often lies in a home that only its owner enters.
pub(crate) struct Shared {
    dir: tempfile::TempDir,
    e2e: PathBuf,
    e2e_package: PathBuf,
}

impl Shared {
    /// Copies the programs; of the end-to-end tests the first is taken.
    pub(crate) fn copy(programs: &[Executable], end_to_end: &[&Executable]) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("fn-test-bin-").tempdir()?;
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755))?;
        for name in ["fn", "loadtest", "floor"] {
            let program = programs
                .iter()
                .find(|program| program.kind == "bin" && program.name == name);
            let program = program.with_context(|| format!("cargo built no program named {name}"))?;
            install(&program.path, &dir.path().join(name))?;
        }
        let e2e = end_to_end.first().context("cargo built no end-to-end tests")?;
        Ok(Self {
            dir,
            e2e: e2e.path.clone(),
            e2e_package: e2e.package.clone(),
        })
    }

    /// One of the programs under test.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The program of the end-to-end tests.
    pub(crate) fn tests(&self) -> &Path {
        &self.e2e
    }

    /// The directory in which they are to run.
    pub(crate) fn package(&self) -> &Path {
        &self.e2e_package
    }
}

/// Copies a program so that everybody may run it.
pub(crate) fn install(from: &Path, to: &Path) -> Result<()> {
    std::fs::copy(from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    std::fs::set_permissions(to, PermissionsExt::from_mode(0o755))?;
    Ok(())
}

struct Session<'a> {
    filter: Option<&'a str>,
    signals: Signals,
    tally: Tally,
    skips: Vec<Skip>,
}

impl Session<'_> {
    fn unit(&mut self, test: &Executable) -> Result<()> {
        let package = test
            .package
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let label = format!("{package} ({} {})", test.kind, test.name);
        self.program(&label, || Program::new(&test.path).dir(&test.package))
    }

    fn documentation(&mut self, workspace: &Workspace) -> Result<()> {
        self.program("documentation", || {
            workspace.cargo(["test", "--quiet", "--workspace", "--doc", "--"])
        })
    }

    fn abuse(&mut self, programs: &Programs, user: Option<&str>) -> Result<()> {
        self.program(&format!("abuse, {}", server_of(user)), || programs.suite(user))
    }

    fn end_to_end(&mut self, shared: &Shared, user: Option<&str>) -> Result<()> {
        self.program(&format!("end to end, {}", server_of(user)), || {
            let mut program = Program::new(shared.tests())
                .dir(shared.package())
                .env("FN_TEST_BIN", shared.program("fn"))
                .env("FN_TEST_LOADTEST_BIN", shared.program("loadtest"));
            if let Some(user) = user {
                program = program.env("FN_TEST_USER", user);
            }
            program
        })
    }

    /// Runs one program of tests, counts what it prints and gathers the skips it records.
    fn program(&mut self, label: &str, program: impl FnOnce() -> Program) -> Result<()> {
        self.signals.stop_if_asked()?;
        println!("\n== {label}");
        let scratch = tempfile::tempdir()?;
        let record = scratch.path().join("skips");
        // Some tests become another user before they know that they have to skip.
        std::fs::write(&record, "")?;
        for (path, mode) in [(scratch.path(), 0o755), (&record, 0o666)] {
            std::fs::set_permissions(path, PermissionsExt::from_mode(mode))?;
        }
        let mut program = program().env("FN_TEST_SKIPS", &record);
        if let Some(filter) = self.filter {
            program = program.args([filter]);
        }
        let mut seen = Tally::default();
        let status = program.watch(|line| seen.line(line))?;
        self.signals.stop_if_asked()?;
        if !status.success() && seen.failed == 0 {
            seen.broke(label, &status.to_string());
        }
        let mut skips = skips::recorded(&record, label)?;
        // A test that skips returns like one that passes, and the test harness counts it so.
        seen.passed = seen.passed.saturating_sub(skips.len());
        skips.extend(seen.ignored.drain(..).map(|(name, reason)| Skip {
            name,
            reason,
            stage: label.to_owned(),
        }));
        self.tally.add(seen);
        self.skips.extend(skips);
        Ok(())
    }

    /// Prints the skips and the closing line, and says whether all of it is good.
    fn close(self, workspace: &Workspace) -> Result<()> {
        let runner = if Uid::effective().is_root() {
            Runner::Root
        } else {
            Runner::User
        };
        let allowed = skips::Allowed::read(&workspace.root().join("tests/skips.txt"))?;
        println!();
        let mut refused = Vec::new();
        for skip in &self.skips {
            println!("skipped: {} ({}): {}", skip.name, skip.stage, skip.reason);
            if !allowed.permits(&skip.name, runner) {
                refused.push(format!("{} ({})", skip.name, skip.stage));
            }
        }
        for failure in &self.tally.failures {
            println!("failed: {failure}");
        }
        println!(
            "{} passed, {} failed, {} skipped",
            self.tally.passed,
            self.tally.failed,
            self.skips.len()
        );
        if self.tally.failed > 0 {
            bail!("{} tests failed", self.tally.failed);
        }
        if !refused.is_empty() {
            bail!(
                "skips that tests/skips.txt does not allow here:\n  {}",
                refused.join("\n  ")
            );
        }
        Ok(())
    }
}

fn server_of(user: Option<&str>) -> String {
    format!("the server as {}", user.unwrap_or("the user who tests"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_leaves_are_tested_first() {
        let test = |package: &str, kind: &str| Executable {
            package: Path::new("/w").join(package),
            name: package.to_owned(),
            kind: kind.to_owned(),
            is_test: true,
            path: PathBuf::new(),
        };
        let sorted = in_order(vec![
            test("tests", "test"),
            test("cli", "bin"),
            test("sandbox", "test"),
            test("sandbox", "lib"),
        ]);
        let names: Vec<_> = sorted
            .iter()
            .map(|test| (test.name.as_str(), test.kind.as_str()))
            .collect();
        assert_eq!(
            names,
            [
                ("sandbox", "lib"),
                ("sandbox", "test"),
                ("cli", "bin"),
                ("tests", "test")
            ]
        );
    }
}
