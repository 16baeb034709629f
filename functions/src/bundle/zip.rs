//! From a zip file to a directory that its owner can go on working with.
//!
//! A zip is unpacked on the client, before dependencies are added and the directory is packed. It goes
//! through the same checks as an archive on the server.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use zip::ZipArchive;
use zip::read::ZipFile;
use zip::result::ZipError;

use super::refusal::shown;
use super::tree::{Access, Contents, Tree};
use super::{BundleError, Limits, Refusal};

/// The bits of a Unix mode that say what an entry is (`S_IFMT`), and their values.
const KIND: u32 = 0o170_000;
const KIND_FIFO: u32 = 0o010_000;
const KIND_CHARACTER_DEVICE: u32 = 0o020_000;
const KIND_DIRECTORY: u32 = 0o040_000;
const KIND_BLOCK_DEVICE: u32 = 0o060_000;
const KIND_LINK: u32 = 0o120_000;
const KIND_SOCKET: u32 = 0o140_000;

/// Unpacks the zip file `path` into `dest`, an empty directory that exists. Files become `0644` or `0755`,
/// directories `0755`. The limits are the default [`Limits`].
///
/// # Errors
/// [`BundleError::Zip`] if it is no readable zip, [`BundleError::Refused`] for what a bundle must not
/// contain, [`BundleError::Read`] and [`BundleError::Write`] for files.
pub fn from_zip(path: &Path, dest: &Path) -> Result<Contents, BundleError> {
    from_zip_within(path, dest, &Limits::default())
}

pub(super) fn from_zip_within(path: &Path, dest: &Path, limits: &Limits) -> Result<Contents, BundleError> {
    let unreadable = |source| BundleError::Zip {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(|source| BundleError::Read {
        path: path.to_owned(),
        source,
    })?;
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(unreadable)?;
    if archive.len() as u64 > limits.files {
        return Err(Refusal::TooManyFiles { limit: limits.files }.into());
    }
    // The library keeps one of two entries with one name, so which name it was is not known.
    if archive.has_duplicate_names() {
        return Err(Refusal::Duplicate {
            path: "an entry of the zip file".to_owned(),
        }
        .into());
    }
    let mut tree = Tree::new(dest, Access::Owner, limits)?;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(unreadable)?;
        place(&mut entry, &mut tree, limits, &|source| {
            unreadable(ZipError::Io(source))
        })?;
    }
    tree.finish()
}

fn place(
    entry: &mut ZipFile<'_, impl Read>,
    tree: &mut Tree<'_>,
    limits: &Limits,
    failed: &dyn Fn(io::Error) -> BundleError,
) -> Result<(), BundleError> {
    let path = entry.name_raw().to_owned();
    let refused = || shown(&path);
    let mode = entry.unix_mode().unwrap_or(0);
    match mode & KIND {
        KIND_DIRECTORY => tree.directory(&path),
        _ if path.ends_with(b"/") => tree.directory(&path),
        KIND_LINK => {
            let mut target = Vec::new();
            entry
                .take(limits.path as u64 + 1)
                .read_to_end(&mut target)
                .map_err(failed)?;
            tree.link(&path, &target)
        }
        KIND_FIFO => Err(Refusal::Fifo { path: refused() }.into()),
        KIND_CHARACTER_DEVICE | KIND_BLOCK_DEVICE => Err(Refusal::Device { path: refused() }.into()),
        KIND_SOCKET => Err(Refusal::Socket { path: refused() }.into()),
        _ => {
            tree.room_for(entry.size())?;
            tree.file(&path, mode & 0o111 != 0, entry, failed)
        }
    }
}
