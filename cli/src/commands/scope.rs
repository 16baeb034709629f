//! A start inside a group of our own, where systemd keeps this process in one that is not ours to split.
//!
//! `serve` needs it for its limits. `doctor` needs it to find what a `serve` of the same user would find.

use sandbox::cgroup;

use crate::settings::{Env as _, ProcessEnv};

/// Starts this command over in a scope of the user's systemd where that would help, and returns where it would not.
pub(super) fn enter() {
    let files =
        ["/proc/self/mountinfo", "/proc/self/cgroup"].map(|path| std::fs::read_to_string(path).unwrap_or_default());
    let mounted = cgroup::mounts::parse(&files[0], &files[1]);
    let variable = |name: &str| ProcessEnv.var(name)?.into_string().ok();
    if cgroup::scope::would_help(&mounted, variable) {
        // It returns only when it failed; the report then says which limits are missing.
        let error = cgroup::scope::enter(std::env::args_os().skip(1));
        eprintln!("warning: systemd gave no scope of our own: {error}");
    }
}
