//! Where this workspace and what cargo builds of it are, as cargo itself says.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::program::Program;

/// The workspace that the tool was called in.
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
    metadata: String,
}

#[derive(Deserialize)]
struct Places {
    workspace_root: PathBuf,
    target_directory: PathBuf,
}

/// One thing that cargo built and that can be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Executable {
    /// The directory of its package.
    pub(crate) package: PathBuf,
    /// The target's name: `fn`, `e2e`, or the crate's name for a library's tests.
    pub(crate) name: String,
    /// Cargo's word for the kind of target: `lib`, `bin`, `test`.
    pub(crate) kind: String,
    /// Whether it is a test program: `cargo test` builds the binaries that tests start as well.
    pub(crate) is_test: bool,
    pub(crate) path: PathBuf,
}

impl Workspace {
    /// Asks cargo about the workspace of the current directory.
    pub(crate) fn find() -> Result<Self> {
        let metadata = cargo()
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .output()?;
        let places: Places = serde_json::from_str(&metadata).context("cargo metadata is not what was expected")?;
        Ok(Self {
            root: places.workspace_root,
            target: places.target_directory,
            metadata,
        })
    }

    /// The directory of the workspace's Cargo.toml.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where cargo builds.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// What `cargo metadata --no-deps` printed.
    pub(crate) fn metadata(&self) -> &str {
        &self.metadata
    }

    /// Cargo, started at the root.
    pub(crate) fn cargo<A: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Program {
        cargo().dir(&self.root).args(args)
    }

    /// Runs a cargo command that builds, shows its progress, and returns what can be run of what it built.
    ///
    /// What stands behind `--` is for the compiler.
    pub(crate) fn build(&self, args: &[&str]) -> Result<Vec<Executable>> {
        let mut built = Vec::new();
        let mut unreadable = None;
        let (own, compilers) = args.split_at(args.iter().position(|arg| *arg == "--").unwrap_or(args.len()));
        let command = self.cargo(own).args(["--message-format", "json-render-diagnostics"]);
        let command = command.args(compilers);
        let status = command.collect(|line| match executable(line) {
            Ok(found) => built.extend(found),
            Err(error) => unreadable = Some(error),
        })?;
        if !status.success() {
            bail!("`cargo {}` ended with {status}", args.join(" "));
        }
        match unreadable {
            Some(error) => Err(error),
            None => Ok(built),
        }
    }
}

fn cargo() -> Program {
    Program::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")))
}

#[derive(Deserialize)]
struct Message {
    reason: String,
    manifest_path: Option<PathBuf>,
    target: Option<Target>,
    executable: Option<PathBuf>,
    #[serde(default)]
    profile: Profile,
}

#[derive(Default, Deserialize)]
struct Profile {
    test: bool,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

/// Reads one line of cargo's message stream. `None` for messages about anything that can't be run.
fn executable(line: &str) -> Result<Option<Executable>> {
    let message: Message =
        serde_json::from_str(line).with_context(|| format!("cargo printed a line that is no message: {line}"))?;
    if message.reason != "compiler-artifact" {
        return Ok(None);
    }
    let (Some(path), Some(target), Some(manifest)) = (message.executable, message.target, message.manifest_path) else {
        return Ok(None);
    };
    Ok(Some(Executable {
        package: manifest.parent().map(Path::to_path_buf).unwrap_or_default(),
        name: target.name,
        kind: target.kind.into_iter().next().unwrap_or_default(),
        is_test: message.profile.test,
        path,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_artifact_that_runs_is_found() {
        let line = r#"{"reason":"compiler-artifact","package_id":"x","manifest_path":"/w/cli/Cargo.toml",
            "target":{"kind":["bin"],"name":"fn","src_path":"/w/cli/src/main.rs"},"profile":{"test":false},
            "executable":"/t/debug/fn"}"#;
        let found = executable(line).unwrap().unwrap();
        assert_eq!(found.package, Path::new("/w/cli"));
        assert_eq!((found.name.as_str(), found.kind.as_str()), ("fn", "bin"));
        assert_eq!(found.path, Path::new("/t/debug/fn"));
        assert!(!found.is_test);
        let tests = line.replace("\"test\":false", "\"test\":true");
        assert!(executable(&tests).unwrap().unwrap().is_test);
    }

    #[test]
    fn libraries_and_other_messages_are_passed_over() {
        let library = r#"{"reason":"compiler-artifact","manifest_path":"/w/Cargo.toml",
            "target":{"kind":["lib"],"name":"w"},"executable":null}"#;
        assert_eq!(executable(library).unwrap(), None);
        assert_eq!(
            executable(r#"{"reason":"build-finished","success":true}"#).unwrap(),
            None
        );
        assert!(executable("Compiling").is_err());
    }
}
