//! The image of the machine: a disk with an installed Debian, its kernel, and the key that opens it.
//!
//! It is built by mmdebstrap from a recipe, the list of packages and `customize.sh`, and kept under the digest of that recipe: who
//! changes the recipe gets another image. Updates of Debian's packages don't count; who wants them removes the directory. Root builds it
//! directly, an ordinary user in a user namespace with his subordinate ids.

use std::fs::{self, File, Permissions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::unistd::Uid;

use crate::program::Program;

const RELEASE: &str = "bookworm";

const PACKAGES: &[&str] = &[
    "curl",
    "dbus",
    "dbus-user-session",
    "iproute2",
    "libpam-systemd",
    "linux-image-cloud-amd64",
    "nodejs",
    "openssh-server",
    "passt",
    "procps",
    "python3",
    "systemd",
    "systemd-sysv",
    "udev",
    "uidmap",
];

const CUSTOMIZE: &str = include_str!("customize.sh");

/// How large the disk is for the machine. The file has holes and needs about 1 GB.
const DISK: u64 = 4 << 30;

/// The directory where images are kept and machines run, held by one run at a time.
pub(super) struct Cache {
    dir: PathBuf,
    _held: File,
}

impl Cache {
    /// Makes it if need be. An error when it is somebody else's, or when another run holds it.
    pub(super) fn open(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let meta = fs::symlink_metadata(dir)?;
        if !meta.is_dir() || meta.uid() != Uid::effective().as_raw() {
            bail!(
                "{} is no directory of yours, and what is booted is taken from it; name another with --cache DIR",
                dir.display()
            );
        }
        let held = File::create(dir.join("held"))?;
        if held.try_lock().is_err() {
            bail!("another `cargo xtask vm` uses {}", dir.display());
        }
        Ok(Self {
            dir: dir.to_owned(),
            _held: held,
        })
    }

    /// An empty directory below it.
    pub(super) fn fresh(&self, name: &str) -> Result<PathBuf> {
        let path = self.dir.join(name);
        if path.exists() {
            fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        fs::create_dir(&path)?;
        Ok(path)
    }
}

/// A built image.
pub(super) struct Image {
    dir: PathBuf,
}

impl Image {
    /// The image of the recipe, built unless it is there.
    pub(super) fn build(cache: &Cache) -> Result<Self> {
        let dir = cache.dir.join(format!("image-{:016x}", recipe()));
        let image = Self { dir: dir.clone() };
        if dir.exists() {
            return Ok(image);
        }
        // An ordinary user's mmdebstrap is another user here, to whom the way and the files have to be open.
        let making = cache.fresh("image-in-the-making")?;
        let key = making.join("key");
        Program::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "fn-stock", "-f"])
            .args([&key])
            .run()?;
        fs::write(making.join("customize.sh"), CUSTOMIZE)?;
        fs::create_dir(making.join("root"))?;
        for name in ["disk", "kernel", "initrd"] {
            let file = File::create(making.join(name))?;
            file.set_permissions(Permissions::from_mode(0o666))?;
            if name == "disk" {
                file.set_len(DISK)?;
            }
        }
        let place = making
            .to_str()
            .context("the name of the cache directory is not UTF-8")?;
        if place.contains(['\'', '\\']) {
            bail!("the hook of mmdebstrap can't quote the name of {place}; name another with --cache DIR");
        }
        Program::new("mmdebstrap")
            .args(["--variant=apt", &format!("--include={}", PACKAGES.join(","))])
            .args([format!("--customize-hook=sh '{place}/customize.sh' '{place}' \"$1\"")])
            .args([RELEASE, "/dev/null"])
            .run()?;
        for name in ["disk", "kernel", "initrd"] {
            fs::set_permissions(making.join(name), Permissions::from_mode(0o600))?;
        }
        fs::rename(&making, &dir)?;
        Ok(image)
    }

    /// One of its files: `disk`, `kernel`, `initrd`, `key`.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

/// The digest of all that decides what is in the image.
fn recipe() -> u64 {
    let mut hasher = DefaultHasher::new();
    (RELEASE, PACKAGES, CUSTOMIZE, DISK).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_run_at_a_time_and_nothing_old() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        assert!(Cache::open(dir.path()).is_err(), "it is held");
        let run = cache.fresh("run").unwrap();
        fs::write(run.join("old"), "").unwrap();
        assert!(!cache.fresh("run").unwrap().join("old").exists());
        drop(cache);
        assert!(Cache::open(dir.path()).is_ok());
    }

    #[test]
    fn a_cache_that_is_no_directory_of_ours_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let elsewhere = dir.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&elsewhere, &link).unwrap();
        let refused = Cache::open(&link).err().unwrap().to_string();
        assert!(refused.contains("--cache"), "{refused}");
    }
}
