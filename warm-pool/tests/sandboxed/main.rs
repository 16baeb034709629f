//! The pool over real sandboxes. The program is two things: the tests, and, started by them with the name of the entry, the spawner.
//!
//! Started as root it becomes `nobody` first, as the server does. Where this user can't set limits, the test of the memory limit
//! says so and is skipped; everything else runs everywhere.

#![expect(clippy::unwrap_used, reason = "a test that can not go on panics")]

mod house;
mod stories;

use functions::runtimes::stdio;
use sandbox::{Resident, ResidentCall};

/// The name of the entry.
const SPAWNER: &str = "__spawner";

fn serve_stdio(call: ResidentCall) -> i32 {
    stdio::serve(stdio::Resident {
        lanes: call.lanes,
        argv: call.argv,
        env: call.env,
        cwd: call.cwd.into(),
    })
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == SPAWNER) {
        let residents = [Resident {
            name: stdio::RESIDENT,
            serve: serve_stdio,
        }];
        std::process::exit(sandbox::spawner::main(SPAWNER, &arguments[1..], &residents));
    }
    // What the usual harness would be asked: a list, and no tests of ours are ignored.
    if arguments.iter().any(|argument| argument == "--list") {
        return;
    }
    let setting = house::prepare();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(stories::tell(&setting));
}
