//! What a kill must not leave behind: processes, cgroups, mounts, files, the socket.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tests::processes::{self, Process};
use tests::{Place, Server, cgroups, program};

use super::ledger::{Ledger, Promise};
use super::patience::seen;
use super::victim::Kind;

/// What stood before a kill and may not outlive it.
#[derive(Debug)]
pub(super) struct Standing {
    processes: BTreeSet<Process>,
    /// Ends of the paths of cgroups, `GROUP/LEAF`. A server that is started again gives its leaves other names.
    groups: BTreeSet<PathBuf>,
    /// Mounts of the host below the place of the server.
    mounts: usize,
}

impl Standing {
    /// All that a server has.
    pub(super) fn of_server(server: &Server) -> Self {
        Self {
            processes: processes::family(server.pid()),
            groups: groups(server.cgroup_roots()),
            mounts: mounts(server.place()),
        }
    }

    /// What goes with one process below it.
    pub(super) fn of_victim(server: &Server, kind: Kind, victim: i32) -> Self {
        // The init of an instance goes when its worker does; of a cell the template goes alone.
        let top = match kind {
            Kind::Worker => processes::status(victim, "PPid").and_then(|pid| pid.parse().ok()),
            _ => None,
        };
        let processes = processes::family(top.unwrap_or(victim));
        let groups = match kind {
            Kind::Template => BTreeSet::new(),
            _ => processes.iter().filter_map(|one| leaf_of(one.pid)).collect(),
        };
        Self {
            processes,
            groups,
            mounts: mounts(server.place()),
        }
    }

    /// Waits until all of it is gone.
    pub(super) async fn is_gone(&self, server: &Server, ledger: &Ledger) {
        self.processes_end(ledger).await;
        if server.cgroup_roots().is_empty() {
            ledger.skip(Promise::Groups, "this server can make no cgroup");
        } else {
            let left = || -> Vec<_> {
                groups(server.cgroup_roots())
                    .intersection(&self.groups)
                    .cloned()
                    .collect()
            };
            let gone = seen(|| left().is_empty()).await;
            ledger.check(Promise::Groups, gone, || format!("{:?}", left()));
        }
        let now = mounts(server.place());
        ledger.check(Promise::Mounts, now <= self.mounts, || {
            format!("{now} mounts, {} before", self.mounts)
        });
    }

    /// After the end of the last server nothing at all is left.
    pub(super) async fn ended(&self, family: &BTreeSet<Process>, roots: &[PathBuf], place: &Place, ledger: &Ledger) {
        self.processes_end(ledger).await;
        ledger.check(Promise::Processes, processes::left(family).is_empty(), || {
            format!("{:?}", processes::left(family))
        });
        if !roots.is_empty() {
            let gone = seen(|| cgroups::of_functions(roots).is_empty()).await;
            ledger.check(Promise::Groups, gone, || format!("{:?}", cgroups::of_functions(roots)));
        }
        ledger.check(Promise::Mounts, mounts(place) == 0, || "after the end".to_owned());
        ledger.check(Promise::Ends, !place.admin_socket().exists(), || {
            "the admin socket is still there".to_owned()
        });
        let unfinished = names(&place.state().join("tmp"));
        ledger.check(Promise::Files, unfinished.is_empty(), || {
            format!("in tmp: {unfinished:?}")
        });
    }

    async fn processes_end(&self, ledger: &Ledger) {
        let gone = seen(|| processes::left(&self.processes).is_empty()).await;
        ledger.check(Promise::Processes, gone, || {
            let left = processes::left(&self.processes);
            let states = left.iter().map(|one| (one.pid, processes::status(one.pid, "State")));
            format!("{:?}", states.collect::<Vec<_>>())
        });
    }
}

/// After a start, with no deploy under way: what lies in the store is what revisions name, and what lies in `run` is what a server makes.
pub(super) async fn nothing_unnamed(server: &Server, ledger: &Ledger) {
    let state = server.place().state();
    let script = "import sqlite3, sys; print(*sorted(row[0] for row in sqlite3.connect(sys.argv[1]).execute('SELECT DISTINCT bundle FROM revisions')))";
    let database = state.join("fn.db");
    let said = program::run("python3", ["-c", script, &database.to_string_lossy()])
        .await
        .good();
    let named: BTreeSet<_> = said.stdout.split_whitespace().map(str::to_owned).collect();
    for kind in ["blobs", "layers"] {
        let there = names(&state.join(kind).join("sha256"));
        ledger.check(Promise::Files, there == named, || {
            let unnamed: Vec<_> = there.difference(&named).collect();
            let missing: Vec<_> = named.difference(&there).collect();
            format!("{kind}: {unnamed:?} belong to nothing, {missing:?} are missing")
        });
    }
    let run = names(&state.join("run"));
    let known = BTreeSet::from(["root".to_owned()]);
    ledger.check(Promise::Files, run.is_subset(&known), || format!("run holds {run:?}"));
    let unfinished = names(&state.join("tmp"));
    ledger.check(Promise::Files, unfinished.is_empty(), || {
        format!("in tmp: {unfinished:?}")
    });
}

fn names(dir: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// The leaves of functions below the roots of a server.
fn groups(roots: &[PathBuf]) -> BTreeSet<PathBuf> {
    let all = cgroups::of_functions(roots);
    all.iter().filter_map(|path| end_of(path)).collect()
}

/// The leaf that a process stands in; `None` when it stands in none of a function.
fn leaf_of(pid: i32) -> Option<PathBuf> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    text.lines()
        .filter_map(|line| line.splitn(3, ':').nth(2))
        .find_map(|path| end_of(Path::new(path)))
}

/// `GROUP/LEAF` of a path that ends so below a server's subtree, which is named `fn-` and eight digits.
fn end_of(path: &Path) -> Option<PathBuf> {
    let (leaf, group) = (path.file_name()?, path.parent()?);
    let subtree = group.parent()?.file_name()?.to_string_lossy();
    let is_one = subtree.len() == 11 && subtree.starts_with("fn-");
    is_one.then(|| Path::new(group.file_name().unwrap_or_default()).join(leaf))
}

/// The host's mounts below the directories of a server.
fn mounts(place: &Place) -> usize {
    let state = place.state();
    let below = state.parent().unwrap_or(&state).to_string_lossy().into_owned();
    let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    text.lines().filter(|line| line.contains(&below)).count()
}

#[test]
fn a_leaf_is_known_by_its_end() {
    let end = |path: &str| end_of(Path::new(path));
    let leaf = Some(PathBuf::from("cell-1646-8/s1646-9"));
    assert_eq!(end("/fn-a48ea335/cell-1646-8/s1646-9"), leaf);
    assert_eq!(end("/sys/fs/cgroup/pids/x/fn-a48ea335/cell-1646-8/s1646-9"), leaf);
    assert_eq!(end("/fn-a48ea335/supervisor"), None);
    assert_eq!(end("/"), None);
}
