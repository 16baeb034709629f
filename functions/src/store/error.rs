//! What can be wrong with a state directory, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use crate::bundle::BundleError;
use crate::{Digest, FunctionName};

/// Why the store cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Something else than a directory stands at the path.
    #[error("{} is not a directory", .path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// The directory belongs to another user.
    #[error("{} belongs to user {owner}, but this process runs as user {us}", .path.display())]
    WrongOwner {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Our effective user id.
        us: u32,
    },
    /// Everybody may write to the directory.
    #[error("everybody may write to {}", .path.display())]
    WorldWritable {
        /// The directory.
        path: PathBuf,
    },
    /// We may not read, write or search the path.
    #[error("no permission to use {}", .path.display())]
    Forbidden {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process has the store open.
    #[error("{} is in use by {}", .path.display(), holder(*.pid, .program.as_deref()))]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// The process, if it could be read.
        pid: Option<u32>,
        /// The name of its program, if it could be read.
        program: Option<String>,
    },
    /// A newer version of `fn` wrote the database.
    #[error("{} has version {found}, this program knows versions up to {known}", .path.display())]
    NewerVersion {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// The database belongs to another program.
    #[error("{} is a database of another program", .path.display())]
    Foreign {
        /// The database.
        path: PathBuf,
    },
    /// The database, or a row of it, cannot be read.
    #[error("{} is damaged: {reason}", .path.display())]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No space is left, or the quota is used up.
    #[error("the disk is full")]
    DiskFull {
        /// What the system said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A bundle is refused or cannot be received.
    #[error(transparent)]
    Bundle(BundleError),
    /// A deploy names a bundle that is not stored.
    #[error("the bundle {digest} is not stored")]
    NoBundle {
        /// The bundle.
        digest: Digest,
    },
    /// There is no function of that name.
    #[error("there is no function {name}")]
    NoFunction {
        /// The name.
        name: FunctionName,
    },
    /// Any other error of the database.
    #[error("the database failed")]
    Database {
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// Any other error of the disk.
    #[error("cannot use {}", .path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl StoreError {
    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            StoreError::NotADirectory { .. } => "state_not_a_directory",
            StoreError::WrongOwner { .. } => "state_wrong_owner",
            StoreError::WorldWritable { .. } => "state_world_writable",
            StoreError::Forbidden { .. } => "state_forbidden",
            StoreError::Locked { .. } => "state_locked",
            StoreError::NewerVersion { .. } => "state_newer_version",
            StoreError::Foreign { .. } => "state_foreign",
            StoreError::Damaged { .. } => "state_damaged",
            StoreError::DiskFull { .. } => "disk_full",
            StoreError::Bundle(error) => error.code(),
            StoreError::NoBundle { .. } => "no_bundle",
            StoreError::NoFunction { .. } => "no_function",
            StoreError::Database { .. } => "state_database",
            StoreError::Io { .. } => "state_io",
        }
    }

    /// What to do about it, as a full sentence.
    pub fn hint(&self) -> &'static str {
        match self {
            StoreError::NotADirectory { .. } => "Choose another directory with --state-dir.",
            StoreError::WrongOwner { .. } => {
                "Run as the user that owns it, or choose a directory of your own with --state-dir."
            }
            StoreError::WorldWritable { .. } => {
                "Take the permission away with `chmod o-w`, or choose another --state-dir."
            }
            StoreError::Forbidden { .. } => {
                "Give yourself permission with `chmod u+rwx`, or choose another directory with --state-dir."
            }
            StoreError::Locked { .. } => "Stop that process, or choose another directory with --state-dir.",
            StoreError::NewerVersion { .. } => "Run the newer version of `fn`, or choose another --state-dir.",
            StoreError::Foreign { .. } => "Choose another directory with --state-dir.",
            StoreError::Damaged { .. } => {
                "Restore the directory from a backup, or move it away and deploy the functions again."
            }
            StoreError::DiskFull { .. } => "Free some space on the disk of the state directory and try again.",
            StoreError::Bundle(error) => error.hint(),
            StoreError::NoBundle { .. } => "Send the bundle first, then deploy it.",
            StoreError::NoFunction { .. } => "`fn list` shows the functions there are.",
            StoreError::Database { .. } | StoreError::Io { .. } => {
                "Look at the disk of the state directory; the message below says what failed."
            }
        }
    }

    /// The error of using `path`.
    pub(super) fn io(path: &Path, source: io::Error) -> StoreError {
        let path = path.to_owned();
        match source.kind() {
            // A limit on file sizes is a disk that is full for this process alone.
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                StoreError::DiskFull {
                    source: Box::new(source),
                }
            }
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                StoreError::Forbidden { path, source }
            }
            io::ErrorKind::NotADirectory => StoreError::NotADirectory { path },
            _ => StoreError::Io { path, source },
        }
    }

    /// The error of the database at `path`.
    pub(super) fn database(path: &Path, source: rusqlite::Error) -> StoreError {
        match source.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => StoreError::Damaged {
                path: path.to_owned(),
                reason: source.to_string(),
            },
            Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
                let source = io::Error::new(io::ErrorKind::PermissionDenied, source);
                StoreError::Forbidden {
                    path: path.to_owned(),
                    source,
                }
            }
            _ => StoreError::from(source),
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(source: rusqlite::Error) -> StoreError {
        let extended = source.sqlite_error().map(|error| error.extended_code);
        let full = match source.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => true,
            // What SQLite says when there is no room for the index of its log.
            _ => extended == Some(rusqlite::ffi::SQLITE_IOERR_SHMSIZE),
        };
        match full {
            true => StoreError::DiskFull {
                source: Box::new(source),
            },
            false => StoreError::Database { source },
        }
    }
}

impl From<BundleError> for StoreError {
    fn from(error: BundleError) -> StoreError {
        match error {
            BundleError::Write { path, source } => StoreError::io(&path, source),
            error => StoreError::Bundle(error),
        }
    }
}

fn holder(pid: Option<u32>, program: Option<&str>) -> String {
    match (pid, program) {
        (Some(pid), Some(program)) => format!("process {pid} ({program})"),
        (Some(pid), None) => format!("process {pid}"),
        _ => "another process".to_owned(),
    }
}
