//! The account of one invocation: counted once, whatever its end.
//!
//! Dropped without [`Invocation::end`], it counts as left by its caller.

use std::sync::Arc;
use std::time::Instant;

use functions::wire::Failure;
use functions::{BootId, Revision, Runtime, printable};
use jiff::Timestamp;
use warm_pool::Lease;

use crate::gateway::Gateway;
use crate::logs::Line;
use crate::outcome::{Code, Outcome};
use crate::reply::{Timing, Told};
use crate::request_id::RequestId;
use crate::reserved::Permit;
use crate::telemetry::{CLIENT_GONE, NO_START};

/// See the module's head.
pub(crate) struct Invocation {
    gateway: Arc<Gateway>,
    revision: Arc<Revision>,
    request: RequestId,
    arrived: Instant,
    found: Option<Found>,
    counted: bool,
    /// Its place among the calls that are reserved for the function.
    permit: Option<Permit>,
}

/// How the instance was found.
#[derive(Clone, Copy)]
struct Found {
    start: &'static str,
    boot_id: BootId,
    timing: Timing,
}

impl Invocation {
    /// Begins the account of a request that is admitted.
    pub(crate) fn new(gateway: Arc<Gateway>, revision: Arc<Revision>, request: RequestId, arrived: Instant) -> Self {
        Self {
            gateway,
            revision,
            request,
            arrived,
            found: None,
            counted: false,
            permit: None,
        }
    }

    /// Takes a place among the calls that are reserved for the function, if somebody reserved some.
    ///
    /// # Errors
    /// `queue_full` when all of them are taken.
    pub(crate) fn enter(&mut self) -> Result<(), Outcome> {
        if let Some(reserved) = self.gateway.live.reserved(&self.revision.name) {
            self.permit = Some(reserved.enter().ok_or_else(|| {
                Outcome::new(
                    Code::QueueFull,
                    "as many calls are there as are reserved for this function",
                )
            })?);
        }
        Ok(())
    }

    /// Takes note of the instance.
    pub(crate) fn found(&mut self, lease: &Lease) {
        let phases = lease.phases();
        let timing = Timing {
            queue: phases.queue,
            sandbox: phases.sandbox,
            init: phases.init,
            ..Timing::default()
        };
        self.found = Some(Found {
            start: lease.start().as_str(),
            boot_id: lease.boot_id(),
            timing,
        });
    }

    /// Whether an instance was found.
    pub(crate) fn has_instance(&self) -> bool {
        self.found.is_some()
    }

    /// Writes what the platform says about the reply: how the instance was found, which process answered and where the time went. Nothing when no
    /// instance was found.
    pub(crate) fn tell(&self, headers: &mut http::HeaderMap, answered: Option<(BootId, std::time::Duration)>) {
        let Some(found) = &self.found else { return };
        let (boot_id, handler) = answered.unwrap_or((found.boot_id, std::time::Duration::ZERO));
        let told = Told {
            request: self.request,
            start: found.start,
            instance: &boot_id.to_string(),
            revision: self.revision.number,
            timing: Timing {
                handler,
                ..found.timing
            },
        };
        told.write(headers);
    }

    /// Ends the account with the status that the caller got, or would have got.
    pub(crate) fn end(mut self, status: u16) {
        self.count(status);
    }

    /// Ends the account with an outcome, and logs it.
    pub(crate) fn end_with(self, outcome: &Outcome) {
        outcome.log(self.request);
        let status = match outcome.code() {
            Code::ClientGone => CLIENT_GONE,
            code => code.status().as_u16(),
        };
        self.end(status);
    }

    /// Writes the failure of a `stdio` program into its log, where its author looks for it. Handlers' shims write a traceback there by themselves.
    pub(crate) fn log_failure(&self, failure: &Failure) {
        if self.revision.settings.runtime != Runtime::Stdio {
            return;
        }
        let mut text = failure.to_string();
        for line in &failure.stack_trace {
            text.push('\n');
            text.push_str(&printable(line.trim_end_matches('\n')));
        }
        self.gateway.logs.record(Line {
            time: Timestamp::now(),
            function: self.revision.name.clone(),
            revision: self.revision.number.get(),
            instance: self
                .found
                .map_or_else(|| "none".to_owned(), |found| found.boot_id.to_string()),
            request_id: Some(self.request.to_string()),
            text,
        });
    }

    fn count(&mut self, status: u16) {
        if !std::mem::replace(&mut self.counted, true) {
            let start = self.found.as_ref().map_or(NO_START, |found| found.start);
            let name = &self.revision.name;
            self.gateway
                .telemetry
                .invocation(name, start, status, self.arrived.elapsed());
            // A call that outlives its function would bring its series back. The table is changed before the series go, so one of
            // the two, the removal or this look, comes last and takes them away.
            if self.gateway.live.get(name).is_none() {
                self.gateway.telemetry.forget(name);
            }
        }
    }
}

impl Drop for Invocation {
    fn drop(&mut self) {
        self.count(CLIENT_GONE);
    }
}
