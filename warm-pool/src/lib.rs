//! Who gets which sandbox: joins `functions`, which says what to run, and `sandbox`, which runs it.
//!
//! ```text
//!   acquire(revision) --> Pool --> Driver --> Fleet ------------> Lease (lane) --> exchange --> dropped: given back or poisoned
//!                                   |           |  Shelf: pure       ^
//!                                   |           |  Policy: pure      | grant
//!                                   |           '--- start --> life: launch, READY, gone
//!                                   '-- timer, metrics, records
//! ```
//!
//! | module | answers |
//! |---|---|
//! | [`pool`] | what callers can ask for |
//! | [`start`] | the words for how and why an instance was started, and why it was killed |
//! | `shelf` | who waits and who runs, as a state machine without I/O |
//! | `policy` | how many instances, when to start, when to let go |
//! | `plan` | which sandbox a revision needs |
//! | `fleet` | one function's shelf with its live instances and waiting calls |
//! | [`egress`] | where connections of functions lead, and where they may |
//! | `driver` | what all functions share, and the life of each instance |
//! | [`host`] | how is a pool started on this machine? |
//! | `instance`, [`lane`], [`link`], [`lease`] | one process, a way to it by frames or by HTTP, the right to use that |
//! | [`runtime_api`] | the server that runtimes of Lambda ask for their invocations |
//! | [`log_tap`] | what a function prints |
//! | `frost`, `reclaim` | whether an instance stands still; when and how its memory is given back |
//! | [`fate`] | how instances end and why they don't start |
//! | [`deploy`] | the handler check |
//! | [`watch`] | what is seen of instances from outside, and the rules over that |
//! | [`view`], [`metrics`] | what people and Prometheus see |

mod channel;
pub mod deploy;
mod driver;
pub mod egress;
pub mod fate;
mod fleet;
mod frost;
pub mod host;
mod instance;
pub mod lane;
pub mod lease;
pub mod link;
pub mod log_tap;
pub mod metrics;
mod plan;
mod policy;
pub mod pool;
mod reclaim;
pub mod runtime_api;
mod shelf;
pub mod start;
pub mod view;
pub mod watch;

pub use deploy::build::BuildError;
pub use deploy::check::{CheckError, CheckReport};
pub use driver::launcher;
pub use driver::launcher::StartClass;
pub use driver::quarantine;
pub use fate::{AcquireError, Fate, StartFailure};
pub use host::{Host, HostError, SPAWNER_ENTRY, Started, spawner_main};
pub use lane::{Lane, LaneError};
pub use lease::{Lease, Phases};
pub use link::{LinkError, RequestBody};
pub use log_tap::{LogRecord, LogSink};
pub use plan::restrictions;
pub use pool::{Pool, PoolConfig};
pub use reclaim::Reclaim;
pub use runtime_api::{Answer, Invocation, TRUNCATED};
pub use shelf::{Condition, Counts, InstanceId};
pub use start::{ColdReason, EvictScope, Poison, Purpose, Start};
pub use view::{FunctionPoolView, InstanceView, KeptView};
