//! What is tried in the machine, on a disk of its own: it is mounted read-only at `/srv/fn`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::image::Cache;
use crate::abuse;
use crate::demo;
use crate::program::Program;
use crate::test::install;
use crate::workspace::{Executable, Workspace};

/// Where the machine has them.
pub(super) const AT: &str = "/srv/fn";

/// Programs under test, in the profile that was asked for.
const BINS: &[&str] = &["fn", "loadtest", "floor"];

/// Programs that try them, always debug builds: kind and name.
const TESTS: &[(&str, &str)] = &[
    ("test", "e2e"),
    ("test", "confinement"),
    ("bin", "spawner"),
    ("bin", "xtask"),
];

/// A server that is started, called once and stopped.
const SERVE_ONCE: &str = include_str!("serve-once.sh");

/// Builds them and makes the disk.
pub(super) fn disk(workspace: &Workspace, cache: &Cache, release: bool) -> Result<PathBuf> {
    let dir = cache.fresh("programs")?;
    let profile: &[&str] = if release { &["--release"] } else { &[] };
    let crates = ["--package", "cli", "--package", "loadtest", "--package", "sandbox"];
    let built = workspace.build(&[&["build", "--bins"], profile, &crates].concat())?;
    for name in BINS {
        add(&built, "bin", name, &dir)?;
    }
    let tools = ["--package", "sandbox", "--package", "xtask"];
    let mut built = workspace.build(&[&["build", "--bins"][..], &tools].concat())?;
    let tests = ["--package", "tests", "--package", "sandbox"];
    built.extend(workspace.build(&[&["test", "--no-run", "--tests"][..], &tests].concat())?);
    for (kind, name) in TESTS {
        add(&built, kind, name, &dir)?;
    }
    abuse::Programs::build(workspace)?.stage(&dir)?;
    demo::stage(workspace, &dir)?;
    packages(&dir.join("packages"))?;
    fs::write(dir.join("serve-once.sh"), SERVE_ONCE)?;
    Program::new("chmod")
        .args(["--recursive", "a+rX", "--"])
        .args([&dir])
        .run()?;
    let disk = cache.fresh("programs-disk")?.join("disk");
    File::create(&disk)?.set_len(size(&dir)? * 3 / 2 + (64 << 20))?;
    Program::new("mkfs.ext4")
        .args(["-q", "-F", "-L", "programs", "-d"])
        .args([&dir, &disk])
        .run()?;
    Ok(disk)
}

fn add(built: &[Executable], kind: &str, name: &str, dir: &Path) -> Result<()> {
    let mut found = built
        .iter()
        .filter(|one| one.kind == kind && one.name == name && one.is_test == (kind == "test"));
    let found = found
        .next()
        .with_context(|| format!("cargo built no {kind} named {name}"))?;
    let to = dir.join(name);
    install(&found.path, &to)?;
    // What a debugger wants is most of such a file, and here is none.
    Program::new("strip").args(["--strip-debug", "--"]).args([&to]).run()
}

/// What the tests have installed from PyPI and npm, where they keep it (see tests/harness/packages.rs): the machine can't fetch it.
fn packages(to: &Path) -> Result<()> {
    let variable = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let kept = variable("FN_TEST_PACKAGES")
        .or_else(|| variable("XDG_CACHE_HOME").map(|cache| cache.join("fn-tests")))
        .or_else(|| variable("HOME").map(|home| home.join(".cache/fn-tests")));
    match kept.filter(|kept| kept.exists()) {
        Some(kept) => copy(&kept, to),
        None => Ok(fs::create_dir(to)?),
    }
}

/// Copies a directory with everything below it.
fn copy(from: &Path, to: &Path) -> Result<()> {
    Program::new("cp")
        .args(["--recursive", "--no-dereference", "--no-target-directory", "--"])
        .args([from, to])
        .run()
}

/// How many bytes the files below `dir` have.
fn size(dir: &Path) -> Result<u64> {
    let said = Program::new("du")
        .args(["--summarize", "--block-size=1", "--"])
        .args([dir])
        .output()?;
    let Some(size) = said.split_whitespace().next().and_then(|size| size.parse().ok()) else {
        bail!("du should print a size, and printed: {said}");
    };
    Ok(size)
}
