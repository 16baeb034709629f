//! `loadtest`: measures the platform from the outside, over HTTP, beside the floors of the machine it runs on.
//!
//! Exit code 0: everything asked for was measured and nothing failed. 1: a call failed, a regression was found, or the
//! measurement could not be made. 2: the command line was wrong.

mod admin;
mod args;
mod arrivals;
mod census;
mod child;
mod client;
mod compare;
mod echo;
mod floor;
mod machine;
mod metrics;
mod once;
mod pacer;
mod peers;
mod phases;
mod ratios;
mod recorder;
mod report;
mod scenarios;
mod series;
mod serve;
mod start;
mod stolen;
mod workload;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

fn main() -> ExitCode {
    let args = args::Args::parse();
    match run(args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("loadtest: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// As many connections as the hard limit allows; with fewer the calls that lack one fail, and are counted.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    let _kept_as_it_was = setrlimit(Resource::Nofile, raised);
}

fn run(args: args::Args) -> anyhow::Result<ExitCode> {
    raise_open_files();
    // One thread: a client that hands each call from thread to thread would measure its own wake-ups.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the event loop did not start")?;
    let command = args.command;
    if matches!(command, args::Command::Echo) {
        runtime.block_on(echo::serve()).context("the echo server stopped")?;
        return Ok(ExitCode::SUCCESS);
    }
    let outputs = command.outputs();
    let report = runtime.block_on(scenarios::run(command))?;
    report::deliver(&report, &outputs)?;
    Ok(if report.problems.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
