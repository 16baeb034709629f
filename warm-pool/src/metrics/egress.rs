//! The metrics of what functions connect to.

use functions::FunctionName;
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

use super::{EGRESS_BYTES, EGRESS_CONNECTIONS};

/// What came of a connection that a function made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connection {
    /// It stood.
    Connected,
    /// Its instance had as many as it may have.
    Full,
    /// The name could not be looked up.
    Unresolved,
    /// Each of its addresses is one that functions may not reach.
    Refused,
    /// Nobody accepted.
    Unreachable,
    /// Nobody answered in time.
    TimedOut,
}

impl Connection {
    const ALL: [Connection; 6] = [
        Connection::Connected,
        Connection::Full,
        Connection::Unresolved,
        Connection::Refused,
        Connection::Unreachable,
        Connection::TimedOut,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Connection::Connected => "connected",
            Connection::Full => "full",
            Connection::Unresolved => "unresolved",
            Connection::Refused => "refused",
            Connection::Unreachable => "unreachable",
            Connection::TimedOut => "timed_out",
        }
    }
}

const SENT: &str = "sent";
const RECEIVED: &str = "received";

/// Those of all functions.
pub(crate) struct EgressMetrics {
    registry: Registry,
    connections: IntCounterVec,
    bytes: IntCounterVec,
}

/// Those of one function, which count on when it was removed but are not shown any more.
pub(crate) struct Traffic {
    connections: [IntCounter; Connection::ALL.len()],
    /// Bytes that went outward.
    pub(crate) sent: IntCounter,
    /// Bytes that came in.
    pub(crate) received: IntCounter,
}

impl Traffic {
    /// A connection came to this.
    pub(crate) fn connection(&self, outcome: Connection) {
        self.connections[outcome as usize].inc();
    }
}

impl EgressMetrics {
    pub(crate) fn new() -> EgressMetrics {
        let counter = |name, help, labels: &[&str]| {
            IntCounterVec::new(Opts::new(name, help), labels).expect("names and labels are valid")
        };
        let metrics = EgressMetrics {
            registry: Registry::new(),
            connections: counter(
                EGRESS_CONNECTIONS,
                "Connections that functions made to what they may reach.",
                &["function", "outcome"],
            ),
            bytes: counter(
                EGRESS_BYTES,
                "Bytes of connections that functions made.",
                &["function", "direction"],
            ),
        };
        for collector in [&metrics.connections, &metrics.bytes] {
            metrics
                .registry
                .register(Box::new(collector.clone()))
                .expect("no two metrics share a name");
        }
        metrics
    }

    /// Opens the series of a function.
    pub(crate) fn of(&self, function: &FunctionName) -> Traffic {
        let bytes = |direction| self.bytes.with_label_values(&[function.as_str(), direction]);
        Traffic {
            connections: Connection::ALL.map(|outcome| {
                self.connections
                    .with_label_values(&[function.as_str(), outcome.as_str()])
            }),
            sent: bytes(SENT),
            received: bytes(RECEIVED),
        }
    }

    /// Drops the series of a function.
    pub(crate) fn remove(&self, function: &FunctionName) {
        // A series that was never opened can't be dropped, which is as good.
        for outcome in Connection::ALL {
            let _ = self
                .connections
                .remove_label_values(&[function.as_str(), outcome.as_str()]);
        }
        for direction in [SENT, RECEIVED] {
            let _ = self.bytes.remove_label_values(&[function.as_str(), direction]);
        }
    }

    pub(crate) fn gather(&self) -> Vec<MetricFamily> {
        self.registry.gather()
    }
}
