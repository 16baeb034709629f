//! `mount_setattr(2)`, which no library offers.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Attributes to add to a mount; none can be taken away with this.
#[derive(Clone, Copy)]
pub(crate) struct Attributes(u64);

impl Attributes {
    /// None.
    pub(crate) const NONE: Self = Self(0);
    /// No writes.
    pub(crate) const READ_ONLY: Self = Self(libc::MOUNT_ATTR_RDONLY);
    /// Set-user-id bits have no effect.
    pub(crate) const NO_SUID: Self = Self(libc::MOUNT_ATTR_NOSUID);
    /// Device nodes can't be opened.
    pub(crate) const NO_DEV: Self = Self(libc::MOUNT_ATTR_NODEV);
    /// Nothing can be executed.
    pub(crate) const NO_EXEC: Self = Self(libc::MOUNT_ATTR_NOEXEC);

    /// Both.
    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// How far a change of attributes reaches.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The mount alone.
    Mount,
    /// The mount and all below it.
    Tree,
}

/// Adds attributes to the mount at `path` under `dir` (an empty path means the mount that `dir` itself is).
///
/// # Errors
/// `EPERM` when a locked attribute would change, `EINVAL` when `path` is no mount point, `ENOSYS` before Linux 5.12.
pub(crate) fn add_attributes(dir: BorrowedFd<'_>, path: &Path, set: Attributes, reach: Reach) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let attr = libc::mount_attr {
        attr_set: set.0,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    let flags = libc::AT_EMPTY_PATH | if reach == Reach::Tree { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a C string and the struct is initialised, its size is passed; both outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            dir.as_raw_fd(),
            path.as_ptr(),
            flags as u32,
            &raw const attr,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
