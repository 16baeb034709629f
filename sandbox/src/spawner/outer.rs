//! The first process of a spawner: makes the outer user namespace and, in it, the second process, which serves.
//!
//! It is started by exec, so it is single-threaded. The second process is pid 1 of an outer pid namespace and a child
//! of the *host* process (CLONE_PARENT), so the host can wait for it and the kernel ends it with the host. It executes
//! our binary again: only then does its memory belong to the outer namespace, and its children can write their own id
//! maps though they are not dumpable.

use std::ffi::CString;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::Command;

use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Gid, Pid, Uid, execve, setgroups, setresgid, setresuid};

use super::protocol::{Config, FromSpawner, SubordinateIds};
use crate::packet;
use crate::stage::{At, Stage, StageError};
use crate::sys::clone::{Side, clone3};

/// Namespaces of the second process beside the outer user and mount namespace. Not a cgroup namespace: its root would be
/// the group in which the server stands, and where the hierarchy is mounted with `nsdelegate`, as systemd does, nothing
/// may be born or moved beyond that root (ENOENT, cgroups(7)): no leaf lies below it. Each sandbox makes its own, in its
/// leaf.
const NAMESPACES: i32 = libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;

/// Does all of it; in the parent it returns when the second process runs.
pub(super) fn run(config: &Config, control: impl AsFd, entry: &str) -> Result<(), StageError> {
    let (uid, gid) = (Uid::current(), Gid::current());
    match config.subordinate {
        Some(ids) => map_range(ids, uid, gid)?,
        None => map_self(uid, gid)?,
    }
    let root = (Uid::from_raw(0), Gid::from_raw(0));
    if config.subordinate.is_some() {
        setgroups(&[]).at(Stage::IdMap)?;
    }
    setresgid(root.1, root.1, root.1).at(Stage::IdMap)?;
    setresuid(root.0, root.0, root.0).at(Stage::IdMap)?;
    match clone3(NAMESPACES | libc::CLONE_PARENT, None).at(Stage::OuterNamespaces)? {
        Side::Parent { pid, .. } => {
            packet::send(control.as_fd(), &FromSpawner::Started { pid }, &[]).at(Stage::Message)
        }
        Side::Child => {
            let text = |text: &str| {
                CString::new(text).map_err(|_| StageError {
                    stage: Stage::Exec,
                    errno: libc::EINVAL,
                })
            };
            let argv = [text("fn")?, text(entry)?, text(super::INNER)?];
            let environment: [CString; 0] = [];
            match execve(c"/proc/self/exe", &argv, &environment).at(Stage::Exec)? {}
        }
    }
}

/// With one id only, a process may write its own map.
fn map_self(uid: Uid, gid: Gid) -> Result<(), StageError> {
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS).at(Stage::UserNamespace)?;
    std::fs::write("/proc/self/setgroups", "deny").at(Stage::IdMap)?;
    std::fs::write("/proc/self/uid_map", format!("0 {uid} 1")).at(Stage::IdMap)?;
    std::fs::write("/proc/self/gid_map", format!("0 {gid} 1")).at(Stage::IdMap)
}

/// A range is written by newuidmap and newgidmap, which must be called from outside of the new namespace.
fn map_range(ids: SubordinateIds, uid: Uid, gid: Gid) -> Result<(), StageError> {
    let (mut go, mut wait) = std::io::pipe()
        .map(|(reader, writer)| (writer, reader))
        .at(Stage::IdMap)?;
    let helper = match clone3(0, None).at(Stage::IdMap)? {
        Side::Parent { pid, .. } => Pid::from_raw(pid),
        Side::Child => {
            drop(go);
            let target = std::os::unix::process::parent_id();
            let told = wait.read_exact(&mut [0]).is_ok();
            let mapped = told
                && map(target, "newuidmap", uid.as_raw(), ids.uid, ids.count)
                && map(target, "newgidmap", gid.as_raw(), ids.gid, ids.count);
            std::process::exit(i32::from(!mapped))
        }
    };
    drop(wait);
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS).at(Stage::UserNamespace)?;
    go.write_all(&[1]).at(Stage::IdMap)?;
    match waitpid(helper, None).at(Stage::IdMap)? {
        WaitStatus::Exited(_, 0) => Ok(()),
        _ => Err(StageError {
            stage: Stage::IdMap,
            errno: libc::EPERM,
        }),
    }
}

fn map(target: u32, program: &str, own: u32, first: u32, count: u32) -> bool {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that starts newuidmap and newgidmap"
    )]
    let mut command = Command::new(program);
    command.args([target, 0, own, 1, 1, first, count].map(|number| number.to_string()));
    command.env_clear().env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
    command.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spawner_sees_all_cgroups_that_its_server_sees() {
        assert_eq!(NAMESPACES & libc::CLONE_NEWCGROUP, 0);
    }
}
