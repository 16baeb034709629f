//! Which interpreters this host has.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::Runtime;

/// The interpreters that functions can use here. Found once at start; an interpreter installed later is not seen.
#[derive(Debug, Clone)]
pub struct HostRuntimes {
    /// `/usr/bin/python3`.
    pub python: Result<Interpreter, Missing>,
    /// `/usr/bin/node`.
    pub node: Result<Interpreter, Missing>,
}

/// An interpreter that can run functions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interpreter {
    /// Where it is, on the host and in a sandbox alike.
    pub path: PathBuf,
    /// What it says its version is.
    pub version: Version,
}

/// Three numbers, such as 3.11.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32, pub u32);

/// Why functions of a runtime can't run on this host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Missing {
    /// There is no such program.
    #[error("{} is not installed", .path.display())]
    NotInstalled {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The program is there but doesn't tell its version.
    #[error("{} does not run: {reason}", .path.display())]
    Broken {
        /// Where it is.
        path: PathBuf,
        /// What it did instead.
        reason: String,
    },
    /// The program is older than the shim needs.
    #[error("{} is version {found}, but {needs} or later is needed", .path.display())]
    TooOld {
        /// Where it is.
        path: PathBuf,
        /// Its version.
        found: Version,
        /// The oldest one that works.
        needs: Version,
    },
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl Missing {
    /// What to do about it, as a full sentence.
    pub fn hint(&self) -> &'static str {
        match self {
            Missing::NotInstalled { path } | Missing::Broken { path, .. } | Missing::TooOld { path, .. } => {
                if path.ends_with("node") {
                    "Install Node 18 or later as /usr/bin/node, for example with the package `nodejs`."
                } else {
                    "Install Python 3.9 or later as /usr/bin/python3, for example with the package `python3`."
                }
            }
        }
    }
}

impl HostRuntimes {
    /// Asks the interpreters below `/usr/bin` for their versions. Takes the time of starting each once. Only what is
    /// below `/usr` counts, because that is what a sandbox sees of the host.
    pub fn find() -> HostRuntimes {
        HostRuntimes {
            python: find(Path::new(super::python::INTERPRETER), super::python::OLDEST),
            node: find(Path::new(super::node::INTERPRETER), super::node::OLDEST),
        }
    }

    /// The interpreter for a runtime. `stdio` needs none, and what `http`, `lambda` and `fdk` need nobody knows.
    ///
    /// # Errors
    /// Why there is none.
    pub fn interpreter(&self, runtime: Runtime) -> Result<Option<&Interpreter>, &Missing> {
        match runtime {
            Runtime::Python => self.python.as_ref().map(Some),
            Runtime::Node => self.node.as_ref().map(Some),
            Runtime::Stdio | Runtime::Http | Runtime::Lambda | Runtime::Fdk => Ok(None),
        }
    }
}

fn find(path: &Path, needs: Version) -> Result<Interpreter, Missing> {
    if !path.exists() {
        return Err(Missing::NotInstalled { path: path.to_owned() });
    }
    let broken = |reason: String| Missing::Broken {
        path: path.to_owned(),
        reason,
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "asks an interpreter of the host for its version; runs nothing of a function"
    )]
    let output = std::process::Command::new(path)
        .arg("--version")
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .map_err(|error| broken(error.to_string()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = parse(&text).ok_or_else(|| broken(format!("it answers {:?} to --version", text.trim())))?;
    if version < needs {
        return Err(Missing::TooOld {
            path: path.to_owned(),
            found: version,
            needs,
        });
    }
    Ok(Interpreter {
        path: path.to_owned(),
        version,
    })
}

/// Reads `Python 3.11.2`, `v20.20.2` and versions with a suffix, such as `3.13.0rc1`.
fn parse(text: &str) -> Option<Version> {
    let text = text.trim().trim_start_matches("Python ").trim_start_matches('v');
    let mut numbers = text.split('.').map(|part| {
        let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        part[..digits].parse().ok()
    });
    Some(Version(
        numbers.next()??,
        numbers.next()??,
        numbers.next().flatten().unwrap_or(0),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_the_interpreters_write_them() {
        for (text, version) in [
            ("Python 3.11.2\n", Some(Version(3, 11, 2))),
            ("v20.20.2\n", Some(Version(20, 20, 2))),
            ("Python 3.13.0rc1", Some(Version(3, 13, 0))),
            ("Python 3.14", Some(Version(3, 14, 0))),
            ("", None),
            ("Python", None),
            ("v", None),
        ] {
            assert_eq!(parse(text), version, "{text:?}");
        }
    }

    #[test]
    fn what_is_not_there_is_missing() {
        let path = Path::new("/usr/bin/no-such-interpreter");
        assert_eq!(
            find(path, Version(1, 0, 0)),
            Err(Missing::NotInstalled { path: path.to_owned() })
        );
    }

    #[test]
    fn an_old_interpreter_is_named_with_what_is_needed() {
        let error = find(Path::new("/usr/bin/python3"), Version(99, 0, 0)).unwrap_err();
        assert!(
            matches!(
                error,
                Missing::TooOld {
                    needs: Version(99, 0, 0),
                    ..
                }
            ),
            "{error}"
        );
    }

    #[test]
    fn a_program_without_a_version_is_broken() {
        let error = find(Path::new("/usr/bin/false"), Version(1, 0, 0)).unwrap_err();
        assert!(matches!(error, Missing::Broken { .. }), "{error}");
    }
}
