//! From an archive that anybody may have made to a read-only directory.

use std::io::{self, BufReader, Read};
use std::path::Path;

use super::archive::{Archive, Kind};
use super::refusal::shown;
use super::tree::{Access, Contents, Tree};
use super::{BundleError, Limits, Refusal};

const BUFFER: usize = 64 * 1024;

/// Unpacks the tar archive `reader` into `dest`, an empty directory that exists and that no one else uses.
/// Files become `0444` or `0555`, directories `0555`, `dest` itself included; owners, times and set-id bits
/// are dropped. The reader is read to its end.
///
/// # Errors
/// [`BundleError::Refused`] for what a bundle must not contain, [`BundleError::Malformed`] and
/// [`BundleError::Truncated`] for what is no archive, [`BundleError::Receive`] if the reader fails,
/// [`BundleError::Write`] if the disk does. What was placed until then stays.
pub fn unpack(reader: impl Read, dest: &Path, limits: &Limits) -> Result<Contents, BundleError> {
    let mut archive = Archive::new(BufReader::with_capacity(BUFFER, reader), limits.archive_bytes());
    let mut tree = Tree::new(dest, Access::ReadOnly, limits)?;
    let placed = place_all(&mut archive, &mut tree).and_then(|()| archive.finish());
    if archive.over_budget() {
        return Err(Refusal::ArchiveTooLong {
            limit: limits.archive_bytes(),
        }
        .into());
    }
    placed.and_then(|()| tree.finish())
}

fn place_all(archive: &mut Archive<impl Read>, tree: &mut Tree<'_>) -> Result<(), BundleError> {
    while let Some(entry) = archive.next()? {
        let path = entry.path.as_slice();
        let refused = || shown(path);
        match entry.kind {
            Kind::File { size, executable } => {
                tree.room_for(size)?;
                tree.file(path, executable, archive, receiving)?;
            }
            Kind::Directory => tree.directory(path)?,
            Kind::Link { target } => tree.link(path, &target)?,
            Kind::HardLink => return Err(Refusal::HardLink { path: refused() }.into()),
            Kind::Device => return Err(Refusal::Device { path: refused() }.into()),
            Kind::Fifo => return Err(Refusal::Fifo { path: refused() }.into()),
            Kind::Sparse => return Err(Refusal::Sparse { path: refused() }.into()),
            Kind::Other(kind) => {
                return Err(Refusal::UnknownKind {
                    path: refused(),
                    kind: char::from(kind),
                }
                .into());
            }
        }
    }
    Ok(())
}

fn receiving(source: io::Error) -> BundleError {
    match source.kind() {
        io::ErrorKind::UnexpectedEof => BundleError::Truncated,
        _ => BundleError::Receive { source },
    }
}
