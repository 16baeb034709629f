//! Attaching a compiled filter.

use std::io;

/// One classic BPF instruction, as the kernel reads it.
pub(crate) use libc::sock_filter as Instruction;

/// Attaches `program` to this process and its future children, for good. `no_new_privs` must stand.
///
/// # Errors
/// `EACCES` without `no_new_privs`, `EINVAL` for a malformed program.
pub(crate) fn attach(program: &[Instruction]) -> io::Result<()> {
    let length = u16::try_from(program.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let header = libc::sock_fprog {
        len: length,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: `header` and the instructions live through the call; the kernel copies and verifies them and writes to
    // neither. Legal after clone: one system call, no allocation.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const header) };
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
