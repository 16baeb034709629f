//! The host's processes, as `/proc` shows them.
//!
//! A function's process is found from outside by a word in its arguments: a test makes the handler start one with a word that nothing
//! else on the machine has.

use std::collections::BTreeSet;
use std::path::PathBuf;

/// One process, named for ever by its pid and when it started (in clock ticks since boot).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Its pid.
    pub pid: i32,
    /// Its start.
    pub started: u64,
}

/// A word for a test's own processes: the name of the use, and the pid of the tests.
pub fn marker(name: &str) -> String {
    format!("fn-marker-{name}-{}", std::process::id())
}

/// The pids of all processes that have this word among their arguments.
pub fn marked(marker: &str) -> Vec<i32> {
    let all = all().into_iter().map(|(process, _)| process.pid);
    all.filter(|pid| {
        let words = std::fs::read(proc(*pid, "cmdline")).unwrap_or_default();
        words.split(|byte| *byte == 0).any(|word| word == marker.as_bytes())
    })
    .collect()
}

/// A line of `/proc/PID/status`: the text after its name, spaces trimmed. `None` when the process is gone.
pub fn status(pid: i32, field: &str) -> Option<String> {
    field_of(&std::fs::read_to_string(proc(pid, "status")).ok()?, field)
}

/// The same line from a text in that format.
pub fn field_of(status: &str, field: &str) -> Option<String> {
    let line = status
        .lines()
        .find(|line| line.strip_prefix(field).is_some_and(|rest| rest.starts_with(':')))?;
    Some(line[field.len() + 1..].trim().to_owned())
}

/// The process and everything below it.
pub fn family(pid: i32) -> BTreeSet<Process> {
    let all = all();
    let mut pids = BTreeSet::from([pid]);
    loop {
        let before = pids.len();
        let children: Vec<_> = all
            .iter()
            .filter(|(_, parent)| pids.contains(parent))
            .map(|(child, _)| child.pid)
            .collect();
        pids.extend(children);
        if pids.len() == before {
            break;
        }
    }
    all.into_iter()
        .map(|(process, _)| process)
        .filter(|process| pids.contains(&process.pid))
        .collect()
}

/// Those of `processes` that still exist.
pub fn left(processes: &BTreeSet<Process>) -> Vec<Process> {
    all()
        .into_iter()
        .map(|(process, _)| process)
        .filter(|process| processes.contains(process))
        .collect()
}

fn proc(pid: i32, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{name}"))
}

/// Every process with its parent. A zombie counts as gone: it runs nothing.
fn all() -> Vec<(Process, i32)> {
    let entries = std::fs::read_dir("/proc").expect("/proc can be listed");
    let pids = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().parse::<i32>().is_ok());
    // A process may end between the listing and the reading; it is not there then.
    pids.filter_map(|entry| parse(&std::fs::read_to_string(entry.path().join("stat")).ok()?))
        .collect()
}

/// Reads `/proc/PID/stat` (proc(5)). The name in parentheses may hold anything, so the fields are counted from its end.
fn parse(stat: &str) -> Option<(Process, i32)> {
    let (pid, rest) = stat.split_once(" (")?;
    let fields: Vec<_> = rest.rsplit_once(") ")?.1.split(' ').collect();
    let process = Process {
        pid: pid.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
    };
    (*fields.first()? != "Z").then_some((process, fields.get(1)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_find_ourselves() {
        let me = i32::try_from(std::process::id()).unwrap();
        let family = family(me);
        assert!(family.iter().any(|process| process.pid == me));
        assert_eq!(left(&family).iter().filter(|process| process.pid == me).count(), 1);
        assert_eq!(status(me, "Pid").as_deref(), Some(me.to_string().as_str()));
        assert_eq!(status(me, "NoSuchField"), None);
    }

    #[test]
    fn names_are_no_trap_and_zombies_are_gone() {
        let fields = " 7 ".to_owned() + &"0 ".repeat(17) + "12345 0";
        assert_eq!(
            parse(&format!("42 (a) S (b)) S{fields}")),
            Some((
                Process {
                    pid: 42,
                    started: 12345
                },
                7
            ))
        );
        assert_eq!(parse(&format!("42 (a) Z{fields}")), None);
    }
}
