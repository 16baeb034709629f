//! From a directory to the one archive that stands for it.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use walkdir::{DirEntry, WalkDir};

use super::limits::Tally;
use super::refusal::shown;
use super::{BundleError, Limits, Refusal, link};
use crate::Digest;
use crate::digest::Hashing;

const BUFFER: usize = 64 * 1024;

/// The archive that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packed {
    /// The digest of its bytes, the name of the bundle.
    pub digest: Digest,
    /// Its length.
    pub bytes: u64,
    /// Files and links in it.
    pub files: u64,
}

/// Writes `dir` as a bundle. What is left out: `.git`, `__pycache__` and `node_modules/.cache`, at any depth.
/// Links are kept as links.
///
/// # Errors
/// [`BundleError::Refused`] for what a bundle must not contain, within the default [`Limits`];
/// [`BundleError::Read`] and [`BundleError::Changed`] for files, [`BundleError::Write`] for the writer.
pub fn pack(dir: &Path, writer: impl Write) -> Result<Packed, BundleError> {
    pack_within(dir, writer, &Limits::default())
}

pub(super) fn pack_within(dir: &Path, writer: impl Write, limits: &Limits) -> Result<Packed, BundleError> {
    let hashing = Hashing::new(BufWriter::with_capacity(BUFFER, writer));
    let mut builder = tar::Builder::new(hashing);
    let mut tally = Tally::new(limits);
    let walk = WalkDir::new(dir)
        .min_depth(1)
        .sort_by_file_name()
        .into_iter()
        .filter_entry(|entry| entry.path().strip_prefix(dir).is_ok_and(packs));
    for entry in walk {
        let entry = entry.map_err(|error| {
            let path = error.path().unwrap_or(dir).to_owned();
            let source = error.into_io_error().unwrap_or_else(|| io::ErrorKind::Other.into());
            BundleError::Read { path, source }
        })?;
        let path = entry
            .path()
            .strip_prefix(dir)
            .expect("the walk stays below the directory it started in");
        append(&mut builder, &mut tally, &entry, path)?;
    }
    let written = builder.into_inner().and_then(|hashing| {
        let (digest, bytes, mut writer) = hashing.finish();
        writer.flush().map(|()| (digest, bytes))
    });
    let (digest, bytes) = written.map_err(|source| BundleError::Write {
        path: PathBuf::from("the archive"),
        source,
    })?;
    Ok(Packed {
        digest,
        bytes,
        files: tally.files(),
    })
}

/// Whether a path in a directory is packed, by its name. `inside` is relative to the directory.
pub fn packs(inside: &Path) -> bool {
    let mut parent = None;
    inside.iter().all(|name| {
        let in_node_modules = parent.replace(name) == Some(OsStr::new("node_modules"));
        name != ".git" && name != "__pycache__" && !(name == ".cache" && in_node_modules)
    })
}

fn append(
    builder: &mut tar::Builder<impl Write>,
    tally: &mut Tally<'_>,
    entry: &DirEntry,
    path: &Path,
) -> Result<(), BundleError> {
    let bytes = path.as_os_str().as_bytes();
    let kind = entry.file_type();
    let reading = |source| BundleError::Read {
        path: entry.path().to_owned(),
        source,
    };
    tally.components(bytes)?;
    let mut header = tar::Header::new_gnu();
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    if kind.is_dir() {
        tally.directory()?;
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(0o555);
        let appended = builder.append_data(&mut header, path, io::empty());
        return appended.map_err(|source| BundleError::Write {
            path: path.to_owned(),
            source,
        });
    }
    tally.file()?;
    if kind.is_symlink() {
        let target = fs::read_link(entry.path()).map_err(reading)?;
        link::check(
            bytes,
            entry.depth() - 1,
            target.as_os_str().as_bytes(),
            tally.limits().path,
        )?;
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_mode(0o555);
        let appended = builder.append_link(&mut header, path, &target);
        return appended.map_err(|source| BundleError::Write {
            path: path.to_owned(),
            source,
        });
    }
    if kind.is_block_device() || kind.is_char_device() {
        return Err(Refusal::Device { path: shown(bytes) }.into());
    }
    if kind.is_fifo() {
        return Err(Refusal::Fifo { path: shown(bytes) }.into());
    }
    if kind.is_socket() {
        return Err(Refusal::Socket { path: shown(bytes) }.into());
    }

    // Not blocking and not following, in case the file became a fifo or a link since the walk saw it.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags as i32)
        .open(entry.path())
        .map_err(reading)?;
    let metadata = file.metadata().map_err(reading)?;
    if !metadata.is_file() {
        return Err(BundleError::Changed {
            path: entry.path().to_owned(),
        });
    }
    tally.add_bytes(metadata.len())?;
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(if metadata.mode() & 0o111 != 0 { 0o555 } else { 0o444 });
    header.set_size(metadata.len());
    let mut contents = Exactly {
        file,
        left: metadata.len(),
        failed: None,
    };
    let appended = builder.append_data(&mut header, path, &mut contents);
    match (contents.failed, appended) {
        (Some(source), _) if source.kind() == io::ErrorKind::UnexpectedEof => Err(BundleError::Changed {
            path: entry.path().to_owned(),
        }),
        (Some(source), _) => Err(reading(source)),
        (None, appended) => appended.map_err(|source| BundleError::Write {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Exactly as many bytes of a file as its header says, whatever happens to the file meanwhile. It keeps its
/// own error, because the builder mixes errors of reading with those of writing.
struct Exactly {
    file: File,
    left: u64,
    failed: Option<io::Error>,
}

impl Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let part = self.left.min(buffer.len() as u64) as usize;
        let read = match self.file.read(&mut buffer[..part]) {
            Ok(0) if part > 0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            read => read,
        };
        match read {
            Ok(read) => {
                self.left -= read as u64;
                Ok(read)
            }
            Err(error) => {
                let kind = error.kind();
                if kind != io::ErrorKind::Interrupted {
                    self.failed = Some(error);
                }
                Err(kind.into())
            }
        }
    }
}
