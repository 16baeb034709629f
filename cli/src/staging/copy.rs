//! The copy of a directory.
//!
//! Links are copied as links, whatever they point to: the packing decides which of them a bundle may hold. Devices,
//! pipes and sockets are refused by name before anything is opened, because opening a pipe would wait for ever.

use std::fs;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::Path;

use super::{Account, StagingError};

/// Names that never belong to a bundle, at any depth.
const NEVER: &[&str] = &[".git", "__pycache__"];

/// Copies what is in `from` into the existing directory `to`, without the entries `without` at the top.
pub(super) fn copy_tree(from: &Path, to: &Path, without: &[&str]) -> Result<(), StagingError> {
    let mut account = Account::default();
    let mut todo = vec![(from.to_owned(), to.to_owned(), without)];
    while let Some((from, to, without)) = todo.pop() {
        for entry in fs::read_dir(&from).map_err(StagingError::io(&from))? {
            let entry = entry.map_err(StagingError::io(&from))?;
            let name = entry.file_name();
            if NEVER.iter().chain(without).any(|skipped| name == *skipped) {
                continue;
            }
            account.file()?;
            let (source, target) = (entry.path(), to.join(&name));
            let kind = entry.file_type().map_err(StagingError::io(&source))?;
            if kind.is_dir() {
                fs::create_dir(&target).map_err(StagingError::io(&target))?;
                todo.push((source, target, &[]));
            } else if kind.is_symlink() {
                let points_to = fs::read_link(&source).map_err(StagingError::io(&source))?;
                symlink(points_to, &target).map_err(StagingError::io(&target))?;
            } else if kind.is_file() {
                let length = entry.metadata().map_err(StagingError::io(&source))?.len();
                account.bytes(length)?;
                fs::copy(&source, &target).map_err(StagingError::io(&source))?;
            } else {
                return Err(StagingError::Special {
                    path: source,
                    kind: special(kind),
                });
            }
        }
    }
    Ok(())
}

/// What a special file is called.
fn special(kind: fs::FileType) -> &'static str {
    if kind.is_fifo() {
        "named pipe"
    } else if kind.is_socket() {
        "socket"
    } else {
        "device"
    }
}
