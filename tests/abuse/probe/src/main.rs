//! The probe of the abuse suite: a `stdio` function that tries what hostile code would try, and says how each attempt ended.
//!
//! The request names the cases; the reply is one line of JSON for each attempt. The probe judges nothing: what is expected stands in
//! `tests/abuse/cases.toml`, outside of the sandbox. It is linked statically, so that it runs in any root.
//!
//! | question | module |
//! |---|---|
//! | what came of an attempt? | [`attempt`] |
//! | what does the kernel answer to calls that nobody needs? | [`kernel`] |
//! | what did the set-up of the sandbox leave open? | [`setup`] |
//! | what is there of others? | [`others`] |
//! | which limits hold? | [`resources`] |
//! | how is the kernel asked? | [`sys`], the one file with unsafe code |

mod attempt;
mod errno;
mod kernel;
mod others;
mod resources;
mod setup;
#[expect(unsafe_code, reason = "the kernel is asked for what no safe interface offers")]
mod sys;

use std::io::Read;

use serde::Deserialize;

use attempt::Attempts;

/// What is asked for, as JSON on the standard input.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    /// Names of the cases, in the order in which they are to be tried.
    cases: Vec<String>,
    /// What the outside prepared.
    #[serde(default)]
    bait: Bait,
}

/// What the outside prepared for the probe to reach, if it can.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Bait {
    /// A port of the host's loopback device where somebody listens.
    port: u16,
    /// Name of an abstract unix socket of the host where somebody listens, without the leading NUL.
    abstract_socket: String,
    /// A file of the host that everybody may read.
    file: String,
}

/// One case: some attempts that belong together.
struct Case {
    name: &'static str,
    run: fn(&Bait, &mut Attempts),
}

fn main() -> std::process::ExitCode {
    let mut text = String::new();
    let request = std::io::stdin()
        .read_to_string(&mut text)
        .map_err(|error| error.to_string())
        .and_then(|_| serde_json::from_str::<Request>(&text).map_err(|error| error.to_string()));
    let request = match request {
        Ok(request) => request,
        Err(error) => {
            eprintln!("the request is no list of cases: {error}");
            return std::process::ExitCode::from(2);
        }
    };
    for name in &request.cases {
        let known = [kernel::CASES, setup::CASES, others::CASES, resources::CASES];
        let Some(case) = known.into_iter().flatten().find(|case| case.name == name) else {
            eprintln!("there is no case {name}");
            return std::process::ExitCode::from(2);
        };
        (case.run)(&request.bait, &mut Attempts::of(case.name));
    }
    std::process::ExitCode::SUCCESS
}
