//! What parked instances cost.

use serde::{Deserialize, Serialize};

/// A look at the memory before and after some functions were called once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DensityReport {
    /// Such as `native`; of `loadtest density` just `functions`.
    pub(crate) what: String,
    /// Functions that were called.
    pub(crate) functions: u64,
    /// Instances that waited at the second look and did not at the first.
    pub(crate) parked: u64,
    /// Who counted them: `the server's /metrics` or `the replies`.
    pub(crate) counted_by: String,
    /// MemAvailable fell by this while they were called.
    pub(crate) available_kib: i64,
    /// Slab, kernel stacks and page tables grew by this; it is part of the former.
    pub(crate) kernel_kib: i64,
    /// MemAvailable fell by this during the wait before, while nothing was called: the noise.
    pub(crate) idle_kib: i64,
    /// New processes of the server's family; null when it could not be seen.
    pub(crate) processes: Option<u64>,
    /// Those of them whose memory this user may read.
    pub(crate) readable: Option<u64>,
    /// All of it, for each instance.
    pub(crate) per_instance: Option<PerInstance>,
    /// What could not be seen, and why.
    pub(crate) unseen: Vec<String>,
}

/// KiB for each parked instance.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct PerInstance {
    /// Of what MemAvailable fell by: everything, the kernel's part included.
    pub(crate) available_kib: f64,
    /// Of the kernel's part.
    pub(crate) kernel_kib: f64,
    /// Private memory of all its processes (smaps_rollup).
    pub(crate) private_kib: Option<f64>,
    /// The same without the dirty pages of its largest process, which is the function itself.
    pub(crate) beyond_dirty_kib: Option<f64>,
    /// What the cgroups count, as /metrics has it.
    pub(crate) cgroup_kib: Option<f64>,
}
