//! A call in the queue. Dropping it takes it out; a lease that was on its way goes back.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::{Fleet, Outcome};
use crate::fate::AcquireError;
use crate::shelf::WaiterId;

pub(super) struct Wait {
    /// `None` once there is an outcome.
    queued: Option<(Arc<Fleet>, WaiterId)>,
    outcome: oneshot::Receiver<Outcome>,
}

impl Wait {
    pub(super) fn new(fleet: Arc<Fleet>, waiter: WaiterId, outcome: oneshot::Receiver<Outcome>) -> Wait {
        Wait {
            queued: Some((fleet, waiter)),
            outcome,
        }
    }

    /// Waits for the outcome, until the deadline at most.
    pub(super) async fn outcome(mut self, deadline: Instant) -> Outcome {
        match tokio::time::timeout_at(deadline.into(), &mut self.outcome).await {
            Ok(outcome) => {
                self.queued = None;
                // The sender goes away unused only together with the fleet.
                outcome.unwrap_or(Err(AcquireError::Closing))
            }
            Err(_) => Err(AcquireError::Deadline),
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let Some((fleet, waiter)) = self.queued.take() {
            // A lease that was sent before this is dropped with the receiver, which gives it back.
            fleet.cancel(waiter);
        }
    }
}
