//! Other ways to do the same work.

use serde::{Deserialize, Serialize};

use crate::series::Summary;

/// One peer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PeerReport {
    /// Such as `bwrap`.
    pub(crate) name: String,
    /// What was done and timed.
    pub(crate) what: String,
    /// A start from its beginning to the exit of the program; of a server, a call over one connection, one after the other.
    #[serde(flatten)]
    pub(crate) times: Summary,
    /// A server with several connections.
    pub(crate) served: Option<Served>,
}

/// Calls one after the other over each of several connections: a closed loop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Served {
    /// How many connections.
    pub(crate) connections: u32,
    /// Replies per second: the median of the rounds.
    pub(crate) per_s: f64,
    /// The same of each round.
    pub(crate) rounds_per_s: Vec<f64>,
    /// Calls that failed.
    pub(crate) failed: u64,
}

/// A peer without numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct MissingPeer {
    /// Such as `bwrap`.
    pub(crate) name: String,
    /// Why.
    pub(crate) reason: String,
    /// How to get it.
    pub(crate) install: String,
}
