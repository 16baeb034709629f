//! Makes files survive a power cut before anything names them.

use std::fs::File;
use std::path::Path;

use walkdir::WalkDir;

use super::StoreError;

/// Up to so many files are synced one by one. More are cheaper to sync with their whole file system, even
/// if others write to it.
const ONE_BY_ONE: u64 = 64;

/// Syncs all files and directories below `path`, itself included.
pub(super) fn sync_tree(path: &Path, files: u64) -> Result<(), StoreError> {
    if files > ONE_BY_ONE {
        let top = File::open(path).map_err(|error| StoreError::io(path, error))?;
        return rustix::fs::syncfs(&top).map_err(|errno| StoreError::io(path, errno.into()));
    }
    // Contents first, so that a directory is synced after what it lists.
    for entry in WalkDir::new(path).contents_first(true) {
        let entry = entry.map_err(|error| {
            StoreError::io(
                path,
                error
                    .into_io_error()
                    .unwrap_or_else(|| std::io::ErrorKind::Other.into()),
            )
        })?;
        if !entry.file_type().is_symlink() {
            sync(entry.path())?;
        }
    }
    Ok(())
}

/// Syncs a directory, so that the names in it stay.
pub(super) fn sync_directory(path: &Path) -> Result<(), StoreError> {
    sync(path)
}

fn sync(path: &Path) -> Result<(), StoreError> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|error| StoreError::io(path, error))
}
