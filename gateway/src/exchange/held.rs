//! The lease of a call in flight, with what happens to it when the call is dropped.

use std::time::Duration;

use warm_pool::{Lane, LaneError, Lease, Poison};

use super::Failed;
use functions::wire::{Failure, InstanceFrame};

/// How long an instance may take to read what is left of a request, and a `stdio` resident to end a process that it was told to cancel. After that the
/// instance is killed.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a caller's leave does to the instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// It is killed: a handler can't be told to stop.
    Kill,
    /// It is told to cancel, and kept if it does.
    Cancel,
}

/// A lease with an exchange begun. Dropped without [`Held::finish`] or [`Held::poison`], it means that the caller left.
pub(super) struct Held {
    lease: Option<Lease>,
    leave: Leave,
}

impl Held {
    /// Begins an exchange on the lease's lane. What the instance prints belongs to `request_id` from here on.
    pub(super) fn begin(mut lease: Lease, request_id: &str, leave: Leave) -> Self {
        lease.begin(request_id);
        Self {
            lease: Some(lease),
            leave,
        }
    }

    fn lease(&mut self) -> &mut Lease {
        self.lease
            .as_mut()
            .expect("only finish, poison, fail and drop take the lease, and they take self")
    }

    /// The lane.
    pub(super) fn lane(&mut self) -> &mut Lane {
        self.lease().lane()
    }

    /// Takes note of how long the handler took.
    pub(super) fn handled(&self, took: Duration) {
        if let Some(lease) = &self.lease {
            lease.handled(took);
        }
    }

    /// Ends the exchange after its last frame: what is still queued is written, and the lease goes home.
    pub(super) async fn finish(mut self) -> Result<(), Failed> {
        if self.lane().queued_bytes() > 0 {
            // What is left of the request is of no use to anybody; it only has to be out of the way.
            let flushed = tokio::time::timeout(PATIENCE, self.lane().flush()).await;
            if let Ok(Err(error)) = flushed {
                return Err(self.fail(error).await);
            }
        }
        match self.lease().finish() {
            Ok(()) => {
                self.lease = None;
                Ok(())
            }
            Err(error) => {
                self.poison(Poison::Protocol);
                Err(Failed::Lane(error))
            }
        }
    }

    /// Ends the exchange after END although the answer is already known: the answer stands, whatever the lane does now.
    pub(super) async fn finish_quietly(self) {
        if let Err(error) = self.finish().await {
            tracing::debug!(error = super::chain(&error), "an instance answered and is given up");
        }
    }

    /// Kills the instance.
    pub(super) fn poison(mut self, poison: Poison) {
        if let Some(lease) = self.lease.take() {
            lease.drain_log();
            lease.poison(poison);
        }
    }

    /// Gives up after a lane error, and finds out what became of the process.
    pub(super) async fn fail(mut self, error: LaneError) -> Failed {
        match error {
            LaneError::Closed | LaneError::Io(_) => {
                let fate = self.lease().obituary().await;
                self.poison(Poison::Exited);
                Failed::Gone(fate)
            }
            other => {
                self.poison(Poison::Protocol);
                Failed::Lane(other)
            }
        }
    }

    /// The function said that it failed: the lease goes home, for the process is sound.
    pub(super) async fn function_failed(self, failure: Failure) -> Failed {
        self.finish_quietly().await;
        Failed::Function(Box::new(failure))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(lease) = self.lease.take() else { return };
        // A task needs a runtime; without one the process is ending, and so is the instance.
        match (self.leave, tokio::runtime::Handle::try_current()) {
            (Leave::Cancel, Ok(runtime)) => drop(runtime.spawn(cancel(lease))),
            _ => {
                lease.drain_log();
                lease.poison(Poison::ClientGone);
            }
        }
    }
}

/// Tells the resident to end the process of this exchange and waits until it says that it did.
async fn cancel(mut lease: Lease) {
    let ended = async {
        lease.lane().push_cancel()?;
        loop {
            if let InstanceFrame::End(_) | InstanceFrame::Error { .. } = lease.lane().next().await? {
                lease.lane().flush().await?;
                return lease.finish();
            }
        }
    };
    match tokio::time::timeout(PATIENCE, ended).await {
        Ok(Ok(())) => drop(lease),
        Ok(Err(_)) | Err(_) => lease.poison(Poison::ClientGone),
    }
}
