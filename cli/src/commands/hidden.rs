//! The parts of the server that are processes of their own, started by `fn serve` from this same binary.
//!
//! They are no commands: no help names them, and they run before anything else does, in a process of one thread.

use std::ffi::OsString;

/// Runs the hidden part that the words ask for, and ends with it. Returns when they ask for none.
pub(crate) fn run(words: &[OsString]) {
    if let [_, entry, arguments @ ..] = words
        && entry == warm_pool::SPAWNER_ENTRY
    {
        let arguments: Vec<String> = arguments
            .iter()
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        std::process::exit(warm_pool::spawner_main(&arguments));
    }
}
