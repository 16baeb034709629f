//! The key pair that signs calls of the control API.
//!
//! Made at the first start and kept in the state directory, in the form of an AWS credentials file, readable by its owner alone. Whoever
//! may read the state directory may do everything anyway, so the secret is not encrypted there.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The name of the file in the state directory.
const FILE: &str = "aws-credentials";
/// Letters of an access key id: those of base 32 (RFC 4648).
const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// An access key id and its secret. `Debug` shows no secret.
#[derive(Clone)]
pub struct KeyPair {
    access_key_id: String,
    secret_access_key: String,
}

/// Why there is no key pair.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file can't be read or made.
    #[error("the key pair in {} can't be read or made", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The kernel gives no random bytes.
    #[error("there are no random bytes for a key pair")]
    Random(#[source] io::Error),
    /// The file holds no key pair.
    #[error("{} holds no key pair", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// Others may read the file.
    #[error("{} can be read by others", .path.display())]
    Open {
        /// The file.
        path: PathBuf,
    },
}

impl KeyError {
    /// What to do about it, as a full sentence.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::File { .. } | Self::Random(_) => "Look at the disk and the permissions of the state directory.",
            Self::Malformed { .. } => "Remove the file: the next start makes a new pair, and `fn aws-env` prints it.",
            Self::Open { .. } => {
                "Others may know the pair. Remove the file: the next start makes a new one, and `fn aws-env` prints it."
            }
        }
    }
}

impl KeyPair {
    /// The pair in `state_dir`, made when there is none. Blocks.
    ///
    /// # Errors
    /// See [`KeyError`]. A pair that others may read is refused and not repaired.
    pub fn open(state_dir: &Path) -> Result<Self, KeyError> {
        let path = state_dir.join(FILE);
        let failed = |source| KeyError::File {
            path: path.clone(),
            source,
        };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::make(&path),
            Err(error) => return Err(failed(error)),
        };
        if file.metadata().map_err(failed)?.mode() & 0o077 != 0 {
            return Err(KeyError::Open { path });
        }
        let text = io::read_to_string(file).map_err(failed)?;
        Self::parse(&text).ok_or(KeyError::Malformed { path })
    }

    fn make(path: &Path) -> Result<Self, KeyError> {
        let mut random = [0; 36];
        fill(&mut random).map_err(KeyError::Random)?;
        let (id, secret) = random.split_at(16);
        let pair = Self {
            access_key_id: std::iter::once("FNAK".to_owned())
                .chain(
                    id.iter()
                        .map(|byte| char::from(LETTERS[usize::from(byte % 32)]).to_string()),
                )
                .collect(),
            secret_access_key: secret.iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        // Under another name first, so that a crash leaves a whole file or none.
        let unfinished = path.with_extension("new");
        let written = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&unfinished)
            .and_then(|mut file| {
                write!(
                    file,
                    "[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
                    pair.access_key_id, pair.secret_access_key
                )?;
                file.sync_all()
            })
            .and_then(|()| std::fs::rename(&unfinished, path));
        written.map_err(|source| KeyError::File {
            path: path.to_owned(),
            source,
        })?;
        Ok(pair)
    }

    fn parse(text: &str) -> Option<Self> {
        let value = |wanted: &str| {
            text.lines().find_map(|line| {
                let (key, value) = line.split_once('=')?;
                let value = value.trim();
                // What a shell or a header would take apart is no key.
                let plain = (16..=128).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_alphanumeric());
                (key.trim() == wanted && plain).then(|| value.to_owned())
            })
        };
        Some(Self {
            access_key_id: value("aws_access_key_id")?,
            secret_access_key: value("aws_secret_access_key")?,
        })
    }

    /// The public half.
    pub fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    /// The secret half.
    pub fn secret_access_key(&self) -> &str {
        &self.secret_access_key
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair")
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

fn fill(buffer: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while filled < buffer.len() {
        filled += rustix::rand::getrandom(&mut buffer[filled..], rustix::rand::GetRandomFlags::empty())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_pair_is_made_once_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let made = KeyPair::open(dir.path()).unwrap();
        let again = KeyPair::open(dir.path()).unwrap();
        assert_eq!(made.access_key_id(), again.access_key_id());
        assert_eq!(made.secret_access_key(), again.secret_access_key());
        assert_eq!((made.access_key_id().len(), made.secret_access_key().len()), (20, 40));
        let mode = std::fs::metadata(dir.path().join(FILE)).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
        let other = tempfile::tempdir().unwrap();
        assert_ne!(
            KeyPair::open(other.path()).unwrap().secret_access_key(),
            made.secret_access_key()
        );
        assert!(!format!("{made:?}").contains(made.secret_access_key()));
    }

    #[test]
    fn a_pair_that_others_read_or_that_is_none_stops_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        KeyPair::open(dir.path()).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        let error = KeyPair::open(dir.path()).unwrap_err();
        assert!(matches!(error, KeyError::Open { .. }));
        assert!(error.hint().contains("Remove"));
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        for text in ["", "aws_access_key_id = x", "aws_access_key_id = $(reboot)reboot0000\n"] {
            std::fs::write(&path, text).unwrap();
            let error = KeyPair::open(dir.path()).unwrap_err();
            assert!(matches!(error, KeyError::Malformed { .. }), "{text:?}");
        }
        assert!(matches!(
            KeyPair::open(&dir.path().join("nowhere")).unwrap_err(),
            KeyError::File { .. }
        ));
    }
}
