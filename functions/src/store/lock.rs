//! One process at a time: an exclusive `flock` on a file that says who holds it.
//!
//! The kernel frees the lock when its holder ends, however it ends, so a lock is never stale; the process
//! id in the file is only there to be shown. A child that is forked has the lock too until it executes its
//! program: the file is close-on-exec. So dropping the lock frees it for all, and does not leave that to the
//! closing of the last copy.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::StoreError;

/// The lock, held until it is dropped.
pub(super) struct StateLock {
    file: File,
}

impl StateLock {
    pub(super) fn take(path: &Path) -> Result<StateLock, StoreError> {
        let failed = |error| StoreError::io(path, error);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(held(path, &mut file)),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let written = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        written.map_err(failed)?;
        Ok(StateLock { file })
    }
}

impl Drop for StateLock {
    fn drop(&mut self) {
        // If it fails, the closing that follows does it.
        let _ = self.file.unlock();
    }
}

/// Names the holder as far as it lets itself be named.
fn held(path: &Path, file: &mut File) -> StoreError {
    let mut text = String::new();
    let pid = file
        .take(32)
        .read_to_string(&mut text)
        .ok()
        .and_then(|_| text.trim().parse::<u32>().ok());
    let program = pid
        .and_then(|pid| std::fs::read_to_string(format!("/proc/{pid}/comm")).ok())
        .map(|program| program.trim().to_owned());
    StoreError::Locked {
        path: path.to_owned(),
        pid,
        program,
    }
}
