//! What the kernel shows of the server from outside: its family of processes, their memory, and what must not grow.
//!
//! Everything is read as the caller's user. What that user may not read is counted and said, never guessed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Memory of the whole machine, in KiB.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// MemAvailable.
    pub(crate) available: u64,
    /// Slab, kernel stacks and page tables.
    pub(crate) kernel: u64,
    /// The part of the slab that can't be reclaimed.
    pub(crate) unreclaimable: u64,
}

/// One process; a pid is given away again, so its start belongs to its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Process {
    pid: i32,
    started: u64,
}

/// The private memory of one process, in KiB.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Private {
    /// Pages that only it has and that are as their file is.
    pub(crate) clean: u64,
    /// Pages that only it has and wrote to.
    pub(crate) dirty: u64,
}

/// A reader of `/proc`.
#[derive(Debug, Clone)]
pub(crate) struct Census {
    proc: PathBuf,
}

impl Default for Census {
    fn default() -> Self {
        Self {
            proc: PathBuf::from("/proc"),
        }
    }
}

impl Census {
    /// Memory of the machine now.
    pub(crate) fn memory(&self) -> Memory {
        let text = fs::read_to_string(self.proc.join("meminfo")).unwrap_or_default();
        let of = |name: &str| kib(&text, name).unwrap_or(0);
        Memory {
            available: of("MemAvailable"),
            kernel: of("Slab") + of("KernelStack") + of("PageTables"),
            unreclaimable: of("SUnreclaim"),
        }
    }

    /// The process `root` and everything below it, with what may be read of each one's memory.
    pub(crate) fn family(&self, root: i32) -> BTreeMap<Process, Option<Private>> {
        let all = self.processes();
        let mut family = vec![root];
        let mut at = 0;
        while at < family.len() {
            let parent = family[at];
            family.extend(all.iter().filter(|(_, of)| *of == parent).map(|(child, _)| child.pid));
            at += 1;
        }
        all.into_iter()
            .map(|(process, _)| process)
            .filter(|process| family.contains(&process.pid))
            .map(|process| (process, self.private(process)))
            .collect()
    }

    /// Counts of `root`, of the cgroups below `groups` and of the machine that a cycle must leave as they were, and what
    /// could not be read.
    pub(crate) fn counts(&self, root: Option<i32>, groups: &[PathBuf]) -> (Vec<(&'static str, u64)>, Vec<String>) {
        let mut counts = Vec::new();
        let mut unseen = Vec::new();
        match root {
            Some(root) => {
                let own = self.proc.join(root.to_string());
                counts.push(("processes of the server's family", self.family(root).len() as u64));
                match fs::read_dir(own.join("fd")) {
                    Ok(entries) => counts.push(("open files of the server", entries.count() as u64)),
                    Err(error) => unseen.push(format!("open files of the server: {error}")),
                }
                let spawners = self.processes().into_iter().filter(|(_, parent)| *parent == root);
                let holders = std::iter::once(root).chain(spawners.map(|(process, _)| process.pid));
                let mounts = holders.map(|pid| fs::read_to_string(self.proc.join(format!("{pid}/mountinfo"))));
                match mounts.collect::<Result<Vec<_>, _>>() {
                    Ok(texts) => counts.push((
                        "mounts of the server and its children",
                        texts.iter().map(|text| text.lines().count() as u64).sum(),
                    )),
                    Err(error) => unseen.push(format!("mounts of the server: {error}")),
                }
            }
            None => unseen.push("the server's processes, open files and mounts: its process is not known here".into()),
        }
        if groups.is_empty() {
            unseen.push("cgroups: the server does not say where it makes them".into());
        } else {
            counts.push(("cgroups of the server", groups.iter().map(|dir| directories(dir)).sum()));
        }
        counts.push(("unreclaimable slab of the machine, KiB", self.memory().unreclaimable));
        (counts, unseen)
    }

    fn processes(&self) -> Vec<(Process, i32)> {
        let Ok(entries) = fs::read_dir(&self.proc) else {
            return Vec::new();
        };
        // A process may end between the listing and the reading; it is not there then.
        let stat = |path: &Path| parse(&fs::read_to_string(path.join("stat")).ok()?);
        entries
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().parse::<i32>().is_ok())
            .filter_map(|entry| stat(&entry.path()))
            .collect()
    }

    fn private(&self, process: Process) -> Option<Private> {
        let text = fs::read_to_string(self.proc.join(format!("{}/smaps_rollup", process.pid))).ok()?;
        Some(Private {
            clean: kib(&text, "Private_Clean")?,
            dirty: kib(&text, "Private_Dirty")?,
        })
    }
}

/// Reads `/proc/PID/stat` (proc(5)). The name in parentheses may hold anything, so the fields are counted from its end.
fn parse(stat: &str) -> Option<(Process, i32)> {
    let (pid, rest) = stat.split_once(" (")?;
    let fields: Vec<&str> = rest.rsplit_once(") ")?.1.split(' ').collect();
    let process = Process {
        pid: pid.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
    };
    (*fields.first()? != "Z").then_some((process, fields.get(1)?.parse().ok()?))
}

/// A line `Name:   123 kB`.
fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

/// All directories below `dir`; one that goes away meanwhile has none.
fn directories(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| 1 + directories(&entry.path()))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_family_and_what_may_be_read_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let stat = |pid: i32, state: &str, parent: i32| {
            put(
                &format!("{pid}/stat"),
                &format!("{pid} (a) b) {state} {parent}{} 77 0", " 0".repeat(17)),
            );
        };
        stat(10, "S", 1);
        stat(11, "S", 10);
        stat(12, "R", 11);
        stat(13, "Z", 10);
        stat(14, "S", 1);
        put("12/smaps_rollup", "x\nPrivate_Clean:  4 kB\nPrivate_Dirty:  120 kB\n");
        put(
            "meminfo",
            "MemAvailable:  1000 kB\nSlab: 10 kB\nKernelStack: 3 kB\nPageTables: 4 kB\nSUnreclaim: 7 kB\n",
        );
        for group in ["group/function/1", "group/supervisor"] {
            fs::create_dir_all(dir.path().join(group)).unwrap();
        }
        let census = Census {
            proc: dir.path().to_owned(),
        };
        let family: Vec<(i32, Option<Private>)> = census
            .family(10)
            .into_iter()
            .map(|(process, private)| (process.pid, private))
            .collect();
        let private = Private { clean: 4, dirty: 120 };
        assert_eq!(family, [(10, None), (11, None), (12, Some(private))]);
        assert_eq!(
            census.memory(),
            Memory {
                available: 1000,
                kernel: 17,
                unreclaimable: 7
            }
        );
        let (counts, unseen) = census.counts(Some(10), &[dir.path().join("group")]);
        assert!(counts.contains(&("cgroups of the server", 3)), "{counts:?}");
        assert_eq!(unseen.len(), 2, "neither fds nor mounts are there: {unseen:?}");
        assert!(census.counts(None, &[]).1[0].contains("not known"));
    }

    #[test]
    fn we_may_read_ourselves() {
        let me = i32::try_from(std::process::id()).unwrap();
        let family = Census::default().family(me);
        let own = family.iter().find(|(process, _)| process.pid == me).unwrap();
        assert!(own.1.unwrap().dirty > 0);
    }
}
