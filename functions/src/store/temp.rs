//! Directories for what is not finished, gone when they are dropped.
//!
//! Names need only be new within this process: the lock keeps others out, and opening the store empties
//! the place.

use std::ffi::{CString, OsStr};
use std::fs;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags};
use rustix::io::Errno;

use super::StoreError;

/// Makes directories below one place.
pub(super) struct TempPlace {
    path: PathBuf,
    next: AtomicU64,
}

/// A directory that is removed with everything in it when this is dropped.
pub(super) struct TempDir {
    path: PathBuf,
}

impl TempPlace {
    /// Empties `path` and makes directories there from now on.
    pub(super) fn open(path: PathBuf) -> Result<TempPlace, StoreError> {
        let entries = fs::read_dir(&path).map_err(|error| StoreError::io(&path, error))?;
        for entry in entries {
            let left = entry.map_err(|error| StoreError::io(&path, error))?.path();
            remove_tree(&left).map_err(|errno| StoreError::io(&left, errno.into()))?;
        }
        Ok(TempPlace {
            path,
            next: AtomicU64::new(0),
        })
    }

    pub(super) fn create(&self) -> Result<TempDir, StoreError> {
        let path = self.path.join(self.next.fetch_add(1, Ordering::Relaxed).to_string());
        fs::create_dir(&path).map_err(|error| StoreError::io(&path, error))?;
        Ok(TempDir { path })
    }
}

impl TempDir {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        if let Err(error) = remove_tree(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove; it is left to the next start");
        }
    }
}

/// Removes a file, a link or a directory with everything in it, following no link. Directories are made
/// writable first: those of bundles are not.
pub(super) fn remove_tree(path: &Path) -> rustix::io::Result<()> {
    remove_at(CWD, path.as_os_str())
}

fn remove_at(parent: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = match rustix::fs::openat(parent, name, flags, Mode::empty()) {
        Ok(directory) => directory,
        Err(Errno::NOTDIR | Errno::LOOP) => return rustix::fs::unlinkat(parent, name, AtFlags::empty()),
        Err(errno) => return Err(errno),
    };
    rustix::fs::fchmod(&directory, Mode::RWXU)?;
    // All names before the first removal: what a directory lists while it changes is not defined.
    let mut names: Vec<CString> = Vec::new();
    for entry in Dir::read_from(&directory)? {
        names.push(entry?.file_name().to_owned());
    }
    for name in names.iter().filter(|name| !matches!(name.as_bytes(), b"." | b"..")) {
        remove_at(directory.as_fd(), OsStr::from_bytes(name.as_bytes()))?;
    }
    drop(directory);
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)
}
