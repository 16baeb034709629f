//! Loads the handler of a revision once, before it becomes live, in an ordinary sandbox of that revision.

use std::time::Duration;

use functions::Revision;
use functions::wire::Failure;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::kept::Kept;
use crate::driver::bring_up::{Failed, bring_up};
use crate::driver::launcher::{Confined, Launcher};
use crate::fate::StartFailure;
use crate::start::Purpose;

/// The handler could be loaded.
#[derive(Clone, Debug, Serialize)]
pub struct CheckReport {
    /// Language and version.
    pub runtime: String,
    /// Milliseconds that making the sandbox took.
    pub sandbox_ms: f64,
    /// Milliseconds from then until the handler was loaded.
    pub init_ms: f64,
    /// What was printed while it was loaded, the last 200 lines.
    pub output: Vec<String>,
}

/// The handler could not be loaded.
#[derive(Debug, thiserror::Error)]
#[error("the handler check failed")]
pub struct CheckError {
    /// Why; [`StartFailure::Init`] holds the traceback.
    #[source]
    pub failure: StartFailure,
    /// What was printed until then, the last 200 lines.
    pub output: Vec<String>,
}

impl CheckError {
    /// The exception of the handler, when that is what failed.
    pub fn exception(&self) -> Option<&Failure> {
        match &self.failure {
            StartFailure::Init(failure) => Some(failure),
            _ => None,
        }
    }
}

/// Starts a process of the revision, waits until its handler is loaded, kills it and waits until it is gone.
///
/// Dropping the future kills the process.
pub(crate) async fn check(launcher: &dyn Launcher, revision: &Revision) -> Result<CheckReport, CheckError> {
    let (output, kept) = Kept::output(revision);
    match bring_up(launcher, revision, Purpose::Check, output, &CancellationToken::new()).await {
        Ok(ready) => {
            bury(ready.body.as_ref()).await;
            Ok(CheckReport {
                runtime: ready.greeting.runtime,
                sandbox_ms: millis(ready.startup.sandbox),
                init_ms: millis(ready.startup.init),
                output: kept.take(),
            })
        }
        Err(Failed { failure, body }) => {
            if let Some(body) = body {
                bury(body.as_ref()).await;
            }
            Err(CheckError {
                failure,
                output: kept.take(),
            })
        }
    }
}

pub(super) async fn bury(body: &dyn Confined) {
    body.kill();
    body.gone().await;
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
