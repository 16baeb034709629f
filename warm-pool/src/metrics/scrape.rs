//! What is read when somebody asks: gauges from the shelves, usage from the instances.

use std::time::Duration;

use prometheus::proto::MetricFamily;
use prometheus::{CounterVec, IntGaugeVec, Opts, Registry};

use super::{CPU, INSTANCES, MEMORY, Metrics, PIDS, QUEUE_DEPTH, Record};
use crate::driver::launcher::Usage;
use crate::shelf::{Condition, Counts};

/// One function at one moment.
pub(crate) struct Sample<'a> {
    pub(crate) record: &'a Record,
    pub(crate) counts: Counts,
    pub(crate) usage: Usage,
}

/// Gathers everything.
pub(crate) fn scrape<'a>(metrics: &Metrics, samples: impl Iterator<Item = Sample<'a>>) -> Vec<MetricFamily> {
    let gauge = |name, help, labels: &[&str]| {
        IntGaugeVec::new(Opts::new(name, help), labels).expect("names and labels are valid")
    };
    let instances = gauge(INSTANCES, "Instances by state.", &["function", "state"]);
    let queue = gauge(QUEUE_DEPTH, "Calls that wait for an instance.", &["function"]);
    let memory = gauge(MEMORY, "Memory in use over all instances, in bytes.", &["function"]);
    let pids = gauge(PIDS, "Processes and threads over all instances.", &["function"]);
    let cpu = CounterVec::new(
        Opts::new(CPU, "Processor time over all instances that ever lived, in seconds."),
        &["function"],
    )
    .expect("names and labels are valid");

    for sample in samples {
        let name = sample.record.name.as_str();
        for state in Condition::ALL {
            let count = sample.counts.of(state);
            instances.with_label_values(&[name, state.as_str()]).set(count.into());
        }
        queue.with_label_values(&[name]).set(sample.counts.queued.into());
        memory.with_label_values(&[name]).set(whole(sample.usage.memory_bytes));
        pids.with_label_values(&[name]).set(whole(sample.usage.pids));
        let total: Duration = sample.record.cpu_total(sample.usage.cpu);
        cpu.with_label_values(&[name]).inc_by(total.as_secs_f64());
    }

    let moment = Registry::new();
    let collectors: [Box<dyn prometheus::core::Collector>; 5] = [
        Box::new(instances),
        Box::new(queue),
        Box::new(memory),
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
