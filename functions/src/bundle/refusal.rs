//! What a bundle must not contain, each kind with its own message and what to do about it.
//!
//! Paths in here come from strangers: they are shortened and their control characters escaped, so that a
//! refusal can be logged and shown.

use crate::one_line;

/// Most characters of a path that a message shows.
const SHOWN: usize = 200;

/// Why the contents of a bundle are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(
    missing_docs,
    reason = "`path` is the entry as shown to people, `limit` the limit that was hit"
)]
pub enum Refusal {
    /// A path that starts with `/`.
    #[error("{path}: the path is absolute")]
    AbsolutePath { path: String },
    /// A path with a `..`.
    #[error("{path}: the path goes up with `..`")]
    ParentPath { path: String },
    /// An entry without a name.
    #[error("an entry has an empty path")]
    EmptyPath,
    /// A path with a NUL byte.
    #[error("{path}: the path has a NUL byte")]
    NulInPath { path: String },
    /// A path, or the target of a link, with too many bytes.
    #[error("{path}: the path has {length} bytes, at most {limit} are allowed")]
    PathTooLong { path: String, length: u64, limit: usize },
    /// One component of a path with more bytes than Linux takes.
    #[error("{path}: a file name has at most 255 bytes")]
    NameTooLong { path: String },
    /// A path with too many components.
    #[error("{path}: directories are nested {depth} deep, at most {limit} are allowed")]
    TooDeep { path: String, depth: usize, limit: usize },
    /// Two entries with one path.
    #[error("{path}: the path occurs twice")]
    Duplicate { path: String },
    /// A path leads through a file or a link.
    #[error("{path}: the path leads through something that is not a directory")]
    NotADirectory { path: String },
    /// A link with an absolute target.
    #[error("{path}: the symbolic link points to the absolute path {target}")]
    LinkAbsolute { path: String, target: String },
    /// A link whose target is outside of the bundle.
    #[error("{path}: the symbolic link points out of the bundle, to {target}")]
    LinkOutside { path: String, target: String },
    /// A link whose target goes down and up again. Through another link, such a target can lead out.
    #[error("{path}: the symbolic link goes down and up again, to {target}")]
    LinkDetour { path: String, target: String },
    /// A link without a target, or one with a NUL byte in it.
    #[error("{path}: the symbolic link has no proper target")]
    LinkBroken { path: String },
    /// A hard link.
    #[error("{path}: hard links are not allowed")]
    HardLink { path: String },
    /// A block or character device.
    #[error("{path}: device files are not allowed")]
    Device { path: String },
    /// A fifo.
    #[error("{path}: fifos are not allowed")]
    Fifo { path: String },
    /// A socket.
    #[error("{path}: sockets are not allowed")]
    Socket { path: String },
    /// A file with holes that are not stored.
    #[error("{path}: sparse files are not allowed")]
    Sparse { path: String },
    /// Any other kind of entry.
    #[error("{path}: an entry of the kind {kind:?} is not allowed")]
    UnknownKind { path: String, kind: char },
    /// Too many files, directories and links.
    #[error("the bundle has more than {limit} files and directories")]
    TooManyFiles { limit: u64 },
    /// Too many bytes in files.
    #[error("the files of the bundle have more than {limit} bytes")]
    TooManyBytes { limit: u64 },
    /// An archive far longer than its files.
    #[error("the archive is longer than {limit} bytes")]
    ArchiveTooLong { limit: u64 },
}

impl Refusal {
    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::AbsolutePath { .. } => "bundle_absolute_path",
            Refusal::ParentPath { .. } => "bundle_parent_path",
            Refusal::EmptyPath => "bundle_empty_path",
            Refusal::NulInPath { .. } => "bundle_nul_in_path",
            Refusal::PathTooLong { .. } => "bundle_path_too_long",
            Refusal::NameTooLong { .. } => "bundle_name_too_long",
            Refusal::TooDeep { .. } => "bundle_too_deep",
            Refusal::Duplicate { .. } => "bundle_duplicate",
            Refusal::NotADirectory { .. } => "bundle_not_a_directory",
            Refusal::LinkAbsolute { .. } => "bundle_link_absolute",
            Refusal::LinkOutside { .. } => "bundle_link_outside",
            Refusal::LinkDetour { .. } => "bundle_link_detour",
            Refusal::LinkBroken { .. } => "bundle_link_broken",
            Refusal::HardLink { .. } => "bundle_hard_link",
            Refusal::Device { .. } => "bundle_device",
            Refusal::Fifo { .. } => "bundle_fifo",
            Refusal::Socket { .. } => "bundle_socket",
            Refusal::Sparse { .. } => "bundle_sparse",
            Refusal::UnknownKind { .. } => "bundle_unknown_kind",
            Refusal::TooManyFiles { .. } => "bundle_too_many_files",
            Refusal::TooManyBytes { .. } => "bundle_too_many_bytes",
            Refusal::ArchiveTooLong { .. } => "bundle_archive_too_long",
        }
    }

    /// What to do about it, as a full sentence.
    pub fn hint(&self) -> &'static str {
        match self {
            Refusal::AbsolutePath { .. } | Refusal::ParentPath { .. } | Refusal::EmptyPath => {
                "Paths in a bundle start at its top; pack the directory with `fn deploy`."
            }
            Refusal::NulInPath { .. } => "The archive is damaged or made to do harm; pack the directory again.",
            Refusal::PathTooLong { .. } | Refusal::NameTooLong { .. } => "Choose shorter names.",
            Refusal::TooDeep { .. } => "Nest directories less deeply.",
            Refusal::Duplicate { .. } | Refusal::NotADirectory { .. } => {
                "Pack the directory again, so that each path is in the archive once."
            }
            Refusal::LinkAbsolute { .. } | Refusal::LinkOutside { .. } => {
                "Copy the target into the directory and link to it with a relative path."
            }
            Refusal::LinkDetour { .. } => "Point the link straight at its target, with every `..` at the start.",
            Refusal::LinkBroken { .. } => "Remove the link or give it a target.",
            Refusal::HardLink { .. } => "Store the file twice or use a symbolic link.",
            Refusal::Device { .. } | Refusal::Fifo { .. } | Refusal::Socket { .. } => {
                "Remove it: a sandbox has its own /dev, and a bundle holds only files, directories and links."
            }
            Refusal::Sparse { .. } => "Make the archive without `--sparse`.",
            Refusal::UnknownKind { .. } => "Remove the entry: a bundle holds only files, directories and links.",
            Refusal::TooManyFiles { .. } => {
                "Remove what the function does not need when it runs, such as tests and caches of tools."
            }
            Refusal::TooManyBytes { .. } => "Remove large files, or let the function fetch them when it starts.",
            Refusal::ArchiveTooLong { .. } => "Make the archive without padding and extended attributes.",
        }
    }
}

/// A path from a stranger, fit to be shown: short and without control characters.
pub(super) fn shown(path: &[u8]) -> String {
    // Four bytes are the most that a character has, so the cut is never before the last shown character.
    let start = &path[..path.len().min((SHOWN + 1) * 4)];
    one_line(&String::from_utf8_lossy(start), SHOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_paths_are_short_and_harmless() {
        assert_eq!(shown(b"a/b"), "a/b");
        assert_eq!(shown(b"a\n\x1b[31m"), "a\\x0a\\x1b[31m");
        assert_eq!(shown(&[0xff]), "\u{fffd}");
        assert_eq!(shown(&[b'a'; 5000]).len(), SHOWN + 3);
    }
}
