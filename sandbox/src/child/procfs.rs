//! A fresh `/proc` for a pid namespace, with what leads out of it read-only or covered.

use std::path::Path;

use nix::mount::{MsFlags, mount};
use rustix::fs::CWD;

use crate::stage::{At, Stage, StageError};
use crate::sys::mounts::{Attributes, Reach, add_attributes};

/// Host-wide settings and controls: readable, never writable.
const READ_ONLY: &[&str] = &["sys", "irq", "bus", "fs", "sysrq-trigger"];
/// Files that tell of the host's kernel or of other users: covered by /dev/null.
const COVERED_FILES: &[&str] = &[
    "kcore",
    "keys",
    "key-users",
    "timer_list",
    "sched_debug",
    "latency_stats",
    "kallsyms",
    "kpagecount",
    "kpageflags",
];
/// The same for directories: covered by an empty one.
const COVERED_DIRS: &[&str] = &["acpi", "scsi", "driver"];
/// An empty read-only directory of the base root.
pub(crate) const EMPTY: &str = "/.fn/empty";

/// Mounts procfs at `at`. The old one must still be visible, else the kernel refuses (mount_too_revealing).
pub(crate) fn mount_fresh(at: &Path) -> Result<(), StageError> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), at, Some("proc"), flags, None::<&str>).at(Stage::Procfs)
}

/// Restricts the procfs at `at`. A file that this kernel lacks is passed over.
pub(crate) fn restrict(at: &Path) -> Result<(), StageError> {
    let locked = Attributes::READ_ONLY
        .and(Attributes::NO_SUID)
        .and(Attributes::NO_DEV)
        .and(Attributes::NO_EXEC);
    for name in READ_ONLY {
        let path = at.join(name);
        if bind(&path, &path)? {
            add_attributes(CWD, &path, locked, Reach::Mount).at(Stage::Procfs)?;
        }
    }
    for name in COVERED_FILES {
        bind(Path::new("/dev/null"), &at.join(name))?;
    }
    for name in COVERED_DIRS {
        bind(Path::new(EMPTY), &at.join(name))?;
    }
    Ok(())
}

/// `false` when there is nothing at `to`.
fn bind(from: &Path, to: &Path) -> Result<bool, StageError> {
    match mount(Some(from), to, None::<&str>, MsFlags::MS_BIND, None::<&str>) {
        Err(nix::Error::ENOENT) => Ok(false),
        other => other.map(|()| true).at(Stage::Procfs),
    }
}
