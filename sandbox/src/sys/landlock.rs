//! Which landlock this kernel has; rules are made by the `landlock` library.

/// Version of the ABI; 0 when there is none.
pub(crate) fn abi() -> i32 {
    const VERSION: u32 = 1;
    // SAFETY: with a null attribute and the version flag the call only answers a number (landlock_create_ruleset(2)).
    let answer = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, 0usize, 0usize, VERSION) };
    i32::try_from(answer).unwrap_or(0).max(0)
}
