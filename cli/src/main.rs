//! The `fn` command.
//!
//! | module | answers |
//! |---|---|
//! | [`args`] | what was typed |
//! | [`settings`] | where the state directory and the admin socket are |
//! | [`commands`] | what each command does, one file each |
//! | [`client`] | the server's admin API over its unix socket |
//! | [`staging`] | what PATH of a deploy is, as a directory |
//! | [`packages`] | the dependencies in that directory |
//! | [`render`] | tables, JSON and progress |
//! | [`failure`], [`exit`] | what went wrong, and the number that says so |

use std::process::ExitCode;

mod args;
mod client;
mod commands;
mod exit;
mod failure;
mod packages;
mod render;
mod settings;
mod staging;

fn main() -> ExitCode {
    commands::run(std::env::args_os().collect()).into()
}
