//! What a person and Prometheus see of a fleet. Nothing here changes it; what reads files of the kernel does so without the lock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use functions::BootId;

use super::Fleet;
use crate::driver::launcher::Usage;
use crate::instance::Instance;
use crate::policy::OWN_MEMORY;
use crate::shelf::{self, Condition, Counts, InstanceId};
use crate::view::{FunctionPoolView, InstanceView, KeptView};

/// Instances that could go, and what is known of their function.
pub(crate) struct Spares {
    /// Each with how long a start takes and the bytes that it holds.
    pub(crate) instances: Vec<(InstanceId, Duration, u64)>,
    /// When the function was last called.
    pub(crate) called: Option<Instant>,
    /// Calls lately.
    pub(crate) frequency: f64,
}

impl Fleet {
    /// Everything counted.
    pub(crate) fn counts(&self) -> Counts {
        self.lock().shelf.counts()
    }

    /// What all instances use together; `None` when there is none. Reads files of the kernel.
    pub(crate) fn usage(&self) -> Option<Usage> {
        self.living()
            .iter()
            .map(|instance| instance.body.usage())
            .reduce(|sum, more| Usage {
                memory_bytes: plus(sum.memory_bytes, more.memory_bytes),
                // Of different moments, so there is no sum.
                memory_peak: None,
                pids: plus(sum.pids, more.pids),
            })
    }

    /// What those use together that wait for their first call; `None` where nothing counts it. Reads files of the kernel.
    pub(crate) fn ahead_memory(&self) -> Option<u64> {
        let ahead = {
            let state = self.lock();
            let lines = state.shelf.roll().into_iter();
            let ahead = lines.filter(|(_, _, condition, ..)| *condition == Condition::Ahead);
            ahead.map(|(id, ..)| id).collect::<Vec<_>>()
        };
        let living = self.living();
        let those = living.iter().filter(|instance| ahead.contains(&instance.id));
        those.map(|instance| instance.body.usage().memory_bytes).sum()
    }

    /// The most memory that a process of the function ever had in use, if it still lives. Reads a file of the kernel.
    pub(crate) fn memory_peak(&self, of: BootId) -> Option<u64> {
        let living = self.living();
        let instance = living.iter().find(|instance| instance.boot_id == of)?;
        instance.body.usage().memory_peak
    }

    /// What could go if the host is short of memory. Reads files of the kernel.
    pub(crate) fn spares(&self) -> Spares {
        let shelf::Spares {
            instances,
            called,
            frequency,
        } = self.lock().shelf.spares(Instant::now());
        let living = self.living();
        let weighed = instances.into_iter().filter_map(|(id, start)| {
            let instance = living.iter().find(|instance| instance.id == id)?;
            let memory = instance.body.usage().memory_bytes.unwrap_or(OWN_MEMORY);
            Some((id, start, memory))
        });
        Spares {
            instances: weighed.collect(),
            called,
            frequency,
        }
    }

    /// The revisions that keep a number of instances, and what stands of each.
    pub(crate) fn kept(&self) -> Vec<KeptView> {
        let state = self.lock();
        let kept = state.shelf.kept(Instant::now()).into_iter();
        kept.map(|kept| {
            let failure = state.failures.iter().find(|(number, _)| *number == kept.revision);
            KeptView {
                revision: kept.revision,
                wanted: kept.wanted,
                allocated: kept.allocated,
                ready: kept.ready,
                failure: failure.filter(|_| kept.fails).map(|(_, failure)| failure.to_string()),
            }
        })
        .collect()
    }

    /// What a person wants to know. Reads files of the kernel.
    pub(crate) fn describe(&self) -> FunctionPoolView {
        let now = Instant::now();
        let (counts, roll, failure) = {
            let state = self.lock();
            let failure = state.failures.last().map(|(_, failure)| failure.clone());
            (state.shelf.counts(), state.shelf.roll(), failure)
        };
        let living = self.living();
        let instances: Vec<InstanceView> = roll
            .into_iter()
            .map(|(id, revision, state, leased, idle_since)| {
                let instance = living.iter().find(|instance| instance.id == id);
                let usage = instance.map(|instance| instance.body.usage());
                InstanceView {
                    id,
                    revision,
                    state,
                    leased,
                    boot_id: instance.map(|instance| instance.boot_id),
                    runtime: instance.map(|instance| instance.runtime.clone()),
                    reason: instance.map(|instance| instance.reason),
                    age_ms: instance.map(|instance| millis(now.saturating_duration_since(instance.ready_at))),
                    idle_ms: idle_since.map(|since| millis(now.saturating_duration_since(since))),
                    memory_bytes: usage.and_then(|usage| usage.memory_bytes),
                    pids: usage.and_then(|usage| usage.pids),
                }
            })
            .collect();
        let ahead = instances.iter().filter(|view| view.state == Condition::Ahead);
        FunctionPoolView {
            name: self.record.name.clone(),
            counts,
            ahead_memory_bytes: ahead.map(|view| view.memory_bytes).sum(),
            kept: self.kept(),
            instances,
            last_failure: failure.map(|failure| failure.to_string()),
        }
    }

    /// The instance that lives in this sandbox.
    pub(crate) fn instance_in(&self, sandbox: u64) -> Option<Arc<Instance>> {
        let mut living = self.living().into_iter();
        living.find(|instance| instance.body.number() == Some(sandbox))
    }

    fn living(&self) -> Vec<Arc<Instance>> {
        let state = self.lock();
        state
            .members
            .values()
            .filter_map(|member| member.live.as_ref())
            .map(|live| live.instance.clone())
            .collect()
    }
}

fn plus(sum: Option<u64>, more: Option<u64>) -> Option<u64> {
    match (sum, more) {
        (Some(sum), Some(more)) => Some(sum + more),
        (sum, more) => sum.or(more),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
