//! The root of one sandbox, restored from its snapshot: the base, the layers on it by overlayfs, and what is writable.
//!
//! The slot's mount namespace begins as a copy of the spawner's, whose root is the base already (see
//! `spawner::base`). Read-only, nothing has to be pivoted: fresh /proc, /tmp and /dev/shm go on top. With a writable
//! rootfs a new root is stacked over it, whose upper layer lives on the capped tmpfs, and pivoted to.

use std::os::fd::AsFd;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{Gid, Uid, chown, mkdir, pivot_root};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use super::procfs;
use crate::plan::{LayerName, Outlet, Rootfs, SlotPlan};
use crate::restrictions::{InnerPath, Restrictions};
use crate::stage::{At, Stage, StageError};
use crate::switches::{Layer, Switches};
use crate::sys::mounts::{Attributes, Reach, add_attributes};

/// Where the base keeps the store's layers until the slot is bound.
pub(crate) const LAYERS: &str = "/.fn/layers";
/// Where the capped tmpfs of a writable rootfs is mounted until the slot is bound.
pub(crate) const UPPER: &str = "/.fn/upper";
/// Where a new root is stacked.
pub(crate) const NEW_ROOT: &str = "/.fn/root";
/// Where the code is.
pub(crate) const FUNCTION: &str = "/function";
/// The part of the code that is shown at [`OPT`] as well, if there is one.
const OPT_OF_THE_FUNCTION: &str = "/function/.fn-opt";
/// Where programs look for what was added to them.
const OPT: &str = "/opt";

/// What every `/etc/hosts` begins with.
pub(crate) const HOSTS: &str = "127.0.0.1 localhost\n::1 localhost\n";
/// Where something is mounted for a moment.
const ASIDE: &str = "/.fn/aside";

pub(super) const NO_DEVICES: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV);

/// Builds all that does not depend on the code. `worker` is the id of the foreign code in the outer namespace.
pub(crate) fn prepare(plan: &SlotPlan, worker: u32, switches: Switches) -> Result<(), StageError> {
    match plan.rootfs {
        Rootfs::ReadOnly => {
            procfs::mount_fresh(Path::new("/proc"))?;
            if switches.on(Layer::ProcMasks) {
                procfs::restrict(Path::new("/proc"))?;
            }
            memory(plan.tmp_bytes, &plan.restrictions)
        }
        Rootfs::Writable => stack(plan, worker),
    }
}

/// Mounts what foreign code can write to under a read-only root: /tmp and /dev/shm.
pub(super) fn memory(bytes: u64, restrictions: &Restrictions) -> Result<(), StageError> {
    let flags = match restrictions.no_exec {
        true => NO_DEVICES | MsFlags::MS_NOEXEC,
        false => NO_DEVICES,
    };
    capped("/tmp", bytes, flags)?;
    capped("/dev/shm", bytes, flags)
}

/// Makes each of `paths`, with what is mounted below it, read-only. Whoever does this sees what foreign code will see, and follows no
/// link, as those of a layer are the function's own.
pub(super) fn make_read_only(paths: &[InnerPath]) -> Result<(), StageError> {
    for path in paths {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let at = openat2(CWD, path.as_str(), flags, Mode::empty(), ResolveFlags::NO_SYMLINKS).at(Stage::ReadOnly)?;
        // Recursive: a part without what is mounted below it can't be taken out of mounts that came from another namespace.
        let copied = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_RECURSIVE
            | OpenTreeFlags::AT_EMPTY_PATH;
        let tree = open_tree(&at, "", copied).at(Stage::ReadOnly)?;
        add_attributes(tree.as_fd(), Path::new(""), Attributes::READ_ONLY, Reach::Tree).at(Stage::ReadOnly)?;
        let by_descriptor = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        move_mount(&tree, "", &at, "", by_descriptor).at(Stage::ReadOnly)?;
    }
    Ok(())
}

/// Changes how much a slot's `/tmp` and `/dev/shm` hold.
pub(crate) fn resize(bytes: u64) -> Result<(), StageError> {
    for at in ["/tmp", "/dev/shm"] {
        let flags = MsFlags::MS_REMOUNT | NO_DEVICES;
        mount(None::<&str>, at, None::<&str>, flags, Some(capacity(bytes).as_str())).at(Stage::Tmpfs)?;
    }
    Ok(())
}

/// Puts an empty directory over the store, for as long as a program runs in a slot that is not bound.
pub(crate) fn cover_store() -> Result<(), StageError> {
    mount(
        Some(procfs::EMPTY),
        LAYERS,
        None::<&str>,
        MsFlags::MS_BIND,
        None::<&str>,
    )
    .at(Stage::Layers)
}

/// Takes that away again.
pub(crate) fn uncover_store() -> Result<(), StageError> {
    umount2(LAYERS, MntFlags::MNT_DETACH).at(Stage::Layers)
}

/// Shows the layers at `/function`, what they have for `/opt` there, and takes the store away.
pub(crate) fn bind(rootfs: Rootfs, layers: &[LayerName]) -> Result<(), StageError> {
    if !layers.is_empty() {
        let mut options = String::from("userxattr,lowerdir=");
        for layer in layers {
            options.extend([LAYERS, "/", layer.as_str(), ":"]);
        }
        // Without an upper directory overlayfs wants two lower ones.
        options.push_str(procfs::EMPTY);
        let mut flags = NO_DEVICES;
        match rootfs {
            Rootfs::ReadOnly => flags |= MsFlags::MS_RDONLY,
            Rootfs::Writable => options.extend([",upperdir=", UPPER, "/function,workdir=", UPPER, "/function.work"]),
        }
        mount(
            Some("overlay"),
            FUNCTION,
            Some("overlay"),
            flags,
            Some(options.as_str()),
        )
        .at(Stage::Layers)?;
        match mount(
            Some(OPT_OF_THE_FUNCTION),
            OPT,
            None::<&str>,
            MsFlags::MS_BIND,
            None::<&str>,
        ) {
            // Most have none, or a file that means something else.
            Err(nix::Error::ENOENT | nix::Error::ENOTDIR) => {}
            other => other.at(Stage::Layers)?,
        }
    }
    // Other functions' code must not be reachable, whatever the modes of its files.
    umount2(LAYERS, MntFlags::MNT_DETACH).at(Stage::Layers)?;
    if rootfs == Rootfs::Writable {
        umount2(UPPER, MntFlags::MNT_DETACH).at(Stage::Layers)?;
    }
    Ok(())
}

/// Puts a file of its own over `/etc/hosts`, read-only, in which the outlets are named beside what is in the base's.
pub(crate) fn name_hosts(outlets: &[Outlet]) -> Result<(), StageError> {
    use std::fmt::Write;
    let mut lines = String::from(HOSTS);
    let named = |at: usize| {
        outlets[..at]
            .iter()
            .any(|other| (other.address, &other.name) == (outlets[at].address, &outlets[at].name))
    };
    for (at, outlet) in outlets.iter().enumerate() {
        if named(at) {
            continue;
        }
        let _infallible = writeln!(lines, "{} {}", outlet.address, outlet.name);
    }
    // The file lies in a file system for it alone, which stays when it is not mounted there any more.
    let flags = NO_DEVICES | MsFlags::MS_NOEXEC;
    let options = "mode=0755,size=64k,nr_inodes=8";
    mount(Some("tmpfs"), ASIDE, Some("tmpfs"), flags, Some(options)).at(Stage::Hosts)?;
    let file = Path::new(ASIDE).join("hosts");
    std::fs::write(&file, lines).at(Stage::Hosts)?;
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o444)).at(Stage::Hosts)?;
    mount(Some(&file), "/etc/hosts", None::<&str>, MsFlags::MS_BIND, None::<&str>).at(Stage::Hosts)?;
    let locked = Attributes::READ_ONLY.and(Attributes::NO_SUID).and(Attributes::NO_DEV);
    add_attributes(CWD, Path::new("/etc/hosts"), locked, Reach::Mount).at(Stage::Hosts)?;
    umount2(ASIDE, MntFlags::MNT_DETACH).at(Stage::Hosts)
}

fn capacity(bytes: u64) -> String {
    // An inode costs about a kilobyte of kernel memory: one for each 16 KiB is plenty for small files.
    format!("size={bytes},nr_inodes={}", bytes / (16 << 10) + 1024)
}

pub(super) fn capped(at: &str, bytes: u64, flags: MsFlags) -> Result<(), StageError> {
    let options = format!("mode=1777,{}", capacity(bytes));
    mount(Some("tmpfs"), at, Some("tmpfs"), flags, Some(options.as_str())).at(Stage::Tmpfs)
}

fn stack(plan: &SlotPlan, worker: u32) -> Result<(), StageError> {
    use nix::sys::stat::Mode;
    capped(UPPER, plan.tmp_bytes, NO_DEVICES)?;
    let owner = (Some(Uid::from_raw(worker)), Some(Gid::from_raw(worker)));
    for name in [
        "root",
        "root.work",
        "usr",
        "usr.work",
        "function",
        "function.work",
        "tmp",
    ] {
        let dir = Path::new(UPPER).join(name);
        mkdir(&dir, Mode::from_bits_truncate(0o755)).at(Stage::Upper)?;
        // The top of a merged tree takes the upper directory's owner: new files can be made there.
        chown(&dir, owner.0, owner.1).at(Stage::Upper)?;
    }
    let overlay = |lower: &str, name: &str, at: &Path| {
        let options = format!("userxattr,lowerdir={lower},upperdir={UPPER}/{name},workdir={UPPER}/{name}.work");
        mount(Some("overlay"), at, Some("overlay"), NO_DEVICES, Some(options.as_str())).at(Stage::Upper)
    };
    let root = Path::new(NEW_ROOT);
    overlay("/", "root", root)?;
    overlay("/usr", "usr", &root.join("usr"))?;
    for path in ["/dev", "/etc/ssl", LAYERS, UPPER] {
        let to = root.join(path.trim_start_matches('/'));
        match mount(
            Some(path),
            &to,
            None::<&str>,
            MsFlags::MS_BIND | MsFlags::MS_REC,
            None::<&str>,
        ) {
            Err(nix::Error::ENOENT) => {}
            other => other.at(Stage::Upper)?,
        }
    }
    let tmp = Path::new(UPPER).join("tmp");
    std::fs::set_permissions(&tmp, std::os::unix::fs::PermissionsExt::from_mode(0o1777)).at(Stage::Upper)?;
    mount(
        Some(&tmp),
        &root.join("tmp"),
        None::<&str>,
        MsFlags::MS_BIND,
        None::<&str>,
    )
    .at(Stage::Upper)?;
    procfs::mount_fresh(&root.join("proc"))?;
    enter(root)?;
    procfs::restrict(Path::new("/proc"))?;
    capped("/dev/shm", plan.tmp_bytes, NO_DEVICES)
}

/// Makes `root` the root of this mount namespace and lets go of the old one.
pub(crate) fn enter(root: &Path) -> Result<(), StageError> {
    nix::unistd::chdir(root).at(Stage::BaseRoot)?;
    // The old root is stacked under the new one, and is then what "." leads to (pivot_root(2)).
    pivot_root(".", ".").at(Stage::BaseRoot)?;
    mount(
        None::<&str>,
        ".",
        None::<&str>,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        None::<&str>,
    )
    .at(Stage::BaseRoot)?;
    loop {
        match umount2(".", MntFlags::MNT_DETACH) {
            Ok(()) => {}
            Err(nix::Error::EINVAL) => break,
            Err(errno) => return Err(errno).at(Stage::BaseRoot),
        }
    }
    nix::unistd::chdir("/").at(Stage::BaseRoot)
}

/// The same, with the old root left below the new one: what [`enter`] must never do.
pub(crate) fn enter_and_keep(root: &Path, old: &str) -> Result<(), StageError> {
    pivot_root(root, &root.join(old)).at(Stage::BaseRoot)?;
    nix::unistd::chdir("/").at(Stage::BaseRoot)
}
