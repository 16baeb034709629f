//! What the pool says about a function to people: plain values for JSON and tables.

use functions::BootId;
use functions::{FunctionName, RevisionNumber};
use serde::Serialize;

use crate::shelf::{Condition, Counts, InstanceId};
use crate::start::ColdReason;

/// One function's instances and queue at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct FunctionPoolView {
    /// The function.
    pub name: FunctionName,
    /// Instances by state, calls that wait, leases that are out.
    #[serde(flatten)]
    pub counts: Counts,
    /// Bytes of memory of the instances that wait for their first call: what a start that waits for nothing costs. `None` where
    /// nothing counts it.
    pub ahead_memory_bytes: Option<u64>,
    /// Revisions that keep a number of instances, which [`Pool::keep`](crate::Pool::keep) set.
    pub kept: Vec<KeptView>,
    /// Each instance, the oldest first.
    pub instances: Vec<InstanceView>,
    /// The last start that failed, if it is still remembered.
    pub last_failure: Option<String>,
}

/// A revision that keeps a number of instances, and those that stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeptView {
    /// The revision.
    pub revision: RevisionNumber,
    /// How many are to stand.
    pub wanted: u32,
    /// Those that are ready or being prepared, busy ones included. More than wanted where calls needed more.
    pub allocated: u32,
    /// Those of them that are ready.
    pub ready: u32,
    /// Why the last start failed, while so many fail in a row that the next one waits.
    pub failure: Option<String>,
}

/// One instance at one moment. What is not known before it is ready is `None` until then.
#[derive(Clone, Debug, Serialize)]
pub struct InstanceView {
    /// Its number within the function.
    pub id: InstanceId,
    /// What it runs.
    pub revision: RevisionNumber,
    /// What it does.
    pub state: Condition,
    /// Calls it has.
    pub leased: u32,
    /// The process.
    pub boot_id: Option<BootId>,
    /// Language and version.
    pub runtime: Option<String>,
    /// Why it was started.
    pub reason: Option<ColdReason>,
    /// Milliseconds since it became ready.
    pub age_ms: Option<u64>,
    /// Milliseconds since its last call, when it is idle.
    pub idle_ms: Option<u64>,
    /// Memory in use, in bytes.
    pub memory_bytes: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
}
