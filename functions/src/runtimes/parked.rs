//! Processes that are started before it is known whose they will be.
//!
//! ```text
//!  executed with parked(..) -> PARKED -> waits -- LOAD, made by load(..) --> as if it had been executed with launch(..)
//! ```
//!
//! Only code of the interpreter and of ours runs until LOAD comes. A function is served by such a process only if it
//! can't tell that from a process of its own: same command line, one lane, and nothing in its environment that the
//! interpreter reads when it starts. What it can see is its age and the processor time of
//! its start, which modules of Node the rehearsal has loaded, and in `/proc/self/environ` what it was started with.

use super::host::HostRuntimes;
use super::launch::{Launch, Program, common};
use super::node;
use crate::wire::Load;
use crate::{ByteSize, Revision, Runtime};

/// Memory of the functions that parked processes are for: the default. The size of the heap is on the command line.
pub const MEMORY: ByteSize = ByteSize::mib(256);

/// Fewer processes than this and an interpreter would not come up, or only by luck; a process that runs already would hide that.
const FEWEST_PIDS: u32 = 32;

/// Tells the shim to wait for LOAD.
const PARKED: &str = "FN_PARKED";

/// How a Node process is started that waits for its function, with one lane. `None` without a Node on this host.
pub fn parked(host: &HostRuntimes) -> Option<Launch> {
    host.node.as_ref().ok()?;
    let env = common()
        .chain([("FN_LANES", "1"), (PARKED, "1")])
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    Some(Launch {
        program: Program::Exec,
        argv: node::argv(MEMORY),
        env: env.collect(),
        cwd: "/".to_owned(),
    })
}

/// What makes a parked process an instance of `revision`, which `launch` is of. `None` when it can't become one.
pub fn load(revision: &Revision, launch: &Launch) -> Option<Load> {
    let settings = &revision.settings;
    let fits = settings.runtime == Runtime::Node
        && settings.memory == MEMORY
        && settings.concurrency == 1
        && settings.pids >= FEWEST_PIDS
        // They are on the paths that the interpreter reads when it starts.
        && settings.layers.is_empty()
        && !settings.env.keys().any(|name| node::reads_at_start(name));
    fits.then(|| Load {
        env: launch.env.clone(),
        cwd: launch.cwd.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::launch::launch;
    use super::super::launch::tests::{host, revision};
    use super::*;

    fn loaded(toml: &str, runtime: Runtime) -> Option<Load> {
        let revision = revision(toml, runtime, "index.handler");
        load(&revision, &launch(&revision, &host()).unwrap())
    }

    #[test]
    fn a_plain_function_finds_what_its_own_process_would_have() {
        let revision = revision(
            "[env]\nA = \"b\"\nNODE_ENV = \"production\"",
            Runtime::Node,
            "index.handler",
        );
        let launch = launch(&revision, &host()).unwrap();
        let load = load(&revision, &launch).unwrap();
        assert_eq!((load.env, load.cwd), (launch.env, launch.cwd));
        assert_eq!(parked(&host()).unwrap().argv, launch.argv);
    }

    #[test]
    fn what_the_interpreter_reads_at_its_start_is_the_same() {
        let revision = revision("", Runtime::Node, "index.handler");
        let launch = launch(&revision, &host()).unwrap();
        for (name, value) in parked(&host()).unwrap().env {
            if name != PARKED {
                assert!(launch.env.contains(&(name.clone(), value)), "{name}");
            }
        }
    }

    #[test]
    fn functions_that_would_notice_get_a_process_of_their_own() {
        for toml in [
            "memory = \"128MiB\"",
            "concurrency = 2",
            "pids = 8",
            "layers = [\"./layer\"]",
            "[env]\nNODE_OPTIONS = \"--no-warnings\"",
            "[env]\nLANG = \"de_DE.UTF-8\"",
            "[env]\nTZ = \"Europe/Berlin\"",
            "[env]\nHOME = \"/function\"",
            "[env]\nUV_THREADPOOL_SIZE = \"9\"",
            "[env]\nLD_LIBRARY_PATH = \"/function/lib\"",
        ] {
            assert_eq!(loaded(toml, Runtime::Node), None, "{toml}");
        }
        assert_eq!(loaded("", Runtime::Python), None);
        assert_eq!(loaded("", Runtime::Stdio), None);
    }
}
