//! An executable `bootstrap`: how it is started, and what it finds in its environment.
//!
//! The names are those of "Defining Lambda environment variables" in the AWS Lambda developer guide. There are no credentials: nothing that
//! they would be good for can be reached, and invented ones would be taken for real.

pub mod resident;

use std::num::NonZeroU16;

use super::launch::TASK_ROOT;

/// The name under which the resident is started that starts extensions before the runtime. Only a function with layers has it.
pub const RESIDENT: &str = "lambda";

/// The port on 127.0.0.1 of a sandbox at which the host answers Lambda's Runtime API.
pub const RUNTIME_API_PORT: NonZeroU16 = NonZeroU16::new(9001).expect("it is not zero");

const REGION: &str = "us-east-1";

pub(super) fn argv() -> Vec<String> {
    vec![format!("{TASK_ROOT}/bootstrap")]
}

/// What such a runtime finds besides what every function does.
pub(super) fn env(concurrency: u8) -> Vec<(String, String)> {
    let mut env = vec![
        ("AWS_LAMBDA_RUNTIME_API", format!("127.0.0.1:{RUNTIME_API_PORT}")),
        ("AWS_REGION", REGION.to_owned()),
        ("AWS_DEFAULT_REGION", REGION.to_owned()),
        (
            "PATH",
            "/var/task/.fn-packages/bin:/usr/local/bin:/usr/bin:/bin:/opt/bin".to_owned(),
        ),
        (
            "LD_LIBRARY_PATH",
            "/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib".to_owned(),
        ),
        ("PYTHONPATH", "/var/task:/var/task/.fn-packages".to_owned()),
        (
            "NODE_PATH",
            "/opt/nodejs/node_modules:/var/runtime/node_modules:/var/task/node_modules".to_owned(),
        ),
    ];
    // A runtime that knows this name asks for so many invocations at a time; any other would be confused by it.
    if concurrency > 1 {
        env.push(("AWS_LAMBDA_MAX_CONCURRENCY", concurrency.to_string()));
    }
    env.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}
