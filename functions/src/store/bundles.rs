//! Blobs and layers: each bundle as it came, and as it runs.
//!
//! ```text
//! reader --receive--> tmp/N/{blob,layer} --sync--> install: rename to blobs/, layers/
//!                                                  condemn: rename to tmp/, removed on drop
//! ```

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::directory::Layout;
use super::temp::{TempDir, TempPlace};
use super::{StoreError, durable};
use crate::Digest;
use crate::bundle::{self, Limits};
use crate::digest::Hashing;

/// A bundle that is in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredBundle {
    /// Its name.
    pub digest: Digest,
    /// The length of its archive.
    pub bytes: u64,
    /// Files and links in it.
    pub files: u64,
}

/// The two directories of bundles, and the place where they are made.
pub(super) struct Bundles {
    blobs: PathBuf,
    layers: PathBuf,
    temp: TempPlace,
}

/// A bundle that is complete and synced, but not in its place.
pub(super) struct Received {
    stored: StoredBundle,
    temp: TempDir,
}

impl Bundles {
    pub(super) fn open(layout: &Layout) -> Result<Bundles, StoreError> {
        Ok(Bundles {
            blobs: layout.blobs(),
            layers: layout.layers(),
            temp: TempPlace::open(layout.temp())?,
        })
    }

    pub(super) fn blob(&self, bundle: &Digest) -> PathBuf {
        self.blobs.join(bundle.to_string())
    }

    pub(super) fn layer(&self, bundle: &Digest) -> PathBuf {
        self.layers.join(bundle.to_string())
    }

    /// Whether both the archive and the files are in their places.
    pub(super) fn holds(&self, bundle: &Digest) -> bool {
        self.blob(bundle).is_file() && self.layer(bundle).is_dir()
    }

    /// Writes the archive down and unpacks it at the same time, so that a hostile one is stopped early.
    pub(super) fn receive(&self, reader: impl Read, limits: &Limits) -> Result<Received, StoreError> {
        let temp = self.temp.create()?;
        let (blob, layer) = (temp.path().join("blob"), temp.path().join("layer"));
        let failed = |error| StoreError::io(&blob, error);
        fs::create_dir(&layer).map_err(|error| StoreError::io(&layer, error))?;
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o400)
            .open(&blob)
            .map_err(failed)?;

        let mut copying = Copying {
            reader,
            copy: Hashing::new(file),
            failed: None,
        };
        let unpacked = bundle::unpack(&mut copying, &layer, limits);
        // An error of the copy comes out of the unpacking as one of the sender.
        if let Some(error) = copying.failed {
            return Err(failed(error));
        }
        let contents = unpacked?;
        let (digest, bytes, file) = copying.copy.finish();
        file.sync_all().map_err(failed)?;
        durable::sync_tree(&layer, contents.files)?;
        Ok(Received {
            stored: StoredBundle {
                digest,
                bytes,
                files: contents.files,
            },
            temp,
        })
    }

    /// Moves a bundle to its place, unless an equal one is there. No one else may move bundles meanwhile.
    pub(super) fn install(&self, received: Received) -> Result<StoredBundle, StoreError> {
        let stored = received.stored;
        let (blob, layer) = (self.blob(&stored.digest), self.layer(&stored.digest));
        if !blob.exists() {
            rename(&received.temp.path().join("blob"), &blob)?;
            durable::sync_directory(&self.blobs)?;
        }
        if !layer.exists() {
            let from = received.temp.path().join("layer");
            // A directory that moves changes its `..`, which takes the permission to write to it.
            set_mode(&from, 0o755)?;
            rename(&from, &layer)?;
            set_mode(&layer, 0o555)?;
            durable::sync_directory(&layer)?;
            durable::sync_directory(&self.layers)?;
        }
        Ok(stored)
    }

    /// Takes a bundle out of its place; its files are deleted when what is returned is dropped. No one else
    /// may move bundles meanwhile.
    pub(super) fn condemn(&self, bundle: &Digest) -> Option<TempDir> {
        let moved = self.temp.create().and_then(|temp| {
            let (blob, layer) = (self.blob(bundle), self.layer(bundle));
            if layer.exists() {
                set_mode(&layer, 0o755)?;
                rename(&layer, &temp.path().join("layer"))?;
            }
            if blob.exists() {
                rename(&blob, &temp.path().join("blob"))?;
            }
            Ok(temp)
        });
        moved
            .inspect_err(
                |error| tracing::warn!(%bundle, %error, "cannot remove a bundle; it is left to the next start"),
            )
            .ok()
    }

    /// Removes what is not among `named`: left by a crash, or by a promise that no deploy took up.
    pub(super) fn sweep(&self, named: &HashSet<Digest>) -> Result<(), StoreError> {
        for place in [&self.blobs, &self.layers] {
            let failed = |error| StoreError::io(place, error);
            for entry in fs::read_dir(place).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let name = entry.file_name();
                let digest = name.to_str().and_then(|name| name.parse().ok());
                if digest.is_some_and(|digest| named.contains(&digest)) {
                    continue;
                }
                if let Err(error) = super::temp::remove_tree(&entry.path()) {
                    tracing::warn!(path = %entry.path().display(), %error, "cannot remove what no revision names");
                }
            }
        }
        // A crash between the two steps of a move leaves the top of a layer writable.
        for layer in named
            .iter()
            .map(|bundle| self.layer(bundle))
            .filter(|layer| layer.is_dir())
        {
            set_mode(&layer, 0o555)?;
        }
        Ok(())
    }
}

fn rename(from: &Path, to: &Path) -> Result<(), StoreError> {
    fs::rename(from, to).map_err(|error| StoreError::io(to, error))
}

fn set_mode(path: &Path, mode: u32) -> Result<(), StoreError> {
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(|error| StoreError::io(path, error))
}

/// Reads from the sender and writes down what was read. It keeps the error of the writing to itself, because
/// whoever reads could not tell it from one of the sender.
struct Copying<R> {
    reader: R,
    copy: Hashing<File>,
    failed: Option<io::Error>,
}

impl<R: Read> Read for Copying<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        match self.copy.write_all(&buffer[..read]) {
            Ok(()) => Ok(read),
            Err(error) => {
                let kind = error.kind();
                self.failed = Some(error);
                Err(kind.into())
            }
        }
    }
}
