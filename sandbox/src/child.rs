//! What runs in the new processes of a sandbox: pid 1 in [`slot`], pid 2 in [`worker`], who comes in to connect to a socket in
//! [`visitor`]; and in those of a cell: its pid 1 in [`cell`], what becomes the template in [`template`], and pid 1 of its
//! slots in [`cell_slot`].
//!
//! All are copies of the single-threaded spawner, so any code may run in them; none ever returns into it.

mod calls;
pub(crate) mod cell;
pub(crate) mod cell_slot;
mod listening;
pub(crate) mod procfs;
pub(crate) mod rootfs;
pub(crate) mod slot;
mod tcp;
pub(crate) mod template;
pub(crate) mod visitor;
mod watching;
pub(crate) mod worker;

use std::os::fd::OwnedFd;

/// What a resident serves: everything that the worker would have handed to a program by exec.
#[derive(Debug)]
pub struct ResidentCall {
    /// Sockets to the host, one invocation at a time on each.
    pub lanes: Vec<OwnedFd>,
    /// Program and arguments to start.
    pub argv: Vec<String>,
    /// Environment to start it with.
    pub env: Vec<(String, String)>,
    /// Directory to start it in.
    pub cwd: String,
}

/// Code that serves lanes inside a confined worker, under a name that a [`crate::Plan`] can ask for.
#[derive(Debug, Clone, Copy)]
pub struct Resident {
    /// Name.
    pub name: &'static str,
    /// Serves until there is nothing more to serve; the worker exits with what it returns.
    pub serve: fn(ResidentCall) -> i32,
}
