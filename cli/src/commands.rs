//! From the words of the command line to an exit code.
//!
//! ```text
//! words --> hidden part of the server? --> its own main, which never returns here
//!       --> args --> serve     --> becomes its user, then makes its runtime
//!                \-> the rest  --> a small runtime, one command, one answer
//! ```
//!
//! No thread exists before that fork in the road: the hidden parts fork processes, and `serve` changes its user, which
//! both must happen in a process of a single thread.

use std::ffi::OsString;

use crate::args::{self, Cli, Command, GlobalArgs};
use crate::client::AdminClient;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render::{Format, Screen};
use crate::settings::{self, ProcessEnv, Typed, Who};

mod alerts;
mod aws_env;
mod completions;
mod deploy;
mod dev;
mod doctor;
mod evict;
mod hidden;
mod init;
mod invoke;
mod list;
mod logs;
mod name;
mod rm;
mod scope;
mod serve;
mod show;

/// Runs the command line, its first word being the program's name.
pub(crate) fn run(words: Vec<OsString>) -> Exit {
    hidden::run(&words);
    // A usage error has no parsed arguments yet, and still must come as JSON to one who asked for JSON.
    let asked_for_json = words.iter().any(|word| word == "--json");
    let cli = match args::parse(words) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, asked_for_json),
    };
    let screen = Screen {
        format: if cli.global.json { Format::Json } else { Format::Text },
    };
    match dispatch(cli, screen) {
        Ok(exit) => exit,
        Err(failure) => {
            screen.failure(&failure);
            failure.exit
        }
    }
}

/// Runs one command.
fn dispatch(cli: Cli, screen: Screen) -> Result<Exit, Failure> {
    let Cli { global, command } = cli;
    match command {
        Command::Serve(args) => serve::run(&args, &global),
        Command::Init(args) => init::run(&args, screen),
        Command::Completions(args) => completions::run(&args, screen),
        Command::Deploy(args) => wait(deploy::run(&args, &client(&global)?, screen)),
        Command::Dev(args) => wait(dev::run(&args, &client(&global)?, screen)),
        Command::Invoke(args) => wait(invoke::run(args, &client(&global)?, screen)),
        Command::List => wait(list::run(&client(&global)?, screen)),
        Command::Show(args) => wait(show::run(&args, &client(&global)?, screen)),
        Command::Logs(args) => wait(logs::run(args, &client(&global)?, screen)),
        Command::Alerts(args) => wait(alerts::run(args, &client(&global)?, screen)),
        Command::Evict(args) => wait(evict::run(&args, &client(&global)?, screen)),
        Command::Rm(args) => wait(rm::run(&args, &client(&global)?, screen)),
        Command::AwsEnv => wait(aws_env::run(&client(&global)?, screen)),
        Command::Doctor => {
            if Who::started_this() == Who::Ordinary {
                scope::enter();
            }
            wait(doctor::run(&client(&global)?, screen))
        }
    }
}

/// The client of the server that the options and the environment point to.
fn client(global: &GlobalArgs) -> Result<AdminClient, Failure> {
    Ok(AdminClient::new(settings::admin_socket(
        typed(global),
        &ProcessEnv,
        Who::started_this(),
    )?))
}

/// The options about places.
fn typed(global: &GlobalArgs) -> Typed<'_> {
    Typed {
        state_dir: global.state_dir.as_deref(),
        admin_socket: global.admin_socket.as_deref(),
    }
}

/// Runs a client command on this thread.
fn wait(command: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(command),
        Err(cause) => Err(Failure::new(
            Exit::Failed,
            "no_runtime",
            format!("the event loop can't be started: {cause}"),
        )),
    }
}

/// Prints what clap says: help and version on standard output, mistakes on standard error.
fn usage(error: &clap::Error, asked_for_json: bool) -> Exit {
    if !error.use_stderr() {
        let _ = error.print();
        return Exit::Ok;
    }
    if asked_for_json {
        let text = error.to_string();
        let message = text
            .lines()
            .next()
            .unwrap_or_default()
            .trim_start_matches("error: ")
            .to_owned();
        Screen { format: Format::Json }.failure(&Failure::new(Exit::Usage, "usage", message));
    } else {
        let _ = error.print();
    }
    Exit::Usage
}
