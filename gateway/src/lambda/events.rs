//! Invocations of the type `Event`: accepted at once, run in the background.
//!
//! They live in this process's memory: a server that ends forgets those that have not begun, and says so in its log. An event that finds no
//! instance is tried again until it is too old; one whose function failed is not run again.
//!
//! ```text
//! accepted --> run --> done (a failure too: its log and the metrics tell)
//!    ^          |
//!    |          +--> no instance to be had: wait, twice as long each time --+
//!    +----------------------------------------------------------------------+    until it is too old, or the server drains
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::fault::{Fault, Kind};
use super::invoke::Asked;
use crate::gateway::Gateway;

/// Events that may be accepted and not done at one time.
const ROOM: usize = 1000;
/// How old an event may become before it has begun: six hours, Lambda's own bound.
const OLDEST: Duration = Duration::from_secs(6 * 60 * 60);
/// The first wait of an event that found no instance, and the longest.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Room for events. Dropping it ends nothing: each event is a task of its own.
#[derive(Debug)]
pub(crate) struct Events {
    room: Arc<Semaphore>,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            room: Arc::new(Semaphore::new(ROOM)),
        }
    }
}

impl Events {
    /// Takes an event in and runs it in the background.
    ///
    /// # Errors
    /// `TooManyRequestsException` when as many as may be are not done yet.
    pub(super) fn accept(&self, gateway: Arc<Gateway>, asked: Asked) -> Result<(), Fault> {
        let Ok(permit) = self.room.clone().try_acquire_owned() else {
            let text = format!("{ROOM} events are waiting already");
            return Err(Fault::throttled("ConcurrentInvocationLimitExceeded", text));
        };
        tokio::spawn(async move {
            run(&gateway, asked).await;
            drop(permit);
        });
        Ok(())
    }
}

async fn run(gateway: &Arc<Gateway>, mut asked: Asked) {
    let accepted = Instant::now();
    let mut wait = FIRST_WAIT;
    loop {
        let fault = match asked.run(gateway).await {
            Ok(_) => return,
            Err(fault) => fault,
        };
        let lost = |why: &str| {
            tracing::warn!(function = %asked.address.name, request = %asked.id, why, "an event is lost: {}", fault.message());
        };
        // Everything else means that it ran, or never will.
        if !matches!(fault.kind(), Kind::TooManyRequests | Kind::Unavailable) {
            return lost("it can't be run");
        }
        if accepted.elapsed() + wait > OLDEST {
            return lost("it is too old");
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = gateway.drain.begun() => return lost("the server is shutting down"),
        }
        wait = (wait * 2).min(LONGEST_WAIT);
        asked.begin_again();
    }
}
