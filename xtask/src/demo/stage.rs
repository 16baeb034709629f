//! The examples put together for a machine that has neither cargo nor a way to PyPI and npm.
//!
//! What an example depends on is installed here and deployed from there as files of the example.

use std::path::Path;

use anyhow::Result;

use super::examples::{EXAMPLES, RUST};
use super::{examples_of, rust_example};
use crate::program::Program;
use crate::test::install;
use crate::workspace::Workspace;

/// Puts the examples into `dir`: `hello-rust`, which is a program, and `examples`. The other programs of the demonstration are the
/// caller's.
pub(crate) fn stage(workspace: &Workspace, dir: &Path) -> Result<()> {
    install(&rust_example(workspace)?, &dir.join(RUST))?;
    let examples = dir.join("examples");
    std::fs::create_dir(&examples)?;
    for example in EXAMPLES.iter().filter(|example| example.dir != RUST) {
        let staged = examples.join(example.dir);
        Program::new("cp")
            .args(["--recursive", "--no-target-directory", "--"])
            .args([&examples_of(workspace).join(example.dir), &staged])
            .run()?;
        python(&staged)?;
        node(&staged)?;
    }
    Ok(())
}

/// Installs `requirements.txt` into `.fn-packages`, where `fn deploy` would, and takes the list away, so that it does not.
fn python(example: &Path) -> Result<()> {
    let requirements = example.join("requirements.txt");
    if !requirements.exists() {
        return Ok(());
    }
    Program::new("/usr/bin/python3")
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-compile",
            "--only-binary=:all:",
            "--target",
        ])
        .args([&example.join(".fn-packages")])
        .args([Path::new("--requirement"), &requirements])
        .run()?;
    Ok(std::fs::remove_file(requirements)?)
}

/// Installs the dependencies of `package.json` into `node_modules`, and takes the list away.
fn node(example: &Path) -> Result<()> {
    let manifest = example.join("package.json");
    if !manifest.exists() {
        return Ok(());
    }
    Program::new("npm")
        .args([
            "install",
            "--silent",
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
            "--no-package-lock",
        ])
        .dir(example)
        .run()?;
    let mut package: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&manifest)?)?;
    if let Some(fields) = package.as_object_mut() {
        fields.remove("dependencies");
    }
    Ok(std::fs::write(manifest, package.to_string())?)
}
