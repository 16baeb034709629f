//! Limits and accounts: the cgroup subtree that a server owns, and the leaf that each sandbox stands in.
//!
//! ```text
//! <hierarchy>/<where we stand>/fn-1a2b3c4d/            the subtree, made once, named after the state directory
//!                              ├─ supervisor/           the server itself (v2 only)
//!                              └─ <group>/<leaf>/       one sandbox
//! ```
//!
//! Version 2 and version 1 hierarchies can stand beside each other; [`CgroupTree`] says for each controller where it is.
//! A limit that no hierarchy enforces is `None` there, is reported, and is never pretended.

pub mod detect;
pub(crate) mod leaf;
pub mod mounts;
pub mod scope;

use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::{Deserialize, Serialize};

/// Version of a hierarchy: the files have other names and other rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Version {
    /// One hierarchy for each controller.
    V1,
    /// The unified hierarchy.
    V2,
}

/// A directory in which groups can be made and which enforces something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hierarchy {
    /// The subtree of this server.
    pub dir: PathBuf,
    /// Its version.
    pub version: Version,
}

/// Where each controller can be used by this server; `None` where it can't.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupTree {
    /// Limit of memory, and OOM events.
    pub memory: Option<Hierarchy>,
    /// Limit of processor time.
    pub cpu: Option<Hierarchy>,
    /// Limit of processes.
    pub pids: Option<Hierarchy>,
    /// Account of processor time (in version 2 every group has one).
    pub cpu_account: Option<Hierarchy>,
    /// Freezing (in version 2 every group can).
    pub freezer: Option<Hierarchy>,
}

impl CgroupTree {
    /// The limits that nothing enforces here.
    pub fn missing(&self) -> Vec<&'static str> {
        [("memory", &self.memory), ("cpu", &self.cpu), ("pids", &self.pids)]
            .into_iter()
            .filter_map(|(name, hierarchy)| hierarchy.is_none().then_some(name))
            .collect()
    }

    /// Every directory once.
    pub(crate) fn dirs(&self) -> Vec<&Path> {
        let mut dirs: Vec<&Path> = [&self.memory, &self.cpu, &self.pids, &self.cpu_account, &self.freezer]
            .into_iter()
            .flatten()
            .map(|hierarchy| hierarchy.dir.as_path())
            .collect();
        dirs.sort_unstable();
        dirs.dedup();
        dirs
    }

    /// The unified hierarchy, when sandboxes can be born in it.
    pub(crate) fn unified(&self) -> Option<&Hierarchy> {
        [&self.memory, &self.freezer]
            .into_iter()
            .flatten()
            .find(|hierarchy| hierarchy.version == Version::V2)
    }

    /// Removes what an earlier run left: every group below the subtree but our own. Nothing lives there, as an earlier
    /// spawner takes its processes along.
    ///
    /// # Errors
    /// When a directory can't be read; groups that won't go are left and counted in the result.
    pub(crate) fn sweep(&self) -> io::Result<usize> {
        let mut left = 0;
        for dir in self.dirs() {
            for group in subdirectories(dir)? {
                if group.ends_with(SUPERVISOR) {
                    continue;
                }
                for leaf in subdirectories(&group)? {
                    left += usize::from(fs::remove_dir(&leaf).is_err());
                }
                left += usize::from(fs::remove_dir(&group).is_err());
            }
        }
        Ok(left)
    }
}

/// Where the server itself stands in the unified hierarchy: a group with controllers may not hold processes.
pub(crate) const SUPERVISOR: &str = "supervisor";

fn subdirectories(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}
