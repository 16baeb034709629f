//! Which program runs a revision, with which environment, and the files it needs from us.
//!
//! Six runtimes: [`python`] and [`node`] exec the host's interpreter on a shim of ours, which loads the handler and
//! speaks the frames of [`crate::wire`]; [`stdio`] is a resident of ours that starts the function's own program once
//! per invocation; `http` and `fdk` are servers of the
//! function's own, `lambda` a client of the server that [`RUNTIME_API_PORT`] is for. The shims are embedded in this crate and put below `/var/runtime` of every sandbox by whoever builds
//! its root ([`base_files`]).
//!
//! Owns no process but the short ones that ask an interpreter for its version ([`HostRuntimes::find`]).

mod build;
mod fdk;
mod host;
mod http;
pub mod lambda;
mod launch;
pub mod node;
mod opt;
pub mod parked;
pub mod python;
pub mod stdio;

pub use build::build;
pub use fdk::FDK_SOCKET;
pub use host::{HostRuntimes, Interpreter, Missing, Version};
pub use lambda::RUNTIME_API_PORT;
pub use launch::{BaseFile, FUNCTION_DIR, Launch, LaunchError, Program, TASK_ROOT, base_files, launch, template};
