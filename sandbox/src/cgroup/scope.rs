//! Asking the user's systemd for a group of our own: a login session's scope is not ours to split.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use super::Version;
use super::detect::is_shared;
use super::mounts::Mounted;

/// Set in the environment of the second start, so that there is no third.
pub const MARK: &str = "FN_SYSTEMD_SCOPE";
const SYSTEMD_RUN: &str = "/usr/bin/systemd-run";

/// Whether a scope would help: only the unified hierarchy is mounted, our own group is not writable or others stand in it
/// too (such a group passes no controllers on, see cgroups(7)), and the user's manager can be reached. `variable` reads the
/// environment.
pub fn would_help(mounted: &[Mounted], variable: impl Fn(&str) -> Option<String>) -> bool {
    let [only] = mounted else { return false };
    let manager = variable("XDG_RUNTIME_DIR").is_some_and(|dir| Path::new(&dir).join("systemd/private").exists());
    only.version == Version::V2
        && variable(MARK).is_none()
        && manager
        && Path::new(SYSTEMD_RUN).exists()
        && (is_shared(&only.own)
            || nix::unistd::access(&only.own.join("cgroup.subtree_control"), nix::unistd::AccessFlags::W_OK).is_err())
}

/// Replaces this process by itself inside a new scope with `Delegate=yes`. Returns only when that failed.
pub fn enter(arguments: impl Iterator<Item = std::ffi::OsString>) -> io::Error {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(source) => return source,
    };
    #[expect(clippy::disallowed_methods, reason = "the one place that starts systemd-run")]
    let mut command = Command::new(SYSTEMD_RUN);
    command.args(["--user", "--scope", "--quiet", "--collect", "-p", "Delegate=yes", "--"]);
    command.arg(program).args(arguments).env(MARK, "1").exec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(own: &Path) -> Mounted {
        Mounted {
            point: "/".into(),
            version: Version::V2,
            controllers: Vec::new(),
            own: own.into(),
        }
    }

    #[test]
    fn not_twice_not_without_a_manager_and_not_beside_version_one() {
        let runtime = tempfile::tempdir().unwrap();
        std::fs::create_dir(runtime.path().join("systemd")).unwrap();
        let dir = runtime.path().to_str().unwrap().to_owned();
        let variable = |name: &str| (name == "XDG_RUNTIME_DIR").then(|| dir.clone());
        assert!(
            !would_help(&[at(Path::new("/nowhere"))], variable),
            "no manager's socket"
        );
        std::fs::write(runtime.path().join("systemd/private"), "").unwrap();
        assert!(!would_help(&[at(Path::new("/nowhere"))], |name| (name == MARK)
            .then(|| "1".into())
            .or(variable(name))));
        assert!(!would_help(&[at(Path::new("/nowhere")), at(Path::new("/"))], variable));
        assert_eq!(
            would_help(&[at(Path::new("/nowhere"))], variable),
            Path::new(SYSTEMD_RUN).exists()
        );
    }

    #[test]
    fn a_group_of_our_own_is_good_enough_unless_others_stand_in_it() {
        let runtime = tempfile::tempdir().unwrap();
        std::fs::create_dir(runtime.path().join("systemd")).unwrap();
        std::fs::write(runtime.path().join("systemd/private"), "").unwrap();
        let dir = runtime.path().to_str().unwrap().to_owned();
        let variable = |name: &str| (name == "XDG_RUNTIME_DIR").then(|| dir.clone());
        let group = tempfile::tempdir().unwrap();
        std::fs::write(group.path().join("cgroup.subtree_control"), "").unwrap();
        let me = std::process::id();
        std::fs::write(group.path().join("cgroup.procs"), format!("{me}\n")).unwrap();
        assert!(!would_help(&[at(group.path())], variable), "we stand in it alone");
        // Process 1 is never one of ours.
        std::fs::write(group.path().join("cgroup.procs"), format!("1\n{me}\n")).unwrap();
        assert_eq!(
            would_help(&[at(group.path())], variable),
            Path::new(SYSTEMD_RUN).exists()
        );
    }
}
