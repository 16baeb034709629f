//! The ladder: where this server may set limits. Tried once at start, from the best rung down.
//!
//! 1. `--cgroup-root DIR`: a directory that somebody delegated.
//! 2. The group in which this process stands, when it is writable (a unit with `Delegate=yes`, a scope that
//!    [`super::scope`] asked for, or a start as root, which prepares it and gives it to the user). Where others stand in
//!    it too (a login's session), version 2 forbids limits below it; root then takes the top of the hierarchy instead.
//! 3. Nothing: the limits are missing, and [`Detection`] says for each why.

use std::path::{Path, PathBuf};
use std::{fs, io};

use nix::unistd::{Gid, Uid};

use super::mounts::{Mounted, parse};
use super::{CgroupTree, Hierarchy, SUPERVISOR, Version};

/// What was found, and what was tried.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Detection {
    /// What can be used.
    pub tree: CgroupTree,
    /// For each thing that can't, the reason.
    pub refusals: Vec<String>,
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// `--cgroup-root`: a directory below a cgroup mount; in a version 1 host its part below the mount point is looked
    /// for in every hierarchy.
    pub root: Option<&'a Path>,
    /// Name of the subtree: the same for the same state directory, so that the next start finds what this one left.
    pub name: &'a str,
    /// Who is to own the subtree; given at a start as root only.
    pub owner: Option<(Uid, Gid)>,
}

/// Reads `/proc` and prepares the subtree.
///
/// # Errors
/// When `/proc/self/mountinfo` or `/proc/self/cgroup` can't be read. All else becomes a refusal.
pub fn detect(request: &Request<'_>) -> io::Result<Detection> {
    Ok(prepare(&mounted()?, request))
}

fn mounted() -> io::Result<Vec<Mounted>> {
    Ok(parse(
        &fs::read_to_string("/proc/self/mountinfo")?,
        &fs::read_to_string("/proc/self/cgroup")?,
    ))
}

/// As [`detect`], and takes everything away again: for a look at the host without a server.
///
/// # Errors
/// As [`detect`].
pub fn look(request: &Request<'_>) -> io::Result<Detection> {
    let mounted = mounted()?;
    let bases = bases(&mounted, request);
    let before: Vec<Vec<String>> = bases.iter().map(|base| enabled(base)).collect();
    let detection = prepare(&mounted, request);
    for ((hierarchy, base), before) in mounted.iter().zip(&bases).zip(&before) {
        let dir = base.join(request.name);
        // Version 1 groups were never entered.
        if hierarchy.version == Version::V2 {
            // A group that passes controllers on takes no process back.
            disable(&dir, &[]);
            disable(base, before);
            let _stood_there = fs::write(hierarchy.own.join("cgroup.procs"), "0");
            let _not_entered = fs::remove_dir(dir.join(SUPERVISOR));
        }
        let _not_made = fs::remove_dir(dir);
    }
    Ok(detection)
}

/// The controllers that the children of `dir` have.
fn enabled(dir: &Path) -> Vec<String> {
    let text = fs::read_to_string(dir.join("cgroup.subtree_control")).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

/// Takes from the children of `dir` all controllers but `kept`.
fn disable(dir: &Path, kept: &[String]) {
    for name in enabled(dir).iter().filter(|name| !kept.contains(name)) {
        // One that somebody else uses by now stays.
        let _in_use = fs::write(dir.join("cgroup.subtree_control"), format!("-{name}"));
    }
}

/// Makes the subtree in every hierarchy that allows it.
fn prepare(mounted: &[Mounted], request: &Request<'_>) -> Detection {
    let mut found = Detection::default();
    if mounted.is_empty() {
        found
            .refusals
            .push("no cgroup hierarchy is mounted in which this process stands".into());
    }
    if let Some(root) = request.root
        && below(mounted, root).is_none()
    {
        found.refusals.push(format!(
            "--cgroup-root {} lies below no mounted cgroup hierarchy",
            root.display()
        ));
    }
    for (hierarchy, base) in mounted.iter().zip(bases(mounted, request)) {
        match hierarchy.version {
            Version::V2 => unified(&base, request, &mut found),
            Version::V1 => legacy(hierarchy, &base, request, &mut found),
        }
    }
    found
}

/// The part of `root` below the hierarchy's mount point in which it lies.
fn below<'a>(mounted: &[Mounted], root: &'a Path) -> Option<&'a Path> {
    mounted.iter().find_map(|m| root.strip_prefix(&m.point).ok())
}

/// Where the subtree is made, for each hierarchy.
fn bases(mounted: &[Mounted], request: &Request<'_>) -> Vec<PathBuf> {
    let below = request.root.and_then(|root| below(mounted, root));
    let base = |hierarchy: &Mounted| match below {
        Some(below) => hierarchy.point.join(below),
        // The group at the top alone may hold processes and pass controllers on (cgroups(7), "no internal processes").
        None if request.owner.is_some() && hierarchy.version == Version::V2 && is_shared(&hierarchy.own) => {
            hierarchy.point.clone()
        }
        None => hierarchy.own.clone(),
    };
    mounted.iter().map(base).collect()
}

/// Whether another process than this one stands in `dir`.
pub(super) fn is_shared(dir: &Path) -> bool {
    let own = std::process::id().to_string();
    fs::read_to_string(dir.join("cgroup.procs")).is_ok_and(|pids| pids.lines().any(|pid| pid != own))
}

fn legacy(hierarchy: &Mounted, base: &Path, request: &Request<'_>, found: &mut Detection) {
    let has = |name: &str| hierarchy.controllers.iter().any(|c| c == name);
    if !["memory", "cpu", "cpuacct", "pids", "freezer"]
        .iter()
        .any(|name| has(name))
    {
        return;
    }
    let dir = base.join(request.name);
    if let Err(source) = make(&dir, request.owner, &["tasks", "cgroup.procs"]) {
        found.refusals.push(format!("{}: {source}", dir.display()));
        return;
    }
    let usable = Hierarchy {
        dir,
        version: Version::V1,
    };
    let tree = &mut found.tree;
    for (name, slot) in [
        ("memory", &mut tree.memory),
        ("cpu", &mut tree.cpu),
        ("pids", &mut tree.pids),
        ("cpuacct", &mut tree.cpu_account),
        ("freezer", &mut tree.freezer),
    ] {
        // A controller that the unified hierarchy gave already stays there; the unified freezer is the better one too.
        if has(name) && slot.is_none() {
            *slot = Some(usable.clone());
        }
    }
}

fn unified(base: &Path, request: &Request<'_>, found: &mut Detection) {
    let dir = base.join(request.name);
    let files = ["cgroup.procs", "cgroup.subtree_control", "cgroup.threads"];
    let supervisor = dir.join(SUPERVISOR);
    let entered = make(&dir, request.owner, &files)
        .and_then(|()| make(&supervisor, request.owner, &files))
        .and_then(|()| fs::write(supervisor.join("cgroup.procs"), "0"));
    if let Err(source) = entered {
        let _not_made = fs::remove_dir(&supervisor).and_then(|()| fs::remove_dir(&dir));
        found.refusals.push(format!("{}: {source}", dir.display()));
        return;
    }
    let usable = Hierarchy {
        dir: dir.clone(),
        version: Version::V2,
    };
    let tree = &mut found.tree;
    for (name, slot) in [
        ("memory", &mut tree.memory),
        ("cpu", &mut tree.cpu),
        ("pids", &mut tree.pids),
    ] {
        // One at a time: a write of several is refused whole when one of them is.
        let enabled = enable(base, name).and_then(|()| enable(&dir, name));
        match enabled {
            Ok(()) => *slot = Some(usable.clone()),
            Err(Refusal::Absent) => {}
            Err(Refusal::Failed(path, source)) => {
                found.refusals.push(format!("+{name} in {}: {source}", path.display()));
            }
        }
    }
    tree.cpu_account = Some(usable.clone());
    tree.freezer = Some(usable);
}

enum Refusal {
    /// The hierarchy has no such controller: a hybrid host keeps it in version 1.
    Absent,
    /// The write failed.
    Failed(PathBuf, io::Error),
}

/// Enables `controller` for the children of `dir`.
fn enable(dir: &Path, controller: &str) -> Result<(), Refusal> {
    let there = fs::read_to_string(dir.join("cgroup.controllers")).unwrap_or_default();
    if !there.split_whitespace().any(|name| name == controller) {
        return Err(Refusal::Absent);
    }
    let path = dir.join("cgroup.subtree_control");
    if enabled(dir).iter().any(|name| name == controller) {
        return Ok(());
    }
    fs::write(&path, format!("+{controller}")).map_err(|source| Refusal::Failed(path, source))
}

/// Makes `dir` if need be and gives it, and the files by which processes and controllers are moved, to `owner`.
fn make(dir: &Path, owner: Option<(Uid, Gid)>, files: &[&str]) -> io::Result<()> {
    match fs::create_dir(dir) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    let Some((uid, gid)) = owner else { return Ok(()) };
    nix::unistd::chown(dir, Some(uid), Some(gid))?;
    for file in files {
        nix::unistd::chown(&dir.join(file), Some(uid), Some(gid))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory that looks like a hierarchy as far as files go. What the kernel adds by itself (files in new groups)
    /// is tested on the real one.
    fn fake(version: Version, controllers: &[&str]) -> (tempfile::TempDir, Mounted) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("cgroup.controllers"), controllers.join(" ")).unwrap();
        fs::write(dir.path().join("cgroup.subtree_control"), "").unwrap();
        let mounted = Mounted {
            point: dir.path().into(),
            version,
            controllers: controllers.iter().map(|c| (*c).to_owned()).collect(),
            own: dir.path().into(),
        };
        (dir, mounted)
    }

    fn request(root: Option<&Path>) -> Request<'_> {
        Request {
            root,
            name: "fn-test",
            owner: None,
        }
    }

    #[test]
    fn version_one_takes_each_controller_from_its_hierarchy() {
        let (memory, a) = fake(Version::V1, &["rw", "memory"]);
        let (cpu, b) = fake(Version::V1, &["cpu", "cpuacct"]);
        let (_other, c) = fake(Version::V1, &["net_cls"]);
        let found = prepare(&[a, b, c], &request(None));
        assert_eq!(found.tree.memory.as_ref().unwrap().dir, memory.path().join("fn-test"));
        assert_eq!(found.tree.cpu, found.tree.cpu_account);
        assert_eq!(found.tree.cpu.as_ref().unwrap().dir, cpu.path().join("fn-test"));
        assert_eq!(found.tree.missing(), ["pids"]);
        assert_eq!(found.refusals, Vec::<String>::new());
    }

    #[test]
    fn root_leaves_a_group_in_which_others_stand_too() {
        let (dir, mut mounted) = fake(Version::V2, &[]);
        mounted.own = dir.path().join("session");
        fs::create_dir(&mounted.own).unwrap();
        let owned = Request {
            owner: Some((nix::unistd::getuid(), nix::unistd::getgid())),
            ..request(None)
        };
        let mounted = [mounted];
        fs::write(dir.path().join("session/cgroup.procs"), std::process::id().to_string()).unwrap();
        assert_eq!(bases(&mounted, &owned), [dir.path().join("session")]);
        fs::write(dir.path().join("session/cgroup.procs"), "1\n2\n").unwrap();
        assert_eq!(bases(&mounted, &owned), [dir.path()]);
        assert_eq!(
            bases(&mounted, &request(None)),
            [dir.path().join("session")],
            "it is not ours"
        );
    }

    #[test]
    fn what_a_look_enabled_is_told_apart_from_what_was_enabled_before() {
        let (dir, _) = fake(Version::V2, &["memory", "pids"]);
        fs::write(dir.path().join("cgroup.subtree_control"), "memory pids").unwrap();
        disable(dir.path(), &["memory".into()]);
        assert_eq!(enabled(dir.path()), ["-pids"], "one write, of the one to be taken away");
    }

    #[test]
    fn a_hierarchy_that_is_not_ours_is_named() {
        let (dir, mut mounted) = fake(Version::V1, &["memory"]);
        mounted.own = dir.path().join("absent/deeper");
        let found = prepare(&[mounted], &request(None));
        assert_eq!(found.tree.missing(), ["memory", "cpu", "pids"]);
        assert!(
            found.refusals[0].contains("absent/deeper/fn-test"),
            "{:?}",
            found.refusals
        );
    }

    #[test]
    fn a_root_below_no_mount_is_named() {
        let found = prepare(&[], &request(Some(Path::new("/nowhere"))));
        assert!(
            found.refusals.iter().any(|r| r.contains("/nowhere")),
            "{:?}",
            found.refusals
        );
    }

    #[test]
    fn a_given_root_is_looked_for_in_every_hierarchy() {
        let (memory, a) = fake(Version::V1, &["memory"]);
        let (pids, b) = fake(Version::V1, &["pids"]);
        fs::create_dir_all(memory.path().join("mine")).unwrap();
        fs::create_dir_all(pids.path().join("mine")).unwrap();
        let root = memory.path().join("mine");
        let found = prepare(&[a, b], &request(Some(&root)));
        assert_eq!(found.tree.memory.unwrap().dir, memory.path().join("mine/fn-test"));
        assert_eq!(found.tree.pids.unwrap().dir, pids.path().join("mine/fn-test"));
    }
}
