//! The parts of the server that are processes of their own, started by `fn serve` from this same binary.
//!
//! They are no commands: no help names them, and they run before anything else does, in a process of one thread.

use std::ffi::OsString;

use crate::exit::Exit;

/// The first argument that makes this process the spawner.
const SPAWNER: &str = "__spawner";

/// Runs the hidden part that the words ask for. `None` when they ask for none.
pub(crate) fn run(words: &[OsString]) -> Option<Exit> {
    match words.get(1) {
        Some(word) if word == SPAWNER => Some(spawner()),
        _ => None,
    }
}

/// Serves plans on the inherited socket until it closes.
fn spawner() -> Exit {
    Exit::Failed
}
