//! The bundle as a temporary file: its digest is needed before the first byte of it is sent.

use std::fs::File;
use std::io::{self, Seek};
use std::path::Path;

use functions::Digest;
use functions::bundle::{self, BundleError};
use futures_util::stream;
use reqwest::Body;
use tokio::io::AsyncReadExt;

use crate::exit::Exit;
use crate::failure::Explain;
use crate::render::{Progress, Step};

/// How much is sent at a time.
const PIECE: usize = 256 * 1024;

/// A packed bundle. Its file has no name and goes with this value.
#[derive(Debug)]
pub(super) struct Packed {
    file: File,
    pub(super) digest: Digest,
    /// Bytes of the archive.
    pub(super) length: u64,
    /// Files in it.
    pub(super) files: u64,
}

/// A directory that can't be packed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PackError {
    /// It holds what no bundle can hold, or too much of it.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The archive can't be written or read back.
    #[error("the bundle can't be written to {}", std::env::temp_dir().display())]
    Scratch(#[source] io::Error),
}

impl Explain for PackError {
    fn exit(&self) -> Exit {
        match self {
            PackError::Bundle(error) => error.exit(),
            PackError::Scratch(_) => Exit::Failed,
        }
    }

    fn code(&self) -> String {
        match self {
            PackError::Bundle(error) => Explain::code(error),
            PackError::Scratch(_) => "unwritable".into(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            PackError::Bundle(error) => Explain::hint(error),
            PackError::Scratch(_) => Some("Make room there, or name another directory with $TMPDIR.".into()),
        }
    }
}

/// Packs a directory.
pub(super) fn pack(dir: &Path, progress: Progress) -> Result<Packed, PackError> {
    let _step = progress.step("Packing");
    let file = tempfile::tempfile().map_err(PackError::Scratch)?;
    let packed = bundle::pack(dir, &file)?;
    Ok(Packed {
        file,
        digest: packed.digest,
        length: packed.bytes,
        files: packed.files,
    })
}

impl Packed {
    /// The archive as a request body, counted by `step` while it is sent.
    pub(super) fn body(&self, step: &Step) -> Result<Body, PackError> {
        let mut file = self.file.try_clone().map_err(PackError::Scratch)?;
        file.rewind().map_err(PackError::Scratch)?;
        let count = step.counter();
        let pieces = stream::try_unfold((tokio::fs::File::from_std(file), count), async |(mut file, count)| {
            let mut piece = Vec::with_capacity(PIECE);
            let read = file.read_buf(&mut piece).await?;
            count(read as u64);
            Ok::<_, io::Error>(if read == 0 { None } else { Some((piece, (file, count))) })
        });
        Ok(Body::wrap_stream(pieces))
    }
}
