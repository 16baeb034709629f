//! The host's side of the doors of a function: whom it accepts, where it connects, and what passes.
//!
//! ```text
//!  accept --> room? --> look the name up --> judge each address --> connect to one that was judged --> pass bytes both ways --> closed
//!    full <----'           unresolved <--'      refused <--'             unreachable <--'                   cut when idle
//! ```
//!
//! What did not come to a connection is closed with a reset, is counted by its outcome and told in the server's log, at most once in a while for each
//! destination. Everything ends with the instance, when its [`Outlets`] are dropped.
//!
//! What comes out of a sandbox is hostile: the number of connections, of lookups, the bytes held, and how often failures are possible are bounded for each
//! instance. The function decides nothing of where a connection leads. Whoever answers for its name does, and is not believed: see [`address`].

mod address;
mod connection;
mod resolve;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use functions::network::Destination;
use functions::{FunctionName, Revision};
use prometheus::proto::MetricFamily;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};

pub use self::address::{Cidr, CidrError};
use self::connection::{Ends, Refusal, connect, pass};
use self::resolve::{Resolve, SystemResolver};
use crate::metrics::{Connection, EgressMetrics, Traffic};

/// Connections of one instance at a time, over all its doors.
const MOST_CONNECTIONS: usize = 32;
/// Lookups of one instance at a time: each holds a thread.
const MOST_LOOKUPS: usize = 4;
/// How long after a failure its place stays taken, and the pause after a connection for which there was no room: who tries in a circle is
/// to use up its own time and not the server's.
const AFTER_FAILURE: Duration = Duration::from_millis(100);
/// The least time between two lines of the log about one destination of one instance.
const BETWEEN_LINES: Duration = Duration::from_secs(60);

/// What the doors of all functions share.
pub(crate) struct Egress {
    allowed: Arc<[Cidr]>,
    resolver: Arc<dyn Resolve>,
    metrics: EgressMetrics,
}

impl Egress {
    /// Leads to public addresses, and to those in `allowed`.
    pub(crate) fn new(allowed: &[Cidr]) -> Egress {
        Egress::with_resolver(allowed, Arc::new(SystemResolver::default()))
    }

    fn with_resolver(allowed: &[Cidr], resolver: Arc<dyn Resolve>) -> Egress {
        Egress {
            allowed: allowed.into(),
            resolver,
            metrics: EgressMetrics::new(),
        }
    }

    /// Serves the nonblocking `listeners` of an instance, one for each destination of its revision, in their order. Needs a tokio runtime.
    ///
    /// # Errors
    /// When a listener can't be waited for.
    pub(crate) fn open(&self, revision: &Revision, listeners: Vec<OwnedFd>) -> io::Result<Outlets> {
        let destinations = &revision.settings.network.allow;
        if listeners.len() != destinations.len() {
            return Err(io::Error::other(
                "the sandbox made another number of listeners than there are destinations",
            ));
        }
        let instance = Arc::new(Instance {
            function: revision.name.clone(),
            allowed: self.allowed.clone(),
            resolver: self.resolver.clone(),
            connections: Arc::new(Semaphore::new(MOST_CONNECTIONS)),
            lookups: Semaphore::new(MOST_LOOKUPS),
        });
        let mut outlets = Outlets::default();
        for (listener, destination) in listeners.into_iter().zip(destinations) {
            let outlet = Outlet {
                instance: instance.clone(),
                destination: destination.clone(),
                // Taken once: when the function is removed while this serves on, its series are not opened anew.
                traffic: self.metrics.of(&revision.name),
                told: Mutex::default(),
            };
            let listener = TcpListener::from_std(listener.into())?;
            let task = tokio::spawn(serve(listener, Arc::new(outlet))).abort_handle();
            outlets.0.push(task);
        }
        Ok(outlets)
    }

    /// Its metrics.
    pub(crate) fn gather(&self) -> Vec<MetricFamily> {
        self.metrics.gather()
    }

    /// The function was removed.
    pub(crate) fn forget(&self, function: &FunctionName) {
        self.metrics.remove(function);
    }
}

/// The doors of one instance. Dropping them ends their connections.
#[derive(Debug, Default)]
pub(crate) struct Outlets(Vec<AbortHandle>);

impl Outlets {
    /// Ends them. Harmless when they ended before.
    pub(crate) fn close(&self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

impl Drop for Outlets {
    fn drop(&mut self) {
        self.close();
    }
}

/// What the doors of one instance share.
struct Instance {
    function: FunctionName,
    allowed: Arc<[Cidr]>,
    resolver: Arc<dyn Resolve>,
    connections: Arc<Semaphore>,
    lookups: Semaphore,
}

/// One door.
struct Outlet {
    instance: Arc<Instance>,
    destination: Destination,
    traffic: Traffic,
    /// When the last line of the log was written about it.
    told: Mutex<Option<Instant>>,
}

async fn serve(listener: TcpListener, outlet: Arc<Outlet>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let inside = match listener.accept().await {
            Ok((inside, _)) => inside,
            Err(error) => {
                tracing::warn!(function = %outlet.instance.function, %error, "a connection of a function could not be accepted");
                tokio::time::sleep(AFTER_FAILURE).await;
                continue;
            }
        };
        let Ok(place) = outlet.instance.connections.clone().try_acquire_owned() else {
            outlet.turned_away(inside, &Refusal::Full);
            tokio::time::sleep(AFTER_FAILURE).await;
            continue;
        };
        let outlet = outlet.clone();
        connections.spawn(async move {
            if outlet.lead(inside).await.is_err() {
                tokio::time::sleep(AFTER_FAILURE).await;
            }
            drop(place);
        });
    }
}

impl Outlet {
    /// Leads one connection to its end. An error is a connection that never was.
    async fn lead(&self, inside: TcpStream) -> Result<(), ()> {
        let Instance {
            allowed,
            resolver,
            lookups,
            ..
        } = self.instance.as_ref();
        match connect(&self.destination, resolver.as_ref(), lookups, allowed).await {
            Ok(outside) => {
                self.traffic.connection(Connection::Connected);
                pass(Ends { inside, outside }, &self.traffic.sent, &self.traffic.received).await;
                Ok(())
            }
            Err(refusal) => {
                self.turned_away(inside, &refusal);
                Err(())
            }
        }
    }

    /// Closes a connection that led nowhere, so that whoever made it sees that as a failure and not as an end.
    fn turned_away(&self, inside: TcpStream, why: &Refusal) {
        self.traffic.connection(why.outcome());
        if self.may_tell() {
            tracing::warn!(function = %self.instance.function, destination = %self.destination, %why, "a connection of a function was not made");
        }
        // It sends nothing any more, so nothing is lost.
        let _reset = inside.set_zero_linger();
    }

    fn may_tell(&self) -> bool {
        let now = Instant::now();
        let mut told = self.told.lock().expect("nothing panics under the lock");
        let may = told.is_none_or(|told| now.duration_since(told) >= BETWEEN_LINES);
        if may {
            *told = Some(now);
        }
        may
    }
}

#[cfg(test)]
mod tests;
