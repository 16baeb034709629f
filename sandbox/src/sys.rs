//! The only place of the workspace with `unsafe`: system calls that neither `nix` nor `rustix` offers as safe functions.
//!
//! One file per family of calls; file descriptors go in as `BorrowedFd` and come out as `OwnedFd`, every call returns a
//! `Result`. Nothing here decides anything: what is called, and in which order, stands in `child` and `spawner`.

#![expect(unsafe_code, reason = "this is where system calls are made that no library offers")]

pub(crate) mod clone;
pub(crate) mod credentials;
pub(crate) mod descriptors;
pub(crate) mod landlock;
pub(crate) mod loopback;
pub(crate) mod memory;
pub(crate) mod mounts;
pub(crate) mod readiness;
pub(crate) mod seccomp;
pub(crate) mod signals;
