//! What PATH of `fn deploy` is, as a directory that can be packed.
//!
//! A directory is used where it stands until something has to be added to it; then it is copied first, because a
//! deploy never writes into the user's directory. A zip and a single executable always get a directory of their own.
//! Dropping a [`Staged`] removes what was made for it.
//!
//! ```text
//! directory ----------------> in place ---own()---> copy
//! zip, executable ----------> copy
//! ```

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use functions::bundle::{self, BundleError, Limits, Refusal};
use tempfile::TempDir;

use crate::exit::Exit;
use crate::failure::Explain;

mod copy;
#[cfg(test)]
mod tests;

/// A PATH that can't be deployed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StagingError {
    /// It does not exist.
    #[error("there is nothing at {}", path.display())]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// It is none of the three.
    #[error("{} is neither a directory, a zip nor an executable file", path.display())]
    NotDeployable {
        /// The path.
        path: PathBuf,
    },
    /// It can't be read, or the copy can't be written.
    #[error("{}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// It holds what no bundle can hold, or can't be unpacked.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// A file that is no file, directory or link.
    #[error("{} is a {kind}, which a bundle can't hold", path.display())]
    Special {
        /// The file.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
}

impl StagingError {
    /// Puts the file's name to a system error.
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |cause| StagingError::Io {
            path: path.to_owned(),
            cause,
        }
    }
}

impl Explain for StagingError {
    fn exit(&self) -> Exit {
        match self {
            StagingError::Missing { .. } => Exit::NotFound,
            StagingError::Bundle(error) => error.exit(),
            _ => Exit::BadInput,
        }
    }

    fn code(&self) -> String {
        match self {
            StagingError::Missing { .. } => "no_such_path".into(),
            StagingError::NotDeployable { .. } => "not_deployable".into(),
            StagingError::Io { .. } => "unreadable".into(),
            StagingError::Bundle(error) => Explain::code(error),
            StagingError::Special { .. } => "special_file".into(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            StagingError::NotDeployable { path } => Some(format!(
                "If it is a program or a script, make it executable: chmod +x {}",
                path.display()
            )),
            StagingError::Bundle(error) => Explain::hint(error),
            StagingError::Special { .. } => Some("Remove it: a bundle holds only files, directories and links.".into()),
            StagingError::Missing { .. } | StagingError::Io { .. } => None,
        }
    }
}

impl Explain for BundleError {
    fn exit(&self) -> Exit {
        match self {
            BundleError::Refused(
                Refusal::TooManyFiles { .. } | Refusal::TooManyBytes { .. } | Refusal::ArchiveTooLong { .. },
            ) => Exit::Limit,
            BundleError::Write { .. } => Exit::Failed,
            _ => Exit::BadInput,
        }
    }

    fn code(&self) -> String {
        BundleError::code(self).into()
    }

    fn hint(&self) -> Option<String> {
        Some(BundleError::hint(self).into())
    }
}

/// A directory that can be packed.
#[derive(Debug)]
pub(crate) struct Staged {
    /// The directory.
    dir: PathBuf,
    /// What its name is by, before it is made a function's name: the last part of PATH, without an extension.
    stem: String,
    /// The copy, removed with this value.
    copy: Option<TempDir>,
}

impl Staged {
    /// Looks at PATH, and unpacks or copies it where it is no directory.
    pub(crate) fn open(path: &Path) -> Result<Self, StagingError> {
        let missing = |_| StagingError::Missing { path: path.to_owned() };
        let real = fs::canonicalize(path).map_err(missing)?;
        let metadata = fs::metadata(&real).map_err(StagingError::io(path))?;
        let last = if metadata.is_dir() {
            real.file_name()
        } else {
            real.file_stem()
        };
        let stem = last.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if metadata.is_dir() {
            return Ok(Staged {
                dir: real,
                stem,
                copy: None,
            });
        }
        if !metadata.is_file() {
            return Err(StagingError::NotDeployable { path: path.to_owned() });
        }
        let copy = scratch()?;
        let dir = copy.path().to_owned();
        if is_zip(&real).map_err(StagingError::io(path))? {
            bundle::from_zip(&real, &dir)?;
        } else if metadata.permissions().mode() & 0o111 != 0 {
            let name = path
                .file_name()
                .or(real.file_name())
                .expect("a path of a file has a last part");
            fs::copy(&real, dir.join(name)).map_err(StagingError::io(path))?;
        } else {
            return Err(StagingError::NotDeployable { path: path.to_owned() });
        }
        Ok(Staged {
            dir,
            stem,
            copy: Some(copy),
        })
    }

    /// The directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The last part of PATH without an extension.
    pub(crate) fn stem(&self) -> &str {
        &self.stem
    }

    /// Makes the directory one that may be written to. `without` names entries at its top that are left out because
    /// they are about to be made anew.
    pub(crate) fn own(&mut self, without: &[&str]) -> Result<&Path, StagingError> {
        if self.copy.is_none() {
            let copy = scratch()?;
            copy::copy_tree(&self.dir, copy.path(), without)?;
            self.dir = copy.path().to_owned();
            self.copy = Some(copy);
        } else {
            for name in without {
                let path = self.dir.join(name);
                if fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir()) {
                    fs::remove_dir_all(&path).map_err(StagingError::io(&path))?;
                }
            }
        }
        Ok(&self.dir)
    }
}

impl Staged {
    /// Puts layers, directories and zip files by paths from the directory, where a sandbox shows them at `/opt`.
    pub(crate) fn add_layers(&mut self, layers: &[String]) -> Result<(), StagingError> {
        let base = self.dir.clone();
        let to = self.own(&[bundle::LAYERS_DIR])?.join(bundle::LAYERS_DIR);
        for layer in layers {
            let layer = Staged::open(&base.join(layer))?;
            bundle::merge(layer.dir(), &to)?;
        }
        Ok(())
    }
}

/// A new directory that nobody else can look into.
fn scratch() -> Result<TempDir, StagingError> {
    tempfile::Builder::new()
        .prefix("fn-deploy-")
        .tempdir()
        .map_err(StagingError::io(&std::env::temp_dir()))
}

/// Whether a file begins like a zip: with a member, or with the end of an empty one.
fn is_zip(path: &Path) -> io::Result<bool> {
    let mut start = Vec::new();
    File::open(path)?.take(4).read_to_end(&mut start)?;
    Ok(start == b"PK\x03\x04" || start == b"PK\x05\x06")
}

/// The account of what is copied, so that a directory far too large is refused before all of it is copied.
#[derive(Debug, Default)]
struct Account {
    files: u64,
    bytes: u64,
}

impl Account {
    /// Counts one more entry.
    fn file(&mut self) -> Result<(), BundleError> {
        let limit = Limits::default().files;
        self.files += 1;
        if self.files > limit {
            Err(Refusal::TooManyFiles { limit }.into())
        } else {
            Ok(())
        }
    }

    /// Counts the bytes of a file.
    fn bytes(&mut self, bytes: u64) -> Result<(), BundleError> {
        let limit = Limits::default().bytes;
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > limit {
            Err(Refusal::TooManyBytes { limit }.into())
        } else {
            Ok(())
        }
    }
}
