//! What one plan takes away beyond what no foreign code may do.
//!
//! Restrictions are part of how a slot is built: its worker attaches one filter, and that can't be replaced. So a plan with
//! restrictions has a slot of its own, and is neither bound to one that stands nor to a parked process. Slots of a cell, and the template in
//! it, are built with those of their plan.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::filter::denial::Denial;

/// See the module's head. By default nothing is taken away.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restrictions {
    /// System calls.
    pub denied: Vec<Denial>,
    /// Paths below which nothing can be written, as they are when the sandbox starts.
    pub read_only: Vec<InnerPath>,
    /// No file that foreign code can write can be executed or mapped as code, a file in memory (memfd_create(2)) included, which can't be
    /// made then. Memory without a file can be, as compilers in interpreters need it.
    pub no_exec: bool,
}

impl Restrictions {
    /// Whether nothing is taken away.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// All calls that are denied.
    pub(crate) fn denials(&self) -> Vec<Denial> {
        let mut all = self.denied.clone();
        if self.no_exec {
            all.push("group:memfd".parse().expect("the policy has the group"));
        }
        all
    }
}

/// The most bytes of a path.
const LONGEST: usize = 4000;
/// What is the platform's, and not writable anyway.
const NOT_BELOW: [&str; 3] = ["/proc", "/dev", "/.fn"];
/// The one place below those that foreign code can write to.
const SHARED_MEMORY: &str = "/dev/shm";

/// A path inside a sandbox: absolute, without `.`, `..` or `//`, not `/` itself, and none of the platform's own places.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InnerPath(String);

/// A path that can't be made read-only.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InnerPathError {
    /// It is relative, or not in its shortest form.
    #[error(
        "the path {0:?} is not absolute, or has an empty part, a '.' or a '..', or a NUL byte, or more than {LONGEST} bytes"
    )]
    Form(String),
    /// The root, whose own setting is `rootfs`.
    #[error("the path \"/\" can't be made read-only by itself; it is so with a read-only rootfs")]
    Root,
    /// In a place of the platform.
    #[error("the path {0:?} belongs to the platform; foreign code can't write to it anyway, or needs to")]
    Platform(String),
}

impl InnerPath {
    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for InnerPath {
    type Err = InnerPathError;

    fn from_str(path: &str) -> Result<Self, InnerPathError> {
        if path == "/" {
            return Err(InnerPathError::Root);
        }
        let parts = path.strip_prefix('/').map(|rest| rest.split('/'));
        let formed = path.len() <= LONGEST
            && !path.contains('\0')
            && parts.is_some_and(|mut parts| parts.all(|part| !matches!(part, "" | "." | "..")));
        if !formed {
            return Err(InnerPathError::Form(path.to_owned()));
        }
        let within = |place: &str| {
            path.strip_prefix(place)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if NOT_BELOW.into_iter().any(within) && !within(SHARED_MEMORY) {
            return Err(InnerPathError::Platform(path.to_owned()));
        }
        Ok(Self(path.to_owned()))
    }
}

impl TryFrom<String> for InnerPath {
    type Error = InnerPathError;
    fn try_from(path: String) -> Result<Self, InnerPathError> {
        path.parse()
    }
}

impl From<InnerPath> for String {
    fn from(path: InnerPath) -> Self {
        path.0
    }
}

impl fmt::Display for InnerPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_foreign_code_pass() {
        for path in [
            "/tmp",
            "/dev/shm",
            "/dev/shm/a",
            "/function/data",
            "/process",
            "/usr/lib",
        ] {
            assert_eq!(path.parse::<InnerPath>().unwrap().as_str(), path);
        }
    }

    #[test]
    fn paths_that_lead_elsewhere_are_refused() {
        for path in [
            "",
            "tmp",
            "./tmp",
            "//tmp",
            "/tmp/",
            "/tmp/../etc",
            "/./tmp",
            "/a//b",
            "/a\0b",
            "..",
        ] {
            let error = path.parse::<InnerPath>().unwrap_err();
            assert_eq!(error, InnerPathError::Form(path.to_owned()));
        }
        let long = format!("/{}", "a".repeat(LONGEST));
        assert!(matches!(long.parse::<InnerPath>(), Err(InnerPathError::Form(_))));
        assert_eq!("/".parse::<InnerPath>(), Err(InnerPathError::Root));
        for path in ["/proc", "/proc/self", "/dev", "/dev/null", "/.fn", "/.fn/layers"] {
            assert_eq!(
                path.parse::<InnerPath>(),
                Err(InnerPathError::Platform(path.to_owned()))
            );
        }
        assert!(serde_json::from_str::<InnerPath>("\"../a\"").is_err());
    }

    #[test]
    fn files_in_memory_go_with_the_right_to_execute() {
        let restrictions = Restrictions {
            no_exec: true,
            ..Restrictions::default()
        };
        assert!(!restrictions.is_empty());
        assert_eq!(restrictions.denials()[0].as_str(), "group:memfd");
        assert!(Restrictions::default().denials().is_empty());
    }
}
