//! `cargo xtask demo`: the main job, shown on this machine, and every step of it checked.
//!
//! It builds, starts a server without any right of root, deploys the examples, calls each cold and warm, lets one scale to zero and
//! calls it again, measures cold against warm, stops the server and looks for anything that is left. It ends well only when all of
//! that worked; what did not is an error that says what was expected and what was seen, with the end of the server's log.
//!
//! ```text
//! requirements -> build -> serve -> deploy -> cold, warm -> scale to zero -> compare -> metrics -> stop -> nothing left
//! ```

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::program::Program;
use crate::requirements::{self, Purpose};
use crate::workspace::{Executable, Workspace};

mod call;
mod examples;
mod leftovers;
mod poll;
mod server;
mod shown;
mod stage;

pub(crate) use stage::stage;

use call::Reply;
use examples::{EXAMPLES, Example};
use server::Server;

/// How long a function that was called may take to be gone: its idle time of 2 s and then some, on a busy machine.
const TO_ZERO: Duration = Duration::from_secs(60);

/// Where the programs and the examples come from.
pub(crate) enum Source<'a> {
    /// They are built.
    Workspace(&'a Workspace),
    /// They lie in this directory, as `stage` puts them together.
    Prebuilt(&'a Path),
}

/// What is demonstrated.
struct Programs {
    serve: PathBuf,
    loadtest: PathBuf,
    floor: PathBuf,
    rust_example: PathBuf,
    /// The directory of the examples.
    examples: PathBuf,
}

impl Programs {
    fn prebuilt(dir: &Path) -> Self {
        Self {
            serve: dir.join("fn"),
            loadtest: dir.join("loadtest"),
            floor: dir.join("floor"),
            rust_example: dir.join(examples::RUST),
            examples: dir.join("examples"),
        }
    }

    /// What is deployed of an example.
    fn of(&self, example: &Example) -> PathBuf {
        match example.dir {
            examples::RUST => self.rust_example.clone(),
            dir => self.examples.join(dir),
        }
    }
}

/// Runs the whole demonstration.
pub(crate) fn run(source: Source<'_>) -> Result<()> {
    let purpose = match source {
        Source::Workspace(_) => Purpose::Demo,
        Source::Prebuilt(_) => Purpose::PrebuiltDemo,
    };
    for missing in requirements::ensure(purpose)? {
        eprintln!(
            "{} is missing, and the demonstration works without it; it comes with\n  {}",
            missing.name, missing.remedy
        );
    }
    let programs = match source {
        Source::Workspace(workspace) => {
            shown::step("build");
            build(workspace)?
        }
        Source::Prebuilt(dir) => Programs::prebuilt(dir),
    };
    shown::step("serve");
    let mut server = Server::start(&programs)?;
    let watch = leftovers::Watch::begin(server.pid(), server.group_name())?;
    if let Err(error) = show(&server, &programs, &watch) {
        eprintln!("\nthe end of the server's log:\n{}", server.log_end());
        return Err(error);
    }
    shown::step("stop");
    let log = server.stop()?;
    watch
        .nothing_left()
        .with_context(|| format!("the end of the server's log:\n{log}"))?;
    println!("the server drained and ended with 0; no process and no cgroup is left");
    println!("\nall of it worked");
    Ok(())
}

/// Everything between the start and the stop of the server.
fn show(server: &Server, programs: &Programs, watch: &leftovers::Watch) -> Result<()> {
    shown::step("deploy the examples and call each cold and warm");
    let mut rows = Vec::new();
    for example in EXAMPLES {
        server.deploy(example.name, &programs.of(example), &[])?;
        rows.push(cold_and_warm(server, example)?);
        watch.look()?;
    }
    shown::step("let one scale to zero and call it again");
    scale_to_zero(programs, server)?;
    shown::step("cold against warm, under load");
    compare(server)?;
    watch.look()?;
    shown::step("one cold and one warm call of each example, by curl's clock");
    println!("{}", shown::table(&rows));
    shown::step("/metrics, some of it");
    print!("{}", shown::extract(&server.metrics()?));
    Ok(())
}

fn build(workspace: &Workspace) -> Result<Programs> {
    let built = workspace.build(&[
        "build",
        "--release",
        "--package",
        "cli",
        "--package",
        "loadtest",
        "--package",
        "sandbox",
    ])?;
    let bin = |name: &str| -> Result<PathBuf> {
        let found = built
            .iter()
            .find(|one: &&Executable| one.kind == "bin" && one.name == name);
        Ok(found
            .with_context(|| format!("cargo built no program named {name}"))?
            .path
            .clone())
    };
    Ok(Programs {
        serve: bin("fn")?,
        loadtest: bin("loadtest")?,
        floor: bin("floor")?,
        rust_example: rust_example(workspace)?,
        examples: examples_of(workspace),
    })
}

fn examples_of(workspace: &Workspace) -> PathBuf {
    workspace.root().join("functions/examples")
}

/// Builds the example that is a program, and returns that.
fn rust_example(workspace: &Workspace) -> Result<PathBuf> {
    let manifest = examples_of(workspace).join(examples::RUST).join("Cargo.toml");
    let target = workspace.target().join("examples");
    let manifest = manifest.to_str().context("the path of the workspace is not UTF-8")?;
    let target = target
        .to_str()
        .context("the path of the target directory is not UTF-8")?;
    let example = workspace.build(&[
        "build",
        "--release",
        "--manifest-path",
        manifest,
        "--target-dir",
        target,
    ])?;
    let program = example
        .first()
        .with_context(|| format!("cargo built no program of {manifest}"))?;
    Ok(program.path.clone())
}

fn cold_and_warm(server: &Server, example: &Example) -> Result<shown::Row> {
    let cold = server.call(example)?;
    expect(example, &cold)?;
    ensure!(
        !["warm", "thawed"].contains(&cold.start.as_str()),
        "{}: the first call after the deploy should start a new process, but x-fn-start is {}",
        example.name,
        cold.start
    );
    let warm = server.call(example)?;
    expect(example, &warm)?;
    ensure!(
        warm.start == "warm",
        "{}: the second call should find the first one's instance (x-fn-start: warm), but x-fn-start is {}",
        example.name,
        warm.start
    );
    if example.keeps_its_process {
        ensure!(
            warm.instance == cold.instance,
            "{}: both calls should be answered by the process {}, but the second was by {}",
            example.name,
            cold.instance,
            warm.instance
        );
    }
    Ok(shown::Row {
        name: example.name,
        cold,
        warm,
    })
}

fn expect(example: &Example, reply: &Reply) -> Result<()> {
    ensure!(
        reply.status == 200,
        "{}: expected status 200, seen {}: {}",
        example.name,
        reply.status,
        reply.text()
    );
    ensure!(
        reply.says(example.answers),
        "{}: expected a reply with `{}`, seen: {}",
        example.name,
        example.answers,
        reply.text()
    );
    Ok(())
}

fn scale_to_zero(programs: &Programs, server: &Server) -> Result<()> {
    let example = Example {
        name: "sleepy",
        ..EXAMPLES[0]
    };
    server.deploy(
        example.name,
        &programs.of(&example),
        &["--set", "idle=2s", "--set", "scale.keep=nothing"],
    )?;
    let before = server.call(&example)?;
    expect(&example, &before)?;
    ensure!(
        server.instances(example.name)? >= 1.0,
        "sleepy was just called, but /metrics shows no instance of it"
    );
    poll::until("no instance of sleepy in /metrics", TO_ZERO, || {
        Ok((server.instances(example.name)? == 0.0).then_some(()))
    })?;
    println!("sleepy was idle for 2s and is gone");
    let after = server.call(&example)?;
    expect(&example, &after)?;
    ensure!(
        after.start != "warm" && after.instance != before.instance,
        "sleepy had scaled to zero, so this call should start a new process, but x-fn-start is {} and x-fn-instance is {} after {}",
        after.start,
        after.instance,
        before.instance
    );
    println!("sleepy started again: {}", after.start);
    Ok(())
}

/// Runs the load test shortly, with the floors of this machine measured in the same run.
fn compare(server: &Server) -> Result<()> {
    let functions = EXAMPLES
        .iter()
        .filter(|example| example.compared)
        .flat_map(|example| ["--function", example.name]);
    Program::new(server.loadtest())
        .args(["compare", "--url", server.url(), "--admin-socket"])
        .args([server.admin_socket()])
        .args(functions)
        .args(["--rate", "20", "--duration", "6s", "--rounds", "2"])
        .run()
}
