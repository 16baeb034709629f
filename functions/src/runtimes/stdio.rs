//! Any executable: the request's body on its standard input, the request's head in its environment, the reply's body
//! from its standard output, one process per invocation.
//!
//! The program is not executed by the platform's process starter but by a resident of ours that already waits in the
//! sandbox ([`serve`]): confined like the function, it starts the program once per invocation and speaks frames for it.

mod invocation;
mod lane;
mod program;
mod serve;
mod sweep;
mod watchdog;

pub use serve::{Resident, serve};

use super::launch::FUNCTION_DIR;

/// The name under which the resident is started.
pub const RESIDENT: &str = "stdio";

/// The command line of the function's program. Only a build names one outside of the bundle, by an absolute path.
pub(super) fn argv(handler: &str, args: &[String]) -> Vec<String> {
    let program = match handler.strip_prefix('/') {
        Some(_) => handler.to_owned(),
        None => format!("{FUNCTION_DIR}/{handler}"),
    };
    std::iter::once(program).chain(args.iter().cloned()).collect()
}
