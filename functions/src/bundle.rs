//! Code as one archive, and the safe way back.
//!
//! A bundle is an uncompressed tar whose bytes depend on nothing but the files: sorted, without times or
//! owners, modes only `0444` and `0555`. Equal directories have equal digests.
//!
//! Archives come from clients, so unpacking trusts nothing in them. Each entry is placed by file
//! descriptor, component by component, never through a link and never over something that is already
//! there; limits are counted while bytes arrive, so a bomb is stopped before it is written. What is
//! refused is a [`Refusal`] of its own kind. After an error the destination holds a part of the bundle, and
//! whoever made the destination removes it.
//!
//! ```text
//! directory --pack--> tar --unpack--> directory, read-only
//! zip --from_zip--> directory         executable --from_executable--> directory
//! directory --merge--> directory, over what is there
//! ```

mod archive;
mod executable;
mod limits;
mod link;
mod merge;
mod pack;
mod refusal;
mod tree;
mod unpack;
mod zip;

use std::io;
use std::path::PathBuf;

pub use executable::from_executable;
pub use limits::Limits;
pub use merge::{LAYERS_DIR, merge};
pub use pack::{Packed, pack, packs};
pub use refusal::Refusal;
pub use tree::Contents;
pub use unpack::unpack;
pub use zip::from_zip;

/// Why a bundle could not be made or unpacked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The contents are not allowed in a bundle.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The archive ends in the middle: the upload was cut off.
    #[error("the archive ends before its end mark")]
    Truncated,
    /// The bytes are no tar archive.
    #[error("not a tar archive: {reason}")]
    Malformed {
        /// What is wrong with them.
        reason: &'static str,
    },
    /// The file is no zip archive that can be read.
    #[error("cannot read {} as a zip archive", .path.display())]
    Zip {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ::zip::result::ZipError,
    },
    /// A file that is to be run is not an executable file.
    #[error("{} is not an executable file", .path.display())]
    NotExecutable {
        /// The file.
        path: PathBuf,
    },
    /// A file changed its size while it was packed.
    #[error("{} changed while it was packed", .path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The archive could not be received. The sender is gone, or its connection.
    #[error("the archive could not be received")]
    Receive {
        /// Why.
        source: io::Error,
    },
    /// A file or directory that is packed could not be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The archive or a file of it could not be written.
    #[error("cannot write {}", .path.display())]
    Write {
        /// What was written.
        path: PathBuf,
        /// Why. A full disk is [`io::ErrorKind::StorageFull`].
        source: io::Error,
    },
}

impl BundleError {
    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            BundleError::Refused(refusal) => refusal.code(),
            BundleError::Truncated => "bundle_truncated",
            BundleError::Malformed { .. } => "bundle_malformed",
            BundleError::Zip { .. } => "bundle_zip",
            BundleError::NotExecutable { .. } => "bundle_not_executable",
            BundleError::Changed { .. } => "bundle_changed",
            BundleError::Receive { .. } => "bundle_receive",
            BundleError::Read { .. } => "bundle_read",
            BundleError::Write { .. } => "bundle_write",
        }
    }

    /// What to do about it, as a full sentence.
    pub fn hint(&self) -> &'static str {
        match self {
            BundleError::Refused(refusal) => refusal.hint(),
            BundleError::Truncated | BundleError::Receive { .. } => "Send the bundle again.",
            BundleError::Malformed { .. } => "Send an uncompressed tar archive, such as `fn deploy` makes.",
            BundleError::Zip { .. } => {
                "Check the file with `unzip -t`; encrypted archives and methods other than deflate are not read."
            }
            BundleError::NotExecutable { .. } => "Make the file executable with `chmod +x`.",
            BundleError::Changed { .. } => "Deploy again when nothing writes to the directory.",
            BundleError::Read { .. } => "Check that the file exists and may be read.",
            BundleError::Write { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "Free some space on that disk.",
                _ => "Check that the directory exists and may be written.",
            },
        }
    }
}

#[cfg(test)]
mod tests;
