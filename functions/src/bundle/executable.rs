//! From one executable file to a directory that holds it and nothing else.

use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::tree::{Access, Contents, Tree};
use super::{BundleError, Limits};

/// Copies the executable `path` into `dest`, an empty directory that exists, under its own name. The limits
/// are the default [`Limits`].
///
/// # Errors
/// [`BundleError::NotExecutable`] if it is something else than an executable file,
/// [`BundleError::Refused`] if it is too large, [`BundleError::Read`] and [`BundleError::Write`] for files.
pub fn from_executable(path: &Path, dest: &Path) -> Result<Contents, BundleError> {
    let reading = |source| BundleError::Read {
        path: path.to_owned(),
        source,
    };
    let refused = || BundleError::NotExecutable { path: path.to_owned() };
    // Looked at before it is opened: opening a fifo would wait for a writer.
    let metadata = path.metadata().map_err(reading)?;
    if !metadata.is_file() || metadata.mode() & 0o111 == 0 {
        return Err(refused());
    }
    let name = path.file_name().ok_or_else(refused)?;
    let mut file = File::open(path).map_err(reading)?;
    let limits = Limits::default();
    let mut tree = Tree::new(dest, Access::Owner, &limits)?;
    tree.room_for(metadata.len())?;
    tree.file(name.as_bytes(), true, &mut file, reading)?;
    tree.finish()
}
