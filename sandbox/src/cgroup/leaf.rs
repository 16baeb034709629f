//! The group of one sandbox: made with its limits before any process of the sandbox exists, removed after the last.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::eventfd::{EfdFlags, EventFd};
use serde::{Deserialize, Serialize};

use super::{CgroupTree, Hierarchy, Version};
use crate::plan::{GroupName, Limits};

/// Period over which processor time is counted out.
const CPU_PERIOD_US: u64 = 100_000;
/// Bytes that are reclaimed between two looks whether to go on.
const RECLAIM_PIECE: u64 = 8 << 20;

/// Paths of one leaf in every hierarchy that has one. Any process of the server can read its accounts.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Leaf {
    memory: Option<Hierarchy>,
    cpu: Option<Hierarchy>,
    pids: Option<Hierarchy>,
    cpu_account: Option<Hierarchy>,
    freezer: Option<Hierarchy>,
}

/// What a process needs to be placed into a leaf.
pub(crate) struct Entrance {
    /// The directory to be born in (version 2).
    pub(crate) unified: Option<OwnedFd>,
    /// `tasks` files to write `0` to (version 1): the kernel compares the opener's user with the one who enters.
    pub(crate) tasks: Vec<File>,
}

impl Leaf {
    /// The paths of the leaf `name` in `group`; whether it exists is another matter.
    pub(crate) fn named(tree: &CgroupTree, group: &GroupName, name: &str) -> Self {
        let inside = |hierarchy: &Option<Hierarchy>| {
            hierarchy.as_ref().map(|h| Hierarchy {
                dir: h.dir.join(group.as_str()).join(name),
                version: h.version,
            })
        };
        Self {
            memory: inside(&tree.memory),
            cpu: inside(&tree.cpu),
            pids: inside(&tree.pids),
            cpu_account: inside(&tree.cpu_account),
            // Only the unified freezer: making another directory for each start is dear, and a sandbox can be stopped
            // in other ways where there is no such hierarchy.
            freezer: inside(&tree.freezer.clone().filter(|h| h.version == Version::V2)),
        }
    }

    /// Makes the leaf `name` in `group`, with its limits.
    ///
    /// # Errors
    /// The first directory or file that can't be made or written, with its path; what was made is removed again.
    pub(crate) fn create(
        tree: &CgroupTree,
        group: &GroupName,
        name: &str,
        limits: &Limits,
        own_pids: u32,
    ) -> Result<(Self, Entrance), LeafError> {
        let leaf = Self::named(tree, group, name);
        match leaf.make(limits, own_pids) {
            Ok(entrance) => Ok((leaf, entrance)),
            Err(source) => {
                leaf.remove();
                Err(source)
            }
        }
    }

    fn make(&self, limits: &Limits, own_pids: u32) -> Result<Entrance, LeafError> {
        for dir in self.dirs() {
            make_with_parent(dir)?;
        }
        if let Some(Hierarchy {
            dir,
            version: Version::V2,
        }) = &self.memory
        {
            write(dir, "memory.oom.group", 1u64)?;
            write_if_there(dir, "memory.swap.max", 0)?;
        }
        self.limit(limits, own_pids)?;
        self.entrance()
    }

    /// Sets the limits, of a new leaf or anew.
    ///
    /// # Errors
    /// The first file that can't be written.
    pub(crate) fn limit(&self, limits: &Limits, own_pids: u32) -> Result<(), LeafError> {
        if let Some(Hierarchy { dir, version }) = &self.memory {
            match version {
                Version::V2 => write(dir, "memory.max", limits.memory)?,
                Version::V1 => {
                    // Memory alone may never be allowed more than memory and swap together, not even for a moment.
                    if write(dir, "memory.limit_in_bytes", limits.memory).is_err() {
                        write_if_there(dir, "memory.memsw.limit_in_bytes", limits.memory)?;
                        write(dir, "memory.limit_in_bytes", limits.memory)?;
                    } else {
                        write_if_there(dir, "memory.memsw.limit_in_bytes", limits.memory)?;
                    }
                }
            }
        }
        if let Some(Hierarchy { dir, version }) = &self.cpu {
            let quota = u64::from(limits.cpu_millis) * CPU_PERIOD_US / 1000;
            match version {
                Version::V2 => write(dir, "cpu.max", format!("{quota} {CPU_PERIOD_US}"))?,
                Version::V1 => {
                    write(dir, "cpu.cfs_period_us", CPU_PERIOD_US)?;
                    write(dir, "cpu.cfs_quota_us", quota)?;
                }
            }
        }
        if let Some(Hierarchy { dir, .. }) = &self.pids {
            write(dir, "pids.max", u64::from(limits.pids) + u64::from(own_pids))?;
        }
        Ok(())
    }

    /// What leads into it, opened by whoever calls.
    ///
    /// # Errors
    /// The first file that can't be opened.
    pub(crate) fn entrance(&self) -> Result<Entrance, LeafError> {
        let mut entrance = Entrance {
            unified: None,
            tasks: Vec::with_capacity(4),
        };
        let mut legacy: Vec<PathBuf> = Vec::with_capacity(4);
        for hierarchy in self.hierarchies() {
            match hierarchy.version {
                Version::V2 if entrance.unified.is_none() => {
                    let dir = File::open(&hierarchy.dir).map_err(|source| failed(&hierarchy.dir, source))?;
                    entrance.unified = Some(dir.into());
                }
                Version::V2 => {}
                Version::V1 if legacy.contains(&hierarchy.dir) => {}
                Version::V1 => legacy.push(hierarchy.dir.clone()),
            }
        }
        for dir in legacy {
            let path = dir.join("tasks");
            let tasks = OpenOptions::new()
                .write(true)
                .open(&path)
                .map_err(|source| failed(&path, source))?;
            entrance.tasks.push(tasks);
        }
        Ok(entrance)
    }

    /// A descriptor that becomes readable when the leaf is out of memory; `None` where the kernel kills the whole
    /// leaf by itself (version 2) or nothing limits memory.
    ///
    /// # Errors
    /// When the event can't be asked for.
    pub(crate) fn out_of_memory_event(&self) -> Result<Option<OwnedFd>, LeafError> {
        let Some(Hierarchy {
            dir,
            version: Version::V1,
        }) = &self.memory
        else {
            return Ok(None);
        };
        let path = dir.join("memory.oom_control");
        let control = File::open(&path).map_err(|source| failed(&path, source))?;
        let event = EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
            .map_err(|errno| failed(&path, errno.into()))?;
        write(
            dir,
            "cgroup.event_control",
            format!("{} {}", event.as_fd().as_raw_fd(), control.as_raw_fd()),
        )?;
        Ok(Some(event.into()))
    }

    /// Memory in use and processes, at this moment.
    pub(crate) fn usage(&self) -> Usage {
        let memory = self.memory.as_ref().and_then(|h| {
            read(
                &h.dir,
                if h.version == Version::V2 {
                    "memory.current"
                } else {
                    "memory.usage_in_bytes"
                },
            )
        });
        let pids = self.pids.as_ref().and_then(|h| read(&h.dir, "pids.current"));
        Usage {
            memory_bytes: memory,
            memory_peak: self.memory_peak(),
            pids,
            cpu: self.cpu_time(),
        }
    }

    /// The most memory that was ever in use. Version 2 tells it since Linux 5.19.
    fn memory_peak(&self) -> Option<u64> {
        self.memory.as_ref().and_then(|h| {
            read(
                &h.dir,
                if h.version == Version::V2 {
                    "memory.peak"
                } else {
                    "memory.max_usage_in_bytes"
                },
            )
        })
    }

    fn cpu_time(&self) -> Option<Duration> {
        self.cpu_account.as_ref().and_then(|h| cpu_time(&h.dir, h.version))
    }

    /// What is to be known once all of it has ended.
    pub(crate) fn account(&self) -> Account {
        let memory = self.memory.as_ref();
        let v2 = memory.is_some_and(|h| h.version == Version::V2);
        let counted =
            |h: Option<&Hierarchy>, file: &str, key: &str| h.and_then(|h| keyed(&h.dir.join(file), key)).unwrap_or(0);
        Account {
            oom_kills: counted(
                memory,
                if v2 { "memory.events" } else { "memory.oom_control" },
                "oom_kill",
            ),
            pids_hits: counted(self.pids.as_ref(), "pids.events", "max"),
            memory_peak: self.memory_peak().unwrap_or(0),
            cpu: self.cpu_time().unwrap_or_default(),
        }
    }

    /// Stops everything in the leaf. `None` where this host can't.
    ///
    /// # Errors
    /// When the file can't be opened or written to.
    pub(crate) fn freeze(&self) -> Result<Option<Frozen>, LeafError> {
        let Some(Hierarchy { dir, .. }) = &self.freezer else {
            return Ok(None);
        };
        let path = dir.join("cgroup.freeze");
        let file = OpenOptions::new().write(true).open(&path);
        let frozen = file.and_then(|file| file.write_all_at(b"1", 0).map(|()| Frozen { file }));
        frozen.map(Some).map_err(|source| failed(&path, source))
    }

    /// Gives memory of the leaf back to the host: files are forgotten, the rest is written to swap, as far as there is any. Returns the bytes that
    /// it holds less; `None` where this host can't.
    ///
    /// It goes on while `go_on` says so, in pieces of 8 MiB in version 2 and in one in version 1, and may take as long as the disk
    /// takes. Version 2 allows no swap otherwise; meanwhile it allows as much as the leaf may hold in memory, which stays in swap until it is touched.
    ///
    /// # Errors
    /// The first file that can't be written to.
    pub(crate) fn reclaim(&self, go_on: &dyn Fn() -> bool) -> Result<Option<u64>, LeafError> {
        let Some(Hierarchy { dir, version }) = &self.memory else {
            return Ok(None);
        };
        let held = || self.usage().memory_bytes.unwrap_or(0);
        let before = held();
        match version {
            Version::V1 => {
                if go_on() {
                    write(dir, "memory.force_empty", 0)?;
                }
            }
            // It came with 5.19.
            Version::V2 if !dir.join("memory.reclaim").exists() => return Ok(None),
            Version::V2 => {
                write_if_there(dir, "memory.swap.max", read(dir, "memory.max").unwrap_or(0))?;
                let reclaimed = reclaim_in_pieces(dir, before, go_on);
                write_if_there(dir, "memory.swap.max", 0)?;
                reclaimed?;
            }
        }
        Ok(Some(before.saturating_sub(held())))
    }

    /// Kills everything in the leaf, where the kernel can do that in one step. A frozen leaf dies too.
    pub(crate) fn kill(&self) {
        if let Some(Hierarchy { dir, .. }) = &self.freezer {
            // Before 5.14 there is no such file; the kill of pid 1 does the same.
            let _absent = fs::write(dir.join("cgroup.kill"), "1");
        }
    }

    /// Removes the directories; `false` when one is still in use.
    pub(crate) fn remove(&self) -> bool {
        let mut gone = true;
        for dir in self.dirs() {
            match fs::remove_dir(dir) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => gone = false,
                _ => {}
            }
        }
        gone
    }

    /// Lets `user` place processes of his into it: version 2 asks for the right to write to the leaf and to what it has in common
    /// with where they come from, the group. Version 1 asks for files that he opened, see [`Leaf::entrance`].
    ///
    /// # Errors
    /// The first file that can't be given away.
    pub(crate) fn admit(&self, user: u32) -> Result<(), LeafError> {
        for hierarchy in self.hierarchies().filter(|h| h.version == Version::V2) {
            for dir in [Some(hierarchy.dir.as_path()), hierarchy.dir.parent()]
                .into_iter()
                .flatten()
            {
                let file = dir.join("cgroup.procs");
                std::os::unix::fs::chown(&file, Some(user), None).map_err(|source| failed(&file, source))?;
            }
        }
        Ok(())
    }

    /// Removes the directories of its group, which stay where another leaf stands in one.
    pub(crate) fn remove_group(&self) {
        for dir in self.dirs().into_iter().filter_map(Path::parent) {
            let _in_use = fs::remove_dir(dir);
        }
    }

    fn hierarchies(&self) -> impl Iterator<Item = &Hierarchy> {
        [&self.memory, &self.cpu, &self.pids, &self.cpu_account, &self.freezer]
            .into_iter()
            .flatten()
    }

    fn dirs(&self) -> Vec<&Path> {
        let mut dirs: Vec<&Path> = self.hierarchies().map(|h| h.dir.as_path()).collect();
        dirs.sort_unstable();
        dirs.dedup();
        dirs
    }
}

/// What stands still. It keeps a descriptor, so that continuing it takes nothing that could be lacking. Dropping this leaves it as it
/// is.
#[derive(Debug)]
pub struct Frozen {
    file: File,
}

impl Frozen {
    /// Continues it.
    ///
    /// # Errors
    /// When the kernel refuses that, as it does when the leaf is gone.
    pub fn thaw(self) -> io::Result<()> {
        self.file.write_all_at(b"0", 0)
    }
}

/// What a sandbox holds now; `None` where nothing counts it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes charged to the leaf.
    pub memory_bytes: Option<u64>,
    /// The most bytes that were ever charged to it.
    pub memory_peak: Option<u64>,
    /// Processes and threads, the one or two of ours included.
    pub pids: Option<u64>,
    /// Processor time since its start.
    pub cpu: Option<Duration>,
}

/// What a leaf has counted in its life; 0 where nothing counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) oom_kills: u64,
    pub(crate) pids_hits: u64,
    pub(crate) memory_peak: u64,
    pub(crate) cpu: Duration,
}

/// A file of a group that can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
pub(crate) struct LeafError {
    pub(crate) path: String,
    pub(crate) source: io::Error,
}

/// Asks for what a leaf of version 2 holds, until no more can be had.
fn reclaim_in_pieces(dir: &Path, held: u64, go_on: &dyn Fn() -> bool) -> Result<(), LeafError> {
    for _ in 0..=held / RECLAIM_PIECE {
        if !go_on() {
            break;
        }
        match write(dir, "memory.reclaim", RECLAIM_PIECE) {
            // Less than that could be had.
            Err(error) if error.source.kind() == io::ErrorKind::WouldBlock => break,
            other => other?,
        }
    }
    Ok(())
}

fn failed(path: &Path, source: io::Error) -> LeafError {
    LeafError {
        path: path.display().to_string(),
        source,
    }
}

/// Processor time of the group at `dir`.
fn cpu_time(dir: &Path, version: Version) -> Option<Duration> {
    match version {
        Version::V2 => keyed(&dir.join("cpu.stat"), "usage_usec").map(Duration::from_micros),
        Version::V1 => read(dir, "cpuacct.usage").map(Duration::from_nanos),
    }
}

fn make_dir(dir: &Path) -> Result<(), LeafError> {
    match fs::create_dir(dir) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(failed(dir, e)),
        _ => Ok(()),
    }
}

/// Makes the leaf, and its group when this is the group's first.
fn make_with_parent(dir: &Path) -> Result<(), LeafError> {
    match fs::create_dir(dir) {
        Ok(()) => return Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(failed(dir, e)),
    }
    let group = dir.parent().unwrap_or(dir);
    make_dir(group)?;
    // In version 2 a group passes on only the controllers that it was told to.
    let passed_on = fs::read_to_string(group.join("cgroup.controllers")).unwrap_or_default();
    for controller in passed_on
        .split_whitespace()
        .filter(|c| ["memory", "cpu", "pids"].contains(c))
    {
        write(group, "cgroup.subtree_control", format!("+{controller}"))?;
    }
    make_dir(dir)
}

fn write(dir: &Path, file: impl AsRef<OsStr>, value: impl ToString) -> Result<(), LeafError> {
    let path = dir.join(file.as_ref());
    // Opened without O_CREAT and O_TRUNC, which control files have no use for.
    OpenOptions::new()
        .write(true)
        .open(&path)
        .and_then(|mut file| file.write_all(value.to_string().as_bytes()))
        .map_err(|source| failed(&path, source))
}

/// For files that exist only where swap is accounted.
fn write_if_there(dir: &Path, file: &str, value: u64) -> Result<(), LeafError> {
    match write(dir, file, value) {
        Err(e) if e.source.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn read(dir: &Path, file: &str) -> Option<u64> {
    fs::read_to_string(dir.join(file)).ok()?.trim().parse().ok()
}

/// The number behind `key` in a file of `key value` lines.
fn keyed(path: &Path, key: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| {
        line.split_once(' ')
            .filter(|(name, _)| *name == key)?
            .1
            .trim()
            .parse()
            .ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keyed_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("memory.events");
        fs::write(&path, "low 0\noom 3\noom_kill 2\noom_group_kill 1\n").unwrap();
        assert_eq!(keyed(&path, "oom_kill"), Some(2));
        assert_eq!(keyed(&path, "max"), None);
        fs::write(&path, "oom_kill x\n").unwrap();
        assert_eq!(keyed(&path, "oom_kill"), None);
    }

    #[test]
    fn the_peak_of_memory_is_read_where_each_version_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let peak = |version| {
            let memory = Some(Hierarchy {
                dir: dir.path().into(),
                version,
            });
            let leaf = Leaf {
                memory,
                ..Leaf::default()
            };
            (leaf.usage().memory_peak, leaf.account().memory_peak)
        };
        assert_eq!((peak(Version::V1), peak(Version::V2)), ((None, 0), (None, 0)));
        fs::write(dir.path().join("memory.max_usage_in_bytes"), "7\n").unwrap();
        fs::write(dir.path().join("memory.peak"), "9\n").unwrap();
        assert_eq!((peak(Version::V1), peak(Version::V2)), ((Some(7), 7), (Some(9), 9)));
    }

    #[test]
    fn a_leaf_without_any_hierarchy_limits_and_counts_nothing() {
        let group = GroupName::new("g").unwrap();
        let limits = Limits {
            memory: 4 << 20,
            cpu_millis: 1000,
            pids: 1,
        };
        let (leaf, entrance) = Leaf::create(&CgroupTree::default(), &group, "l", &limits, 1).unwrap();
        assert!(entrance.unified.is_none() && entrance.tasks.is_empty());
        assert_eq!(leaf.usage(), Usage::default());
        assert_eq!(leaf.account(), Account::default());
        assert!(leaf.freeze().unwrap().is_none());
        assert!(leaf.remove());
    }

    #[test]
    fn a_failing_limit_names_its_file_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let memory = Some(Hierarchy {
            dir: dir.path().into(),
            version: Version::V1,
        });
        let tree = CgroupTree {
            memory,
            ..CgroupTree::default()
        };
        let limits = Limits {
            memory: 4 << 20,
            cpu_millis: 1000,
            pids: 1,
        };
        let refused = Leaf::create(&tree, &GroupName::new("g").unwrap(), "l", &limits, 1);
        let error = refused.err().unwrap().to_string();
        assert!(error.contains("g/l/memory.limit_in_bytes"), "{error}");
        assert!(!dir.path().join("g/l").exists());
    }
}
