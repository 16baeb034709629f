//! `cargo xtask`: the developer's tool. `args` says what was typed; every command is one module with a `run` of its own.
//!
//! The tool uses none of the workspace's crates. It speaks to the product as everybody does: through the `fn` binary and HTTP.

mod abuse;
mod args;
mod demo;
mod dependencies;
mod layers;
mod lint;
mod program;
mod requirements;
mod story;
mod test;
mod vm;
mod workspace;

fn main() -> std::process::ExitCode {
    args::run()
}
