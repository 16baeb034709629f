//! The state directory: its parts, and whether it is ours.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::StoreError;

/// The paths of a state directory that was checked.
pub(super) struct Layout {
    state_dir: PathBuf,
}

impl Layout {
    /// Makes the directory and its parts if they are not there, and refuses one that others own or write.
    pub(super) fn prepare(state_dir: &Path) -> Result<Layout, StoreError> {
        let layout = Layout {
            state_dir: state_dir.to_owned(),
        };
        let metadata = match fs::metadata(state_dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make(state_dir)?;
                fs::metadata(state_dir)
            }
            metadata => metadata,
        };
        let metadata = metadata.map_err(|error| StoreError::io(state_dir, error))?;
        if !metadata.is_dir() {
            return Err(StoreError::NotADirectory {
                path: state_dir.to_owned(),
            });
        }
        let us = rustix::process::geteuid().as_raw();
        if metadata.uid() != us {
            return Err(StoreError::WrongOwner {
                path: state_dir.to_owned(),
                owner: metadata.uid(),
                us,
            });
        }
        if metadata.mode() & 0o002 != 0 {
            return Err(StoreError::WorldWritable {
                path: state_dir.to_owned(),
            });
        }
        for part in [layout.blobs(), layout.layers(), layout.temp()] {
            make(&part)?;
        }
        Ok(layout)
    }

    pub(super) fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    pub(super) fn lock(&self) -> PathBuf {
        self.state_dir.join("lock")
    }

    pub(super) fn database(&self) -> PathBuf {
        self.state_dir.join("fn.db")
    }

    pub(super) fn blobs(&self) -> PathBuf {
        self.state_dir.join("blobs/sha256")
    }

    pub(super) fn layers(&self) -> PathBuf {
        self.state_dir.join("layers/sha256")
    }

    pub(super) fn temp(&self) -> PathBuf {
        self.state_dir.join("tmp")
    }
}

fn make(path: &Path) -> Result<(), StoreError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| StoreError::io(path, error))
}
