//! `fn completions`: the completion script of a shell.

use serde_json::json;

use crate::args::{self, CompletionsArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render::Screen;

/// Prints the script.
pub(crate) fn run(args: &CompletionsArgs, screen: Screen) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut args::command(), "fn", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    screen.answer(&json!({ "shell": args.shell.to_string(), "script": script }), || {
        script.clone()
    })?;
    Ok(Exit::Ok)
}
