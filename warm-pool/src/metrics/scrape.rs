//! What is read when somebody asks: gauges from the shelves, usage from the instances.

use std::sync::Arc;
use std::time::Duration;

use prometheus::proto::MetricFamily;
use prometheus::{CounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::{AHEAD_MEMORY, CPU, INSTANCES, MEMORY, Metrics, PARKED, PIDS, QUEUE_DEPTH, Record, SLOTS, TEMPLATES};
use crate::driver::launcher::Usage;
use crate::shelf::{Condition, Counts};

/// What stands ready at one moment.
pub(crate) struct Prepared {
    /// Slots that are nobody's.
    pub(crate) slots: usize,
    /// Templates.
    pub(crate) templates: usize,
    /// Node processes that are nobody's.
    pub(crate) parked: usize,
}

/// One function at one moment.
pub(crate) struct Sample {
    pub(crate) record: Arc<Record>,
    pub(crate) counts: Counts,
    pub(crate) usage: Usage,
    /// Bytes of those that wait for their first call.
    pub(crate) ahead_memory: Option<u64>,
    pub(crate) cpu: Option<Duration>,
}

/// Gathers everything.
pub(crate) fn scrape(metrics: &Metrics, samples: &[Sample], prepared: Prepared) -> Vec<MetricFamily> {
    let gauge = |name, help, labels: &[&str]| {
        IntGaugeVec::new(Opts::new(name, help), labels).expect("names and labels are valid")
    };
    let instances = gauge(INSTANCES, "Instances by state.", &["function", "state"]);
    let queue = gauge(QUEUE_DEPTH, "Calls that wait for an instance.", &["function"]);
    let memory = gauge(MEMORY, "Memory in use over all instances, in bytes.", &["function"]);
    let ahead_memory = gauge(
        AHEAD_MEMORY,
        "Memory of the instances that wait for their first call, in bytes.",
        &["function"],
    );
    let pids = gauge(PIDS, "Processes and threads over all instances.", &["function"]);
    let cpu = CounterVec::new(
        Opts::new(CPU, "Processor time over all instances that ever lived, in seconds."),
        &["function"],
    )
    .expect("names and labels are valid");

    let slots =
        IntGauge::new(SLOTS, "Slots that stand ahead of the starts that will want them.").expect("the name is valid");
    slots.set(i64::try_from(prepared.slots).unwrap_or(i64::MAX));
    let templates =
        IntGauge::new(TEMPLATES, "Templates that stand, from which instances are forked.").expect("the name is valid");
    templates.set(i64::try_from(prepared.templates).unwrap_or(i64::MAX));

    let parked = gauge(
        PARKED,
        "Processes that are started and wait for the function they will run.",
        &["runtime"],
    );
    parked
        .with_label_values(&["node"])
        .set(i64::try_from(prepared.parked).unwrap_or(i64::MAX));

    for sample in samples {
        let name = sample.record.name.as_str();
        for state in Condition::ALL {
            let count = sample.counts.of(state);
            instances.with_label_values(&[name, state.as_str()]).set(count.into());
        }
        queue.with_label_values(&[name]).set(sample.counts.queued.into());
        // What nothing counts has no series, which is not the same as 0.
        if let Some(bytes) = sample.usage.memory_bytes {
            memory.with_label_values(&[name]).set(whole(bytes));
        }
        if let Some(bytes) = sample.ahead_memory {
            ahead_memory.with_label_values(&[name]).set(whole(bytes));
        }
        if let Some(count) = sample.usage.pids {
            pids.with_label_values(&[name]).set(whole(count));
        }
        if let Some(time) = sample.cpu {
            cpu.with_label_values(&[name]).inc_by(time.as_secs_f64());
        }
    }

    let moment = Registry::new();
    let collectors: [Box<dyn prometheus::core::Collector>; 9] = [
        Box::new(slots),
        Box::new(templates),
        Box::new(parked),
        Box::new(instances),
        Box::new(queue),
        Box::new(memory),
        Box::new(ahead_memory),
        Box::new(pids),
        Box::new(cpu),
    ];
    for collector in collectors {
        moment.register(collector).expect("no two metrics share a name");
    }
    let mut families = metrics.registry.gather();
    families.extend(moment.gather());
    families
}

fn whole(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
