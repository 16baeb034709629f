//! How large a bundle may be, counted while it grows.

use super::Refusal;
use super::refusal::shown;

/// Longest file name on Linux, in bytes (`NAME_MAX`).
const NAME_MAX: usize = 255;
/// What one entry may add to an archive besides its contents: headers, a long name, a long target, padding.
const ENTRY_OVERHEAD: u64 = 8 * 1024;

/// The largest bundle that is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Files, directories and links together. Default 100,000.
    pub files: u64,
    /// Bytes in all files together. Default 512 MiB.
    pub bytes: u64,
    /// Bytes of one path, and of the target of one link. Default 1024.
    pub path: usize,
    /// Components of one path. Default 64.
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            files: 100_000,
            bytes: 512 * 1024 * 1024,
            path: 1024,
            depth: 64,
        }
    }
}

impl Limits {
    /// The longest archive that a bundle within these limits can need.
    pub fn archive_bytes(&self) -> u64 {
        self.bytes
            .saturating_add(self.files.saturating_add(16).saturating_mul(ENTRY_OVERHEAD))
    }
}

/// What was counted so far.
pub(super) struct Tally<'l> {
    limits: &'l Limits,
    entries: u64,
    files: u64,
    bytes: u64,
}

impl<'l> Tally<'l> {
    pub(super) fn new(limits: &'l Limits) -> Tally<'l> {
        Tally {
            limits,
            entries: 0,
            files: 0,
            bytes: 0,
        }
    }

    pub(super) fn limits(&self) -> &'l Limits {
        self.limits
    }

    /// Files and links counted so far.
    pub(super) fn files(&self) -> u64 {
        self.files
    }

    /// Bytes counted so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Counts a directory.
    pub(super) fn directory(&mut self) -> Result<(), Refusal> {
        self.entries += 1;
        match self.entries > self.limits.files {
            true => Err(Refusal::TooManyFiles {
                limit: self.limits.files,
            }),
            false => Ok(()),
        }
    }

    /// Counts a file or a link.
    pub(super) fn file(&mut self) -> Result<(), Refusal> {
        self.directory()?;
        self.files += 1;
        Ok(())
    }

    /// Refuses a file of this size, without counting it, if it would be too much.
    pub(super) fn room_for(&self, bytes: u64) -> Result<(), Refusal> {
        match self.bytes.checked_add(bytes) {
            Some(sum) if sum <= self.limits.bytes => Ok(()),
            _ => Err(Refusal::TooManyBytes {
                limit: self.limits.bytes,
            }),
        }
    }

    /// Counts bytes of a file.
    pub(super) fn add_bytes(&mut self, bytes: u64) -> Result<(), Refusal> {
        self.room_for(bytes)?;
        self.bytes += bytes;
        Ok(())
    }

    /// The components of a path, without `.` and empty ones. None are left for the top itself.
    pub(super) fn components<'p>(&self, path: &'p [u8]) -> Result<Vec<&'p [u8]>, Refusal> {
        if path.is_empty() {
            return Err(Refusal::EmptyPath);
        }
        if path.len() > self.limits.path {
            let (path, length) = (shown(path), path.len() as u64);
            return Err(Refusal::PathTooLong {
                path,
                length,
                limit: self.limits.path,
            });
        }
        if path.contains(&0) {
            return Err(Refusal::NulInPath { path: shown(path) });
        }
        if path[0] == b'/' {
            return Err(Refusal::AbsolutePath { path: shown(path) });
        }
        let parts: Vec<&[u8]> = path
            .split(|byte| *byte == b'/')
            .filter(|part| !matches!(*part, b"" | b"."))
            .collect();
        if parts.contains(&&b".."[..]) {
            return Err(Refusal::ParentPath { path: shown(path) });
        }
        if parts.len() > self.limits.depth {
            let (path, depth) = (shown(path), parts.len());
            return Err(Refusal::TooDeep {
                path,
                depth,
                limit: self.limits.depth,
            });
        }
        if parts.iter().any(|part| part.len() > NAME_MAX) {
            return Err(Refusal::NameTooLong { path: shown(path) });
        }
        Ok(parts)
    }
}
