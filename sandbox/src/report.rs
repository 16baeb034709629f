//! What this host can enforce, said plainly: every limit and layer with its state and the exact fix for what is missing.

use std::path::Path;
use std::{fs, io, thread};

use nix::sys::prctl::set_no_new_privs;
use nix::unistd::{Uid, User};
use serde::{Deserialize, Serialize};

use crate::cgroup::detect::Detection;
use crate::filter::policy::Subject;
use crate::sys::{landlock, seccomp};
use crate::{CgroupTree, SubordinateIds, filter};

/// How far something is enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As promised.
    Ok,
    /// It works, with less between one function and the next.
    Weaker,
    /// It is not enforced.
    Missing,
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Stable name.
    pub name: String,
    /// How far it is enforced.
    pub state: State,
    /// What was found.
    pub found: String,
    /// What it is for.
    pub meaning: String,
    /// What to do; `None` when there is nothing to do.
    pub fix: Option<String>,
}

/// All rows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostReport {
    /// In the order in which they matter.
    pub findings: Vec<Finding>,
}

impl HostReport {
    /// The names of the limits that are not enforced. `--strict` refuses to serve when there is one.
    pub fn missing(&self) -> Vec<&str> {
        self.findings
            .iter()
            .filter(|f| f.state == State::Missing)
            .map(|f| f.name.as_str())
            .collect()
    }

    /// Adds a row.
    pub fn push(&mut self, name: &str, state: State, found: impl Into<String>, meaning: &str, fix: Option<String>) {
        let fix = fix.filter(|_| state != State::Ok);
        self.findings.push(Finding {
            name: name.into(),
            state,
            found: found.into(),
            meaning: meaning.into(),
            fix,
        });
    }
}

/// Looks at the host without starting anything.
pub fn host(detection: &Detection, subordinate: Option<SubordinateIds>) -> HostReport {
    let mut report = HostReport::default();
    kernel(&mut report);
    limits(&mut report, detection);
    ids(&mut report, subordinate);
    filters(&mut report);
    report
}

fn kernel(report: &mut HostReport) {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim();
    let version = parse_release(release);
    let state = if version >= (5, 14) { State::Ok } else { State::Missing };
    let fix = "boot a kernel of 5.14 or later".to_owned();
    report.push(
        "kernel",
        state,
        release,
        "namespaces, mounts and kills need Linux 5.14",
        Some(fix),
    );
    let state = if version >= (6, 6) { State::Ok } else { State::Weaker };
    let fix = "boot a kernel of 6.6 or later, or don't use rootfs = \"writable\" to replace directories".to_owned();
    let meaning = "user attributes on tmpfs let a writable rootfs replace whole directories";
    report.push("tmpfs attributes", state, release, meaning, Some(fix));
}

fn limits(report: &mut HostReport, detection: &Detection) {
    let tree = &detection.tree;
    let rows = [
        ("memory limit", &tree.memory, "a function can't take the host's memory"),
        ("cpu limit", &tree.cpu, "a function can't take the host's processors"),
        ("pids limit", &tree.pids, "a function can't fork without end"),
    ];
    let delegate = delegation(tree);
    for (name, hierarchy, meaning) in rows {
        match hierarchy {
            Some(h) => report.push(
                name,
                State::Ok,
                format!("{:?} at {}", h.version, h.dir.display()),
                meaning,
                None,
            ),
            None => {
                let found = refusals(detection, name);
                report.push(name, State::Missing, found, meaning, Some(delegate.clone()));
            }
        }
    }
    let unified = tree.unified().is_some();
    let state = if unified { State::Ok } else { State::Weaker };
    let found = if unified {
        "cgroup.freeze and cgroup.kill"
    } else {
        "no unified hierarchy of ours"
    };
    report.push(
        "freeze",
        state,
        found,
        "an idle function can be stopped where it stands",
        Some(delegate),
    );
}

/// What stood in the way of a limit: the refusals that name its controller, all of them when none does.
fn refusals(detection: &Detection, limit: &str) -> String {
    let controller = limit.split(' ').next().unwrap_or(limit);
    let named: Vec<&str> = detection
        .refusals
        .iter()
        .filter(|refusal| refusal.contains(controller))
        .map(String::as_str)
        .collect();
    match (named.is_empty(), detection.refusals.is_empty()) {
        (false, _) => named.join("; "),
        (true, false) => detection.refusals.join("; "),
        (true, true) => "no hierarchy has this controller".to_owned(),
    }
}

/// How this user gets groups of his own, and where he has some, the controllers that they lack.
fn delegation(tree: &CgroupTree) -> String {
    if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        if tree.unified().is_some() {
            return more_controllers();
        }
        return "systemd-run --user --scope -p Delegate=yes fn serve, from a login session of this user; or start it as root, \
                it becomes an unprivileged user by itself"
            .into();
    }
    let user = user_name();
    format!(
        "sudo sh -c 'for c in memory cpu cpuacct pids; do mkdir -p /sys/fs/cgroup/$c/fn-{user} && chown -R {user} \
         /sys/fs/cgroup/$c/fn-{user}; done' && fn serve --cgroup-root /sys/fs/cgroup/memory/fn-{user}; or start it as root, \
         it becomes an unprivileged user by itself"
    )
}

/// systemd hands further controllers to a user's manager. One that runs has been seen not to get them before it is started anew, which ends what
/// the user runs by it.
fn more_controllers() -> String {
    let dir = "/etc/systemd/system/user@.service.d";
    let manager = Uid::current();
    format!(
        "sudo sh -c 'mkdir -p {dir} && printf \"[Service]\\nDelegate=cpu cpuset io memory pids\\n\" > {dir}/delegate.conf && \
         systemctl daemon-reload && systemctl restart user@{manager}.service'"
    )
}

fn user_name() -> String {
    let uid = Uid::current();
    User::from_uid(uid)
        .ok()
        .flatten()
        .map_or_else(|| uid.to_string(), |user| user.name)
}

fn ids(report: &mut HostReport, subordinate: Option<SubordinateIds>) {
    let user = user_name();
    let meaning = "functions of different owners have different user ids of the host";
    match subordinate {
        Some(ids) => {
            report.push(
                "subordinate ids",
                State::Ok,
                format!("{} from {}", ids.count, ids.uid),
                meaning,
                None,
            );
        }
        None => {
            let fix = format!(
                "apt-get install uidmap && usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}"
            );
            let found = format!("none for {user}, or newuidmap is not installed");
            report.push("subordinate ids", State::Weaker, found, meaning, Some(fix));
        }
    }
    let groups = nix::unistd::getgroups().map_or(0, |groups| {
        groups.iter().filter(|g| **g != nix::unistd::getgid()).count()
    });
    let state = if groups == 0 || subordinate.is_some() {
        State::Ok
    } else {
        State::Weaker
    };
    let fix = "give the user subordinate ids: without them its supplementary groups can't be dropped".to_owned();
    let meaning = "functions hold none of the user's supplementary groups";
    report.push(
        "supplementary groups",
        state,
        format!("{groups} beside the own one"),
        meaning,
        Some(fix),
    );
}

fn filters(report: &mut HostReport) {
    let actions = fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default();
    let state = if actions.contains("errno") {
        State::Ok
    } else {
        State::Missing
    };
    let fix = "boot a kernel with CONFIG_SECCOMP_FILTER".to_owned();
    report.push(
        "seccomp",
        state,
        actions.trim(),
        "only known system calls reach the kernel",
        Some(fix),
    );
    let (state, found) = match tells_of_calls() {
        Ok(true) => (State::Ok, "told by the filter".to_owned()),
        Ok(false) => (
            State::Weaker,
            "not told: servers are tried until they answer".to_owned(),
        ),
        Err(error) => (State::Weaker, format!("not tried: {error}")),
    };
    let fix = "boot a kernel with seccomp's user notification; inside a container, run it without a runtime that \
               intercepts system calls (LXD does)"
        .to_owned();
    let meaning = "a server of a function is called the moment it listens";
    report.push("listen calls", state, found, meaning, Some(fix));
    let lsm = fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    let abi = landlock_abi();
    let state = if abi >= 6 { State::Ok } else { State::Weaker };
    let found = if abi > 0 {
        format!("ABI {abi}")
    } else {
        format!("not there (lsm: {})", lsm.trim())
    };
    let fix = "boot a kernel of 6.12 or later with landlock among lsm=".to_owned();
    let meaning = "a second wall around files, abstract sockets and signals";
    report.push("landlock", state, found, meaning, Some(fix));
}

/// Whether a filter can tell of calls here. Tried in a thread, which is under it alone and ends with that.
fn tells_of_calls() -> io::Result<bool> {
    let tried = thread::Builder::new().spawn(|| {
        set_no_new_privs()?;
        seccomp::attach_telling(&filter::program(Subject::Worker(crate::sighting::Watch::default())))
            .map(|calls| calls.is_some())
    })?;
    tried.join().unwrap_or_else(|_panic| Err(io::ErrorKind::Other.into()))
}

fn landlock_abi() -> i32 {
    landlock::abi()
}

/// `6.18.44-x` as `(6, 18)`.
fn parse_release(release: &str) -> (u32, u32) {
    let mut parts = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

/// The subordinate ids of the current user that can be used: a range in both files, and the helpers to map it.
pub fn subordinate_ids() -> Option<SubordinateIds> {
    let uid = Uid::current();
    let name = User::from_uid(uid).ok().flatten().map(|user| user.name);
    let range = |file: &str| {
        let text = fs::read_to_string(file).ok()?;
        find_range(&text, name.as_deref(), uid.as_raw())
    };
    let helpers = ["newuidmap", "newgidmap"].iter().all(|helper| {
        ["/usr/bin", "/bin", "/usr/sbin", "/sbin"]
            .iter()
            .any(|dir| Path::new(dir).join(helper).exists())
    });
    let (uids, gids) = (range("/etc/subuid")?, range("/etc/subgid")?);
    helpers.then_some(SubordinateIds {
        uid: uids.0,
        gid: gids.0,
        count: uids.1.min(gids.1),
    })
}

/// First and count of the first range of subuid(5) that belongs to the user.
fn find_range(text: &str, name: Option<&str>, uid: u32) -> Option<(u32, u32)> {
    let uid = uid.to_string();
    text.lines().find_map(|line| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        let (first, count) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let ours = Some(owner) == name || owner == uid;
        (ours && count > 0).then_some((first, count))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases() {
        assert_eq!(parse_release("6.18.44-fc"), (6, 18));
        assert_eq!(parse_release("5.4"), (5, 4));
        assert_eq!(parse_release(""), (0, 0));
    }

    #[test]
    fn ranges_by_name_or_number() {
        let text = "a:100000:65536\n# note\n1001:200000:10\nb:x:1\nc:1:0\n";
        assert_eq!(find_range(text, Some("a"), 7), Some((100_000, 65_536)));
        assert_eq!(find_range(text, None, 1001), Some((200_000, 10)));
        assert_eq!(find_range(text, Some("b"), 7), None);
        assert_eq!(find_range(text, Some("c"), 7), None);
    }

    #[test]
    fn the_fix_for_a_controller_is_one_line_that_a_shell_takes_whole() {
        let fix = more_controllers();
        assert!(fix.starts_with("sudo sh -c '") && fix.ends_with(".service'"), "{fix}");
        assert_eq!(fix.matches('\'').count(), 2, "{fix}");
        assert!(
            fix.contains(r#"printf "[Service]\nDelegate=cpu cpuset io memory pids\n" >"#),
            "{fix}"
        );
    }

    #[test]
    fn what_is_missing_has_a_fix_and_what_is_there_has_none() {
        let detection = Detection {
            refusals: vec!["/x: permission denied".into()],
            ..Detection::default()
        };
        let report = host(&detection, None);
        for finding in &report.findings {
            assert_eq!(finding.fix.is_none(), finding.state == State::Ok, "{finding:?}");
        }
        assert!(report.missing().contains(&"memory limit"));
        let memory = report.findings.iter().find(|f| f.name == "memory limit").unwrap();
        assert!(memory.found.contains("permission denied"));
    }
}
