//! `cargo xtask vm`: the stock machine, Debian 12 with systemd and cgroup v2, under software emulation.
//!
//! A machine for development often has other cgroups than a user's machine, and only root. Here the programs run as an ordinary
//! user of an ordinary Debian: with all of systemd's delegation, with what Debian delegates by itself, and with none.
//!
//! ```text
//! requirements -> build -> image (once) -> disk with the programs -> boot -> doctor, demo, confinement, abuse, e2e -> off
//! ```
//!
//! Nothing is installed in the machine and nothing it writes outlives it. It reaches no network; its ssh is forwarded from the
//! loopback device. It ends with this process, however that ends.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::requirements::{self, Purpose};
use crate::test::skips::Skip;
use crate::test::tally::Tally;
use crate::workspace::Workspace;

mod delegation;
mod image;
mod machine;
mod programs;
mod suites;

use machine::Machine;

/// What was typed after `cargo xtask vm`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// What to do in the machine
    #[arg(value_enum, default_value = "all")]
    part: Part,
    /// Run only the tests whose name contains this text
    filter: Option<String>,
    /// Try the debug build of fn, not the release build
    #[arg(long)]
    debug: bool,
    /// Keep what the machine wrote to its console, even if all went well
    #[arg(long)]
    keep: bool,
    /// Where the image is kept; it and the disks of a run need up to 8 GB there
    #[arg(long, value_name = "DIR", default_value = "/var/tmp/fn-vm")]
    cache: PathBuf,
}

/// A part of what can be done there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// What `fn doctor` and `fn serve --strict` say with each kind of delegation
    Doctor,
    /// The demonstration, as `cargo xtask demo` shows it
    Demo,
    /// The tests of the sandbox
    Confinement,
    /// The abuse suite
    Abuse,
    /// The end-to-end tests
    E2e,
    /// No test: a shell of the ordinary user in the machine
    Shell,
    /// Everything but the shell
    All,
}

impl Part {
    fn includes(self, other: Self) -> bool {
        self == other || self == Part::All
    }
}

/// What was counted so far.
#[derive(Default)]
struct Account {
    tally: Tally,
    skips: Vec<Skip>,
}

impl Account {
    /// Counts one check of ours, and says how it went.
    fn check(&mut self, name: &str, outcome: Result<()>) {
        match outcome {
            Ok(()) => {
                println!("check {name} ... ok");
                self.tally.passed += 1;
            }
            Err(error) => {
                println!("check {name} ... FAILED\n{error:#}");
                self.tally.failed += 1;
                self.tally.failures.push(name.to_owned());
            }
        }
    }
}

/// Does what was asked for. An error when anything failed.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    requirements::ensure(Purpose::Machine)?;
    let cache = image::Cache::open(&options.cache)?;
    let image = image::Image::build(&cache)?;
    let programs = programs::disk(workspace, &cache, !options.debug)?;
    let mut machine = Machine::boot(&image, &programs, &cache)?;
    if options.part == Part::Shell {
        return machine.shell();
    }
    let mut account = Account::default();
    let done = parts(&machine, options, &mut account);
    let kept = options.keep || done.is_err() || account.tally.failed > 0;
    if kept {
        println!(
            "\nwhat the machine wrote to its console: {}",
            machine.console().display()
        );
    }
    machine.off(kept)?;
    for skip in &account.skips {
        println!("skipped: {} ({}): {}", skip.name, skip.stage, skip.reason);
    }
    for failure in &account.tally.failures {
        println!("failed: {failure}");
    }
    println!(
        "{} passed, {} failed, {} skipped",
        account.tally.passed,
        account.tally.failed,
        account.skips.len()
    );
    done?;
    if account.tally.failed > 0 {
        bail!("{} failed in the machine", account.tally.failed);
    }
    Ok(())
}

fn parts(machine: &Machine, options: &Options, account: &mut Account) -> Result<()> {
    let part = options.part;
    let release = machine.user(&["uname", "-sr"])?.success("uname")?;
    println!("{}, as the user {}", release.trim(), machine::USER);
    if part.includes(Part::Doctor) {
        delegation::check(machine, account).context("the checks of the delegation")?;
    }
    if part.includes(Part::Demo) {
        suites::demo(machine, account)?;
    }
    for suite in suites::SUITES.iter().filter(|suite| part.includes(suite.part)) {
        suites::run(machine, suite, options.filter.as_deref(), account)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_check_is_counted_and_named() {
        let mut account = Account::default();
        account.check("good", Ok(()));
        account.check("bad", Err(anyhow::anyhow!("why")));
        assert_eq!((account.tally.passed, account.tally.failed), (1, 1));
        assert_eq!(account.tally.failures, ["bad"]);
    }

    #[test]
    fn everything_is_all_but_the_shell() {
        for suite in suites::SUITES {
            assert!(Part::All.includes(suite.part));
            assert!(!Part::Shell.includes(suite.part) && !Part::Doctor.includes(suite.part));
        }
    }
}
