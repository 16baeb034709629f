//! What was typed after `cargo xtask`, and which command answers it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::workspace::Workspace;
use crate::{abuse, demo, layers, lint, story, test, vm};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "The developer's tool of this workspace")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build everything, start a server, deploy the examples, call each cold and warm, and check all of it
    Demo {
        /// Build nothing: take the programs and the examples from this directory, as `cargo xtask vm` puts them together
        #[arg(long, value_name = "DIR")]
        prebuilt: Option<PathBuf>,
    },
    /// Run every check and every test: lint, unit tests, then the end-to-end tests
    Test {
        /// Run only the tests whose name contains this text; the lint is left out then
        filter: Option<String>,
    },
    /// Try from inside of a sandbox what hostile code would try, with every layer and without
    Abuse {
        /// Try only the cases whose name contains this text
        filter: Option<String>,
    },
    /// Kill the server and everything below it at random moments under load, and check that nothing is lost or left behind
    Chaos {
        /// How long: seconds or minutes, like 90s or 5m
        #[arg(long, default_value = "5m", value_parser = story::duration)]
        duration: Duration,
        /// Choose victims and pauses as an earlier run did, which printed its seed
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Attack a function's resources and measure what its neighbour feels before, during and after
    Neighbours {
        /// How long the neighbour is measured in each of the three phases of an attack
        #[arg(long, default_value = "5s", value_parser = story::duration)]
        duration: Duration,
    },
    /// Check that every crate uses only crates to its right, and that unsafe code stays in its one place
    Layers,
    /// Check formatting, clippy, the layers and the list of dependencies
    Lint,
    /// Boot Debian 12 under software emulation and run there, as its ordinary user, what shows that fn works on such a machine
    Vm(vm::Options),
}

/// Runs the command that was typed. 0: everything held. 1: something did not, and the last lines say what.
pub(crate) fn run() -> ExitCode {
    let args = Args::parse();
    let done = match args.command {
        // There may be neither cargo nor a workspace.
        Command::Demo { prebuilt: Some(dir) } => demo::run(demo::Source::Prebuilt(&dir)),
        command => Workspace::find().and_then(|workspace| in_workspace(&workspace, command)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn in_workspace(workspace: &Workspace, command: Command) -> Result<()> {
    match command {
        Command::Demo { .. } => demo::run(demo::Source::Workspace(workspace)),
        Command::Test { filter } => test::run(workspace, filter.as_deref()),
        Command::Abuse { filter } => abuse::run(workspace, filter.as_deref()),
        Command::Chaos { duration, seed } => story::run(workspace, &story::chaos(duration, seed)),
        Command::Neighbours { duration } => story::run(workspace, &story::neighbours(duration)),
        Command::Layers => layers::run(workspace),
        Command::Lint => lint::run(workspace),
        Command::Vm(options) => vm::run(workspace, &options),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Args;

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }
}
