//! The root that every sandbox starts from: a read-only view of the host's programs, and an /etc and a /dev of our own.
//!
//! ```text
//! /            tmpfs, read-only          /dev       null zero full random urandom, shm, links to /proc/self/fd
//! /usr         the host's, read-only     /etc       generated; alternatives, ld.so.cache, localtime copied; ssl bound
//! /bin /lib .. links, or the host's      /var/task  link to /function
//! /function    empty until bound         /.fn       layers of the store, and mount points; mode 0711
//! ```
//!
//! It is built once, in the spawner's mount namespace. A sandbox begins with a copy of that namespace: copying costs by
//! the mount, so there are few.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use nix::mount::{MsFlags, mount};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use super::protocol::{BaseFile, Config};
use crate::child::{procfs, rootfs};
use crate::stage::{At, Stage, StageError};
use crate::switches::{Layer, Switches};
use crate::sys::mounts::{Attributes, Reach, add_attributes};

const DEVICES: &[&str] = &["null", "zero", "full", "random", "urandom"];
/// Top-level directories that are links into /usr on a merged host, and directories elsewhere.
const PROGRAM_DIRS: &[&str] = &["bin", "sbin", "lib", "lib32", "lib64", "libx32"];
/// Files of the host's /etc that programs look for; copied as they are now.
const COPIED: &[&str] = &["ld.so.cache", "localtime", "mime.types", "protocols", "services"];

const GENERATED: &[(&str, &str)] = &[
    (
        "passwd",
        "root:x:0:0:root:/:/usr/sbin/nologin\nfn:x:1000:1000:function:/tmp:/bin/sh\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
    ),
    ("group", "root:x:0:\nfn:x:1000:\nnogroup:x:65534:\n"),
    ("hosts", rootfs::HOSTS),
    ("hostname", "localhost\n"),
    (
        "nsswitch.conf",
        "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n",
    ),
    ("resolv.conf", "# This sandbox has no name servers.\n"),
    ("shells", "/bin/sh\n"),
];

/// A tree cut out of the host's mounts, and where it goes.
struct Cut {
    tree: OwnedFd,
    to: String,
    set: Attributes,
}

/// Builds the root in this process' mount namespace and makes it "/".
pub(super) fn build(config: &Config) -> Result<(), StageError> {
    // Nothing done here may reach the host.
    mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        None::<&str>,
    )
    .at(Stage::BaseRoot)?;
    let switches = config.switches;
    // Everything is taken before the new root covers anything.
    let cuts = cut_host(config)?;
    let copies = copy_host_files();
    let root = config.mount_point.as_path();
    let options = "mode=0755,size=16m,nr_inodes=8k";
    mount(Some("tmpfs"), root, Some("tmpfs"), MsFlags::MS_NOSUID, Some(options)).at(Stage::BaseRoot)?;
    fill(root, &copies, &config.files).at(Stage::BaseRoot)?;
    for cut in &cuts {
        let to = root.join(&cut.to);
        move_mount(&cut.tree, "", CWD, &to, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).at(Stage::BaseRoot)?;
        add_attributes(CWD, &to, cut.set, Reach::Tree).at(Stage::BaseRoot)?;
    }
    procfs::mount_fresh(&root.join("proc"))?;
    if switches.on(Layer::OldRoot) {
        rootfs::enter(root)?;
    } else {
        rootfs::enter_and_keep(root, "mnt")?;
    }
    // Devices are mounts of their own.
    let set = Attributes::NO_SUID.and(Attributes::NO_DEV).and(read_only(switches));
    add_attributes(CWD, Path::new("/"), set, Reach::Mount).at(Stage::BaseRoot)
}

fn read_only(switches: Switches) -> Attributes {
    if switches.on(Layer::ReadOnly) {
        Attributes::READ_ONLY
    } else {
        Attributes::NONE
    }
}

/// What may not be done with anything that the host shows.
fn locked(switches: Switches) -> Attributes {
    let flags = if switches.on(Layer::MountFlags) {
        Attributes::NO_SUID.and(Attributes::NO_DEV)
    } else {
        Attributes::NONE
    };
    flags.and(read_only(switches))
}

fn cut_host(config: &Config) -> Result<Vec<Cut>, StageError> {
    let locked = locked(config.switches);
    let mut cuts = vec![cut(Path::new("/usr"), "usr", locked)?];
    for name in PROGRAM_DIRS {
        let path = Path::new("/").join(name);
        if fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_dir()) {
            cuts.push(cut(&path, name, locked)?);
        }
    }
    if Path::new("/etc/ssl").is_dir() {
        cuts.push(cut(Path::new("/etc/ssl"), "etc/ssl", locked)?);
    }
    cuts.push(cut(&config.layers, rootfs::LAYERS.trim_start_matches('/'), locked)?);
    for name in DEVICES {
        let path = Path::new("/dev").join(name);
        check_device(&path).at(Stage::BaseRoot)?;
        cuts.push(cut(
            &path,
            &format!("dev/{name}"),
            Attributes::NO_SUID.and(Attributes::NO_EXEC),
        )?);
    }
    Ok(cuts)
}

fn cut(from: &Path, to: &str, set: Attributes) -> Result<Cut, StageError> {
    // Recursive: a part without what is mounted below it can't be cut out of another namespace's mounts.
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    Ok(Cut {
        tree: open_tree(CWD, from, flags).at(Stage::BaseRoot)?,
        to: to.to_owned(),
        set,
    })
}

/// A link or a file in the place of a device would be shown to every sandbox.
fn check_device(path: &Path) -> std::io::Result<()> {
    let expected = match path.file_name().and_then(|name| name.to_str()) {
        Some("null") => (1, 3),
        Some("zero") => (1, 5),
        Some("full") => (1, 7),
        Some("random") => (1, 8),
        _ => (1, 9),
    };
    let file = rustix::fs::open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let stat = rustix::fs::fstat(file.as_fd())?;
    let character = rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::CharacterDevice;
    let number = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    if character && number == expected {
        Ok(())
    } else {
        Err(std::io::Error::from_raw_os_error(libc::ENODEV))
    }
}

/// Contents of the host's files that are copied, and the links of /etc/alternatives, which /usr/bin points to.
#[derive(Default)]
struct Copies {
    files: Vec<(&'static str, Vec<u8>)>,
    alternatives: Vec<(std::ffi::OsString, std::path::PathBuf)>,
}

fn copy_host_files() -> Copies {
    let mut copies = Copies::default();
    for name in COPIED {
        if let Ok(contents) = fs::read(Path::new("/etc").join(name)) {
            copies.files.push((name, contents));
        }
    }
    for entry in fs::read_dir("/etc/alternatives").into_iter().flatten().flatten() {
        if let Ok(target) = fs::read_link(entry.path()) {
            copies.alternatives.push((entry.file_name(), target));
        }
    }
    copies
}

fn fill(root: &Path, copies: &Copies, files: &[BaseFile]) -> std::io::Result<()> {
    let dirs = [
        "usr",
        "proc",
        "tmp",
        "function",
        "dev",
        "dev/shm",
        "etc",
        "etc/alternatives",
        "etc/ssl",
        "run",
        "home",
        "root",
        "opt",
        "mnt",
        "var",
        "var/lib",
        "var/log",
        ".fn",
        ".fn/layers",
        ".fn/upper",
        ".fn/root",
        ".fn/empty",
        ".fn/aside",
    ];
    for dir in dirs {
        fs::create_dir(root.join(dir))?;
    }
    // The way to the store: nobody can look around in it, and only the user himself enters the store. Pid 1 of a cell, which is
    // not him, mounts below it.
    fs::set_permissions(root.join(".fn"), fs::Permissions::from_mode(0o711))?;
    for private in [".fn/layers", ".fn/upper"] {
        fs::set_permissions(root.join(private), fs::Permissions::from_mode(0o700))?;
    }
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    for name in PROGRAM_DIRS {
        let host = Path::new("/").join(name);
        match fs::read_link(&host) {
            Ok(target) => symlink(target, root.join(name))?,
            Err(_) if host.is_dir() => fs::create_dir(root.join(name))?,
            Err(_) => {}
        }
    }
    for name in DEVICES {
        fs::write(root.join("dev").join(name), "")?;
    }
    for (name, target) in [("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")] {
        symlink(format!("/proc/self/fd{target}"), root.join("dev").join(name))?;
    }
    symlink("/function", root.join("var/task"))?;
    symlink("/tmp", root.join("var/tmp"))?;
    symlink("/run", root.join("var/run"))?;
    symlink("/proc/self/mounts", root.join("etc/mtab"))?;
    for (name, contents) in GENERATED {
        fs::write(root.join("etc").join(name), contents)?;
    }
    for (name, contents) in &copies.files {
        fs::write(root.join("etc").join(name), contents)?;
    }
    for (name, target) in &copies.alternatives {
        symlink(target, root.join("etc/alternatives").join(name))?;
    }
    for file in files {
        let path = root.join(file.path.trim_start_matches('/'));
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, &file.contents)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(file.mode))?;
    }
    Ok(())
}
