//! What a server must not leave behind: processes and cgroups.
//!
//! While the server lives, `look` writes down every process below it by pid and start time, which together name a process for ever.
//! After its end none of them may exist. A cgroup that came into being after the start must be gone, and one that the start itself
//! made (root prepares a subtree, which only root can remove) must hold no process.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};

use super::poll;

const CGROUPS: &str = "/sys/fs/cgroup";

/// The kernel ends a pid namespace on its own time.
const TO_VANISH: Duration = Duration::from_secs(10);

/// One process, named by its pid and when it started (in clock ticks since boot).
type Process = (i32, u64);

pub(super) struct Watch {
    server: i32,
    seen: RefCell<BTreeSet<Process>>,
    groups_at_start: BTreeSet<PathBuf>,
}

impl Watch {
    /// Begins once the server is ready and before anything is deployed.
    pub(super) fn begin(server: i32) -> Result<Self> {
        let watch = Self {
            server,
            seen: RefCell::default(),
            groups_at_start: groups(Path::new(CGROUPS)),
        };
        watch.look()?;
        Ok(watch)
    }

    /// Takes every process that exists below the server now into account.
    pub(super) fn look(&self) -> Result<()> {
        let all = processes()?;
        let mut family = BTreeSet::from([self.server]);
        loop {
            let before = family.len();
            family.extend(
                all.iter()
                    .filter(|(_, parent, _)| family.contains(parent))
                    .map(|(pid, ..)| *pid)
                    .collect::<Vec<_>>(),
            );
            if family.len() == before {
                break;
            }
        }
        let mut seen = self.seen.borrow_mut();
        seen.extend(
            all.iter()
                .filter(|(pid, ..)| family.contains(pid))
                .map(|(pid, _, started)| (*pid, *started)),
        );
        Ok(())
    }

    /// Checks, after the server's end, that none of it is left.
    pub(super) fn nothing_left(&self) -> Result<()> {
        let mut left = (Vec::new(), Vec::new());
        let gone = poll::until("the end of every process and cgroup of the server", TO_VANISH, || {
            left = (self.processes_left()?, self.groups_left());
            Ok((left.0.is_empty() && left.1.is_empty()).then_some(()))
        });
        if gone.is_err() {
            bail!(
                "expected nothing to be left of the server, and seen: processes {:?}, cgroups {:?}",
                left.0,
                left.1
            );
        }
        Ok(())
    }

    fn processes_left(&self) -> Result<Vec<i32>> {
        let seen = self.seen.borrow();
        Ok(processes()?
            .into_iter()
            .filter(|(pid, _, started)| seen.contains(&(*pid, *started)))
            .map(|(pid, ..)| pid)
            .collect())
    }

    fn groups_left(&self) -> Vec<PathBuf> {
        let seen: BTreeSet<i32> = self.seen.borrow().iter().map(|(pid, _)| *pid).collect();
        groups(Path::new(CGROUPS))
            .into_iter()
            .filter(|group| !self.groups_at_start.contains(group) || holds_one_of(group, &seen))
            .filter(|group| group.exists())
            .collect()
    }
}

fn holds_one_of(group: &Path, pids: &BTreeSet<i32>) -> bool {
    let members = std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    members
        .lines()
        .any(|pid| pid.parse().is_ok_and(|pid| pids.contains(&pid)))
}

/// Every process as pid, parent and start time.
fn processes() -> Result<Vec<(i32, i32, u64)>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        // A process may end between the listing and the reading; it is not there then.
        if let Ok(stat) = std::fs::read_to_string(entry?.path().join("stat"))
            && let Some(process) = parse(&stat)
        {
            all.push(process);
        }
    }
    Ok(all)
}

/// Reads `/proc/PID/stat` (proc(5)). The name in parentheses may hold anything, so the fields are counted from its end. A zombie
/// counts as gone: it runs nothing, and its parent may be anybody.
fn parse(stat: &str) -> Option<(i32, i32, u64)> {
    let (pid, rest) = stat.split_once(" (")?;
    let fields: Vec<_> = rest.rsplit_once(") ")?.1.split(' ').collect();
    if *fields.first()? == "Z" {
        return None;
    }
    Some((
        pid.parse().ok()?,
        fields.get(1)?.parse().ok()?,
        fields.get(19)?.parse().ok()?,
    ))
}

/// How the groups of systemd's units end. Those come and go with the machine's own life, and systemd removes them.
const UNITS: &[&str] = &["service", "scope", "slice", "socket", "mount", "swap"];

/// Every cgroup directory below `dir` that is no unit of systemd, as far as we may look.
fn groups(dir: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut waiting = vec![dir.to_path_buf()];
    while let Some(dir) = waiting.pop() {
        let Ok(entries) = std::fs::read_dir(&dir) else { continue };
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                waiting.push(entry.path());
                let ending = entry
                    .path()
                    .extension()
                    .map(|ending| ending.to_string_lossy().into_owned());
                if ending.is_none_or(|ending| !UNITS.contains(&ending.as_str())) {
                    found.insert(entry.path());
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_is_no_trap() {
        let fields = "S 7 ".to_owned() + &"0 ".repeat(17) + "12345 0 0";
        assert_eq!(parse(&format!("42 (a) S (b)) {fields}")), Some((42, 7, 12345)));
    }

    #[test]
    fn a_zombie_is_gone() {
        let fields = "Z 7 ".to_owned() + &"0 ".repeat(17) + "12345 0 0";
        assert_eq!(parse(&format!("42 (a) {fields}")), None);
    }

    #[test]
    fn we_are_seen_ourselves() {
        let me = i32::try_from(std::process::id()).unwrap();
        let watch = Watch::begin(me).unwrap();
        assert!(watch.processes_left().unwrap().contains(&me));
    }
}
