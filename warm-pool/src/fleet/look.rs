//! What a person and Prometheus see of a fleet. Nothing here changes it; what reads files of the kernel does so without the lock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Fleet;
use crate::driver::launcher::Usage;
use crate::instance::Instance;
use crate::shelf::Counts;
use crate::view::{FunctionPoolView, InstanceView};

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
                pids: plus(sum.pids, more.pids),
            })
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
        let instances = roll
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
        FunctionPoolView {
            name: self.record.name.clone(),
            counts,
            instances,
            last_failure: failure.map(|failure| failure.to_string()),
        }
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
