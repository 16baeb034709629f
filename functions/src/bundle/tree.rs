//! Places files under one directory, whatever the paths that come.
//!
//! Everything is opened relative to a file descriptor, one component at a time, with `O_NOFOLLOW`; files are
//! made with `O_EXCL`. So nothing is written outside of the directory, through a link, or over something
//! that is already there, even if every path is hostile. The directory belongs to the writer alone: others
//! who write to it at the same time are not defended against.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::limits::{Limits, Tally};
use super::refusal::shown;
use super::{BundleError, Refusal, link};

const OPEN_DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
const CREATE_FILE: OFlags = OFlags::WRONLY
    .union(OFlags::CREATE)
    .union(OFlags::EXCL)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
const BUFFER: usize = 64 * 1024;

/// What was placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contents {
    /// Files and links.
    pub files: u64,
    /// Bytes in all files together.
    pub bytes: u64,
}

/// Who may write to the tree when it is finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// No one: files are `0444` or `0555`, directories `0555`.
    ReadOnly,
    /// Its owner: files are `0644` or `0755`, directories `0755`.
    Owner,
}

impl Access {
    fn file(self, executable: bool) -> Mode {
        Mode::from_raw_mode(match (self, executable) {
            (Access::ReadOnly, false) => 0o444,
            (Access::ReadOnly, true) => 0o555,
            (Access::Owner, false) => 0o644,
            (Access::Owner, true) => 0o755,
        })
    }
}

/// A directory that is being filled.
pub(super) struct Tree<'l> {
    root: OwnedFd,
    path: PathBuf,
    access: Access,
    tally: Tally<'l>,
    /// The parent of the last entry. Archives are sorted, so the next entry most likely has the same.
    last: Option<(Vec<u8>, OwnedFd)>,
}

impl<'l> Tree<'l> {
    /// Starts to fill `path`, an empty directory that exists.
    pub(super) fn new(path: &Path, access: Access, limits: &'l Limits) -> Result<Tree<'l>, BundleError> {
        let root = rustix::fs::open(path, OPEN_DIRECTORY, Mode::empty()).map_err(|errno| BundleError::Write {
            path: path.to_owned(),
            source: errno.into(),
        })?;
        Ok(Tree {
            root,
            path: path.to_owned(),
            access,
            tally: Tally::new(limits),
            last: None,
        })
    }

    /// Places a directory. One that is already there, because a file in it came first, is left as it is.
    pub(super) fn directory(&mut self, path: &[u8]) -> Result<(), BundleError> {
        let parts = self.tally.components(path)?;
        let Some((name, parents)) = parts.split_last() else {
            return Ok(());
        };
        // Counted even if it is already there, or one directory named a million times would be free.
        self.tally.directory()?;
        self.enter(path, parents)?;
        let parent = self.parent();
        match rustix::fs::mkdirat(parent, *name, Mode::RWXU) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => open_directory(parent, name)
                .map(drop)
                .map_err(|errno| self.placing(path, errno, Refusal::duplicate)),
            Err(errno) => Err(self.placing(path, errno, Refusal::duplicate)),
        }
    }

    /// Places a file with what `contents` gives. Bytes are counted as they come.
    pub(super) fn file(
        &mut self,
        path: &[u8],
        executable: bool,
        contents: &mut impl Read,
        failed: impl Fn(io::Error) -> BundleError,
    ) -> Result<(), BundleError> {
        let parts = self.tally.components(path)?;
        let (name, parents) = parts.split_last().ok_or(Refusal::EmptyPath)?;
        self.tally.file()?;
        self.enter(path, parents)?;
        let file = rustix::fs::openat(self.parent(), *name, CREATE_FILE, Mode::RUSR | Mode::WUSR)
            .map_err(|errno| self.placing(path, errno, Refusal::duplicate))?;
        let mut file = File::from(file);
        let mut buffer = vec![0; BUFFER];
        loop {
            let read = match contents.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(failed(error)),
            };
            self.tally.add_bytes(read as u64)?;
            file.write_all(&buffer[..read])
                .map_err(|source| self.writing(path, source))?;
        }
        // After the writing, because the mode of creation is cut by the umask.
        rustix::fs::fchmod(&file, self.access.file(executable)).map_err(|errno| self.writing(path, errno.into()))
    }

    /// Refuses a file of this size before any of it is written.
    pub(super) fn room_for(&self, bytes: u64) -> Result<(), Refusal> {
        self.tally.room_for(bytes)
    }

    /// Places a symbolic link, if its target is in the bundle.
    pub(super) fn link(&mut self, path: &[u8], target: &[u8]) -> Result<(), BundleError> {
        let parts = self.tally.components(path)?;
        let (name, parents) = parts.split_last().ok_or(Refusal::EmptyPath)?;
        link::check(path, parents.len(), target, self.tally.limits().path)?;
        self.tally.file()?;
        self.enter(path, parents)?;
        rustix::fs::symlinkat(target, self.parent(), *name)
            .map_err(|errno| self.placing(path, errno, Refusal::duplicate))
    }

    /// Gives every directory its final mode and says what was placed.
    pub(super) fn finish(mut self) -> Result<Contents, BundleError> {
        self.last = None;
        let mode = self.access.file(true);
        settle(self.root.as_fd(), mode).map_err(|errno| self.writing(b"", errno.into()))?;
        Ok(Contents {
            files: self.tally.files(),
            bytes: self.tally.bytes(),
        })
    }

    /// Opens the directory of an entry, making those on the way that are not there.
    fn enter(&mut self, path: &[u8], parents: &[&[u8]]) -> Result<(), BundleError> {
        let place = parents.join(&b'/');
        if self.last.as_ref().is_some_and(|(last, _)| *last == place) {
            return Ok(());
        }
        self.last = None;
        let mut here: Option<OwnedFd> = None;
        for name in parents {
            let parent = here.as_ref().unwrap_or(&self.root).as_fd();
            let next = match open_directory(parent, name) {
                Err(Errno::NOENT) => {
                    self.tally.directory()?;
                    let parent = here.as_ref().unwrap_or(&self.root).as_fd();
                    rustix::fs::mkdirat(parent, *name, Mode::RWXU).and_then(|()| open_directory(parent, name))
                }
                opened => opened,
            };
            here = Some(next.map_err(|errno| self.placing(path, errno, Refusal::not_a_directory))?);
        }
        self.last = here.map(|here| (place, here));
        Ok(())
    }

    /// The directory that [`enter`](Self::enter) opened last.
    fn parent(&self) -> rustix::fd::BorrowedFd<'_> {
        self.last.as_ref().map_or(&self.root, |(_, parent)| parent).as_fd()
    }

    /// The error of placing `path`: `taken` if something is in the way, else that of the disk.
    fn placing(&self, path: &[u8], errno: Errno, taken: fn(&[u8]) -> Refusal) -> BundleError {
        match errno {
            Errno::EXIST | Errno::NOTDIR | Errno::LOOP => taken(path).into(),
            errno => self.writing(path, errno.into()),
        }
    }

    fn writing(&self, path: &[u8], source: io::Error) -> BundleError {
        BundleError::Write {
            path: self.path.join(shown(path)),
            source,
        }
    }
}

impl Refusal {
    fn duplicate(path: &[u8]) -> Refusal {
        Refusal::Duplicate { path: shown(path) }
    }

    fn not_a_directory(path: &[u8]) -> Refusal {
        Refusal::NotADirectory { path: shown(path) }
    }
}

fn open_directory(parent: impl AsFd, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(parent, name, OPEN_DIRECTORY, Mode::empty())
}

/// Gives `directory` and all directories below it their final mode. The depth is bounded by the limits.
fn settle(directory: rustix::fd::BorrowedFd<'_>, mode: Mode) -> rustix::io::Result<()> {
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => {
                let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
                FileType::from_raw_mode(stat.st_mode)
            }
            kind => kind,
        };
        if kind == FileType::Directory {
            settle(open_directory(directory, name.to_bytes())?.as_fd(), mode)?;
        }
    }
    rustix::fs::fchmod(directory, mode)
}
