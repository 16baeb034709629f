//! `cargo xtask layers`: a crate uses only crates to its right, and unsafe code stands in one place.
//!
//! ```text
//! cli -> gateway -> warm-pool -> { sandbox, functions }          loadtest, xtask, tests, probe: none of ours
//! ```
//!
//! The first rule is checked on what `cargo metadata` says (normal, build and dev dependencies alike), the second on the text
//! of every Rust file, because a lint can be allowed anywhere while a word can't be hidden from a reader.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::workspace::Workspace;

mod keyword;
#[cfg(test)]
mod tests;

/// What each crate may use of ours. A crate that is not named here is refused until somebody decides where it stands.
const ALLOWED: &[(&str, &[&str])] = &[
    ("cli", &["gateway", "warm-pool", "sandbox", "functions"]),
    ("gateway", &["warm-pool", "sandbox", "functions"]),
    ("warm-pool", &["sandbox", "functions"]),
    ("sandbox", &[]),
    ("functions", &[]),
    ("loadtest", &[]),
    ("xtask", &[]),
    ("tests", &[]),
    // The targets read what these read; nothing uses them but their own smoke run.
    ("fuzz", &["gateway", "warm-pool", "functions"]),
    ("probe", &[]),
];

/// The one place of unsafe code in the product, relative to the root: this file and everything below the directory of the same name.
const UNSAFE_HOME: &str = "sandbox/src/sys";

/// The one file of the tests with unsafe code: the probe of the abuse suite asks the kernel for what no library would.
const UNSAFE_PROBE: &str = "tests/abuse/probe/src/sys.rs";

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// Only a dependency on a directory has one; everything from a registry is not ours.
    path: Option<PathBuf>,
    kind: Option<String>,
}

/// Checks both rules and names everything that breaks one.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let metadata: Metadata =
        serde_json::from_str(workspace.metadata()).context("cargo metadata is not what was expected")?;
    let mut wrong = wrong_edges(&metadata);
    for package in &metadata.packages {
        let dir = package
            .manifest_path
            .parent()
            .context("a manifest lies in a directory")?;
        wrong.extend(unsafe_outside_home(workspace.root(), dir)?);
    }
    if !wrong.is_empty() {
        bail!("the layers do not hold:\n  {}", wrong.join("\n  "));
    }
    eprintln!(
        "layers: {} crates, every edge points to the right, unsafe code only in {UNSAFE_HOME} and {UNSAFE_PROBE}",
        ALLOWED.len()
    );
    Ok(())
}

fn wrong_edges(metadata: &Metadata) -> Vec<String> {
    let mut wrong = Vec::new();
    for package in &metadata.packages {
        let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| *name == package.name) else {
            wrong.push(format!(
                "{}: this crate has no place yet; give it one in xtask/src/layers.rs",
                package.name
            ));
            continue;
        };
        for dependency in package
            .dependencies
            .iter()
            .filter(|dependency| dependency.path.is_some())
        {
            if !allowed.contains(&dependency.name.as_str()) {
                let kind = dependency.kind.as_deref().unwrap_or("normal");
                let may = if allowed.is_empty() {
                    "none of ours".to_owned()
                } else {
                    allowed.join(", ")
                };
                wrong.push(format!(
                    "{} -> {} ({kind} dependency): {} may use {may}",
                    package.name, dependency.name, package.name
                ));
            }
        }
    }
    wrong
}

/// Every `unsafe` in the Rust files below `dir` that is not in its home, as `file:line`.
fn unsafe_outside_home(root: &Path, dir: &Path) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))? {
        let path = entry?.path();
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "target") {
                wrong.extend(unsafe_outside_home(root, &path)?);
            }
            continue;
        }
        let name = path.strip_prefix(root).unwrap_or(&path);
        if path.extension().is_none_or(|extension| extension != "rs") || is_home(name) {
            continue;
        }
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        for line in keyword::lines_with(&text, "unsafe") {
            wrong.push(format!("{}:{line}: unsafe code outside {UNSAFE_HOME}", name.display()));
        }
    }
    Ok(wrong)
}

fn is_home(name: &Path) -> bool {
    name.starts_with(UNSAFE_HOME)
        || name == Path::new(UNSAFE_HOME).with_extension("rs")
        || name == Path::new(UNSAFE_PROBE)
}
