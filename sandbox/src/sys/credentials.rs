//! Session keyrings and the check that privileges are gone.

use std::io;

/// Leaves the inherited session keyring for a fresh, anonymous one, which is empty and to which nobody has any right, not
/// even who holds it (keyctl_setperm(3)).
///
/// # Errors
/// `ENOSYS` where the kernel has no keyrings, `EDQUOT` when the user holds too many keys.
pub(crate) fn sealed_session_keyring() -> io::Result<()> {
    const JOIN_SESSION_KEYRING: libc::c_long = 1;
    const SETPERM: libc::c_long = 5;
    const SESSION_KEYRING: libc::c_long = -3;
    // SAFETY: a null name asks for an anonymous keyring; no memory is touched.
    if unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, 0usize) } == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: takes integers only.
    if unsafe { libc::syscall(libc::SYS_keyctl, SETPERM, SESSION_KEYRING, 0usize) } == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Asks to become host root, which must fail once privileges are dropped for good.
pub(crate) fn can_become_root() -> bool {
    // SAFETY: setuid takes an integer. Should it succeed, the caller ends the process.
    unsafe { libc::setuid(0) == 0 }
}
