//! Calls that nobody waits for: Lambda's invocations of the type `Event`, and those of `/async-function`.
//!
//! They live in this process's memory: a server that ends forgets those that are not done, and names each in its log. A call that finds no
//! instance is tried again until it is too old; one that ran is run again only when it says so itself.
//!
//! ```text
//! accepted --> attempt --> done
//!    ^           |
//!    |           +--> it is to run again: wait as long as it says -+
//!    |           +--> nothing ran: wait, twice as long each time --+
//!    +-------------------------------------------------------------+--> lost: it is too old, it never can run, or the server stops
//! ```
//!
//! The drain waits for them as it does for connections. When it begins, those that wait are lost at once and those that run go on; when it cuts, these
//! are lost as well.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use functions::FunctionName;
use tokio::sync::Semaphore;

use crate::bodies::{Bodies, Charge};
use crate::gateway::Gateway;
use crate::request_id::RequestId;
use crate::telemetry::Background as Metric;

/// Calls that may be accepted and not done at one time.
pub(crate) const ROOM: usize = 1000;
/// Most bytes of the body of one by HTTP.
pub(crate) const MOST_BODY: u64 = 6 * 1024 * 1024;
/// Most bytes of an event: Lambda's own bound.
pub(crate) const MOST_EVENT: u64 = 1024 * 1024;
/// Most bytes of the bodies of all of them. They may wait for hours, so they have room of their own: calls that somebody waits for find theirs free.
const MOST_HELD: usize = 256 * 1024 * 1024;
/// How long a body may take to arrive.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// How old a call may become before it has begun, unless it says otherwise: six hours, Lambda's own bound.
pub(crate) const OLDEST: Duration = Duration::from_secs(6 * 60 * 60);
/// The first wait of a call that found no instance, and the longest.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A call that can be tried more than once.
pub(crate) trait Job: Send + 'static {
    /// Its function.
    fn function(&self) -> &FunctionName;
    /// Its id, by which the log names it.
    fn id(&self) -> RequestId;
    /// How old it may become before it has begun.
    fn oldest(&self) -> Duration {
        OLDEST
    }
    /// Tries it.
    fn attempt(&mut self, gateway: &Arc<Gateway>) -> impl Future<Output = Attempt> + Send;
    /// What is left to do after the last attempt when none ended well.
    fn lost(self, gateway: &Arc<Gateway>, why: Lost) -> impl Future<Output = ()> + Send;
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// The function ran.
    Done,
    /// The function ran, and is to run again after so long, for this reason.
    Again(Duration, String),
    /// Nothing ran, for this reason; later there may be room.
    Later(String),
    /// Nothing ran and nothing will, for this reason.
    Never(String),
}

/// Why a call is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// It never can run.
    Never,
    /// It is too old.
    TooOld,
    /// The server stops.
    Stopping,
}

impl Lost {
    fn as_str(self) -> &'static str {
        match self {
            Self::Never => "it can't be run",
            Self::TooOld => "it is too old",
            Self::Stopping => "the server is shutting down",
        }
    }
}

/// As many calls as may be are not done yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{ROOM} calls wait in the background already")]
pub(crate) struct Full;

/// Room for calls. Dropping it ends nothing: each call is a task of its own.
#[derive(Debug)]
pub(crate) struct Background {
    room: Arc<Semaphore>,
    bodies: Bodies,
    retry_wait: Duration,
}

impl Background {
    /// An empty one. An event whose function failed runs again after `retry_wait`, and after twice that the second time.
    pub(crate) fn new(retry_wait: Duration) -> Self {
        Self {
            room: Arc::new(Semaphore::new(ROOM)),
            bodies: Bodies::new(MOST_HELD),
            retry_wait,
        }
    }

    /// The wait before an event runs again whose function failed once.
    pub(crate) fn retry_wait(&self) -> Duration {
        self.retry_wait
    }

    /// The account of the body of a call that is to be accepted.
    pub(crate) fn charge(&self) -> Charge {
        self.bodies.charge()
    }

    /// Takes a call in and runs it.
    ///
    /// # Errors
    /// [`Full`].
    pub(crate) fn accept(&self, gateway: Arc<Gateway>, job: impl Job) -> Result<(), Full> {
        let Ok(permit) = self.room.clone().try_acquire_owned() else {
            gateway.telemetry.background(Metric::Refused);
            return Err(Full);
        };
        let drain = gateway.drain.clone();
        let named = Named {
            function: job.function().clone(),
            id: job.id(),
        };
        let (waiting, cut) = (gateway.telemetry.background_waits(), drain.clone());
        drain.track(async move {
            let _held = (permit, waiting);
            let ended = tokio::select! {
                ended = run(&gateway, job, &named) => ended,
                () = cut.is_cut() => named.lost("the server has stopped before it and its callback were done", None),
            };
            gateway.telemetry.background(ended);
        });
        Ok(())
    }
}

/// How the log names a call.
struct Named {
    function: FunctionName,
    id: RequestId,
}

impl Named {
    fn lost(&self, why: &str, reason: Option<&str>) -> Metric {
        let (function, request) = (&self.function, self.id);
        match reason {
            Some(reason) => tracing::warn!(%function, %request, why, "a call in the background is lost: {reason}"),
            None => tracing::warn!(%function, %request, why, "a call in the background is lost"),
        }
        Metric::Lost
    }
}

/// Whether no call of the function may be there: its reserved concurrency is 0.
fn is_switched_off(gateway: &Gateway, function: &FunctionName) -> bool {
    gateway
        .live
        .reserved(function)
        .is_some_and(|reserved| reserved.most() == 0)
}

async fn run(gateway: &Arc<Gateway>, mut job: impl Job, named: &Named) -> Metric {
    let accepted = Instant::now();
    let mut wait = FIRST_WAIT;
    let (why, reason) = loop {
        let (pause, reason) = match job.attempt(gateway).await {
            Attempt::Done => return Metric::Done,
            Attempt::Never(reason) => break (Lost::Never, reason),
            Attempt::Again(pause, reason) => (pause, reason),
            // Who switched the function off does not want it to run in hours, and it would take the room of others until then.
            Attempt::Later(reason) if is_switched_off(gateway, job.function()) => break (Lost::Never, reason),
            Attempt::Later(reason) => {
                let pause = wait;
                wait = (wait * 2).min(LONGEST_WAIT);
                (pause, reason)
            }
        };
        if accepted.elapsed() + pause > job.oldest() {
            break (Lost::TooOld, reason);
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = gateway.drain.begun() => break (Lost::Stopping, reason),
        }
    };
    let ended = named.lost(why.as_str(), Some(&reason));
    job.lost(gateway, why).await;
    ended
}
