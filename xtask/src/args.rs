//! What was typed after `cargo xtask`, and which command answers it.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::workspace::Workspace;
use crate::{abuse, demo, layers, lint, story, test};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "The developer's tool of this workspace")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build everything, start a server, deploy the examples, call each cold and warm, and check all of it
    Demo,
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
}

/// Runs the command that was typed. 0: everything held. 1: something did not, and the last lines say what.
pub(crate) fn run() -> ExitCode {
    let args = Args::parse();
    let done = Workspace::find().and_then(|workspace| match args.command {
        Command::Demo => demo::run(&workspace),
        Command::Test { filter } => test::run(&workspace, filter.as_deref()),
        Command::Abuse { filter } => abuse::run(&workspace, filter.as_deref()),
        Command::Chaos { duration, seed } => story::run(&workspace, &story::chaos(duration, seed)),
        Command::Neighbours { duration } => story::run(&workspace, &story::neighbours(duration)),
        Command::Layers => layers::run(&workspace),
        Command::Lint => lint::run(&workspace),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
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
