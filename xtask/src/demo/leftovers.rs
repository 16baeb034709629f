//! What a server must not leave behind: processes and cgroups.
//!
//! While the server lives, `look` writes down every process below it by pid and start time, which together name a process for ever.
//! After its end none of them may exist, and no cgroup that was made for a function. The subtree that the server's start makes in
//! each hierarchy can be removed by whoever may write above it only, which after a start as root is us: so we do, and fail when
//! something still stands in it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::poll;

const CGROUPS: &str = "/sys/fs/cgroup";

/// The kernel ends a pid namespace on its own time.
const TO_VANISH: Duration = Duration::from_secs(10);

/// One process, named by its pid and when it started (in clock ticks since boot).
type Process = (i32, u64);

pub(super) struct Watch {
    server: i32,
    seen: RefCell<BTreeSet<Process>>,
    /// Name of the server's own group in every hierarchy, `fn-` and eight digits; `None` when it could make none.
    name: Option<String>,
    /// Groups of the server itself, made by its start.
    subtree: BTreeSet<PathBuf>,
}

impl Watch {
    /// Begins once the server is ready and before anything is deployed.
    pub(super) fn begin(server: i32, name: Option<String>) -> Result<Self> {
        let subtree = name.as_deref().map(groups_of).unwrap_or_default();
        let watch = Self {
            server,
            seen: RefCell::default(),
            name,
            subtree,
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
        // The longest path first, so that a group goes before the one it stands in.
        for group in self.subtree.iter().rev().filter(|group| group.exists()) {
            std::fs::remove_dir(group)
                .with_context(|| format!("expected the server's own cgroup to be empty: {}", group.display()))?;
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
        let now = self.name.as_deref().map(groups_of).unwrap_or_default();
        now.difference(&self.subtree).cloned().collect()
    }
}

/// Every process as pid, parent and start time.
fn processes() -> Result<Vec<(i32, i32, u64)>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().parse::<i32>().is_err() {
            continue;
        }
        // A process may end between the listing and the reading; it is not there then.
        if let Ok(stat) = std::fs::read_to_string(entry.path().join("stat"))
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

/// Every group that is called `name` or stands in one that is, as far as we may look.
fn groups_of(name: &str) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut waiting = vec![PathBuf::from(CGROUPS)];
    while let Some(dir) = waiting.pop() {
        let Ok(entries) = std::fs::read_dir(&dir) else { continue };
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                waiting.push(entry.path());
                if entry.path().iter().any(|part| part == name) {
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
        let watch = Watch::begin(me, None).unwrap();
        assert!(watch.processes_left().unwrap().contains(&me));
    }
}
