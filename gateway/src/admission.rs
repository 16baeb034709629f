//! Whether a request may go on to the pool, and until when.

use std::sync::Arc;
use std::time::{Duration, Instant};

use functions::{FunctionName, Revision};
use http::request::Parts;
use jiff::Timestamp;

use crate::deadline::Deadline;
use crate::gateway::Gateway;
use crate::limits;
use crate::outcome::{Code, Outcome};

/// A request that may go on.
pub(crate) struct Admitted {
    /// The revision that will answer, whatever is deployed meanwhile.
    pub(crate) revision: Arc<Revision>,
    /// When it is given up.
    pub(crate) deadline: Deadline,
}

/// Finds the live revision. `draining` and `function_not_found` are the only errors.
pub(crate) fn find(gateway: &Gateway, name: &FunctionName) -> Result<Arc<Revision>, Outcome> {
    if gateway.drain.is_begun() {
        return Err(Outcome::new(Code::Draining, "the server is shutting down").close());
    }
    known(gateway, name)
}

/// The live revision, also for a request that came before the drain began. `function_not_found` is the only error.
pub(crate) fn known(gateway: &Gateway, name: &FunctionName) -> Result<Arc<Revision>, Outcome> {
    gateway
        .live
        .get(name)
        .ok_or_else(|| Outcome::new(Code::FunctionNotFound, format!("there is no function {name}")))
}

/// Checks what the head says about the body, and sets the deadline. `body_too_large` is the only error.
pub(crate) fn admit(
    revision: Arc<Revision>,
    head: &Parts,
    arrived: Instant,
    time: Timestamp,
) -> Result<Admitted, Outcome> {
    limits::check_declared(head, revision.settings.max_body.as_u64()).map_err(limits::BodyError::outcome)?;
    let timeout = Duration::from_millis(revision.settings.timeout.as_millis());
    Ok(Admitted {
        deadline: Deadline::after(arrived, time, timeout),
        revision,
    })
}
