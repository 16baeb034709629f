//! Session keyrings and the check that privileges are gone.

use std::io;

/// Leaves the inherited session keyring for a fresh, anonymous one.
///
/// # Errors
/// `ENOSYS` where the kernel has no keyrings, `EDQUOT` when the user holds too many keys.
pub(crate) fn fresh_session_keyring() -> io::Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_long = 1;
    // SAFETY: a null name asks for an anonymous keyring; no memory is touched.
    let result = unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, 0usize) };
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Asks to become host root, which must fail once privileges are dropped for good.
pub(crate) fn can_become_root() -> bool {
    // SAFETY: setuid takes an integer. Should it succeed, the caller ends the process.
    unsafe { libc::setuid(0) == 0 }
}
