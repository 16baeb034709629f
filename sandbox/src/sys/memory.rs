//! Reading a little of the memory of another process.

use std::io::{self, IoSliceMut};

use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;

/// Any page is at least so large.
const PAGE: u64 = 4096;

/// Up to `MOST` bytes of the process or thread `pid` from `address` on: fewer where its memory ends before.
///
/// # Errors
/// `EPERM` without the right to trace it, `EFAULT` when nothing is mapped there, `ESRCH` when it has ended.
pub(crate) fn read<const MOST: usize>(pid: i32, address: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; MOST];
    // In two pieces, as one that crosses into a page that is not mapped may fail as a whole.
    let before = usize::try_from(PAGE - address % PAGE).unwrap_or(MOST).min(MOST);
    let base = usize::try_from(address).map_err(|_| io::ErrorKind::InvalidInput)?;
    let pieces = [
        RemoteIoVec { base, len: before },
        RemoteIoVec {
            base: base.wrapping_add(before),
            len: MOST - before,
        },
    ];
    let length = process_vm_readv(Pid::from_raw(pid), &mut [IoSliceMut::new(&mut bytes)], &pieces)?;
    bytes.truncate(length);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mapped_is_read_and_what_is_not_is_an_error() {
        let text = b"/bin/sh\0".to_vec();
        let own = i32::try_from(std::process::id()).unwrap();
        let read_text = read::<8>(own, text.as_ptr() as u64).unwrap();
        assert_eq!(read_text, text);
        for address in [0, 1, u64::MAX, u64::MAX - 4, 1 << 63] {
            assert!(read::<256>(own, address).is_err(), "{address:#x}");
        }
        assert!(read::<8>(i32::MAX, 4096).is_err());
    }
}
