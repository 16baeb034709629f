//! Every metric of the pool: its name, its labels and when it moves.
//!
//! Label values are function names, names of rules and the words of closed enums, so their number is bounded by the functions that were called;
//! the series of a removed function are dropped.

mod egress;
mod scrape;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use functions::FunctionName;
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry};

use crate::instance::Startup;
use crate::shelf::Past;
use crate::start::ColdReason;

pub(crate) use self::egress::{Connection, EgressMetrics, Traffic};
pub(crate) use self::scrape::{Prepared, Sample, scrape};

/// Starts of instances that became ready, by reason.
pub const COLD_STARTS: &str = "fn_cold_starts_total";
/// Instances by state.
pub const INSTANCES: &str = "fn_instances";
/// Calls that wait for an instance.
pub const QUEUE_DEPTH: &str = "fn_queue_depth";
/// Bytes of memory in use, over all instances.
pub const MEMORY: &str = "fn_memory_bytes";
/// Bytes of memory of the instances that wait for their first call.
pub const AHEAD_MEMORY: &str = "fn_ahead_memory_bytes";
/// Instances that were let go for the sake of the host.
pub const EVICTIONS: &str = "fn_evictions_total";
/// Bytes of instances that nobody called, given back to the host.
pub const RECLAIMED: &str = "fn_reclaimed_bytes_total";
/// Processor time used, over all instances that ever lived.
pub const CPU: &str = "fn_cpu_seconds_total";
/// Slots that stand ahead.
pub const SLOTS: &str = "fn_slots_standing";
/// Templates that stand, from which instances are forked.
pub const TEMPLATES: &str = "fn_templates_standing";
/// Processes that are started and wait for the function they will run, by runtime.
pub const PARKED: &str = "fn_parked_processes";
/// Processes and threads, over all instances.
pub const PIDS: &str = "fn_pids";
/// Kills because an instance was out of memory.
pub const OOM_KILLS: &str = "fn_oom_kills_total";
/// Time of the parts of a call and of a start.
pub const PHASES: &str = "fn_phase_duration_seconds";
/// Bytes printed beyond the limit of an invocation, and thrown away.
pub const LOG_DROPPED: &str = "fn_log_dropped_bytes_total";
/// Connections that functions made, by what came of them.
pub const EGRESS_CONNECTIONS: &str = "fn_egress_connections_total";
/// Bytes of connections that functions made, by direction.
pub const EGRESS_BYTES: &str = "fn_egress_bytes_total";

/// Events of instances that were watched, by kind.
pub const WATCH_EVENTS: &str = "fn_watch_events_total";
/// Those that were not judged because there were too many.
pub const WATCH_DROPPED: &str = "fn_watch_dropped_total";
/// Times that a rule applied.
pub const ALERTS: &str = "fn_alerts_total";

/// Upper bounds of [`PHASES`], in seconds.
pub const PHASE_BUCKETS: [f64; 21] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0, 30.0, 60.0, 120.0, 300.0,
];

/// Values of the label `phase` of [`PHASES`]: `queue` and `handler` for every call, the others for every start. `sandbox` holds the five finer
/// ones and the way to the spawner and back.
pub const PHASE_NAMES: [&str; 9] = [
    "queue", "handler", "sandbox", "init", "leaf", "clone", "rootfs", "confine", "exec",
];

/// The counters and histograms of all functions.
pub(crate) struct Metrics {
    registry: Registry,
    cold_starts: IntCounterVec,
    evictions: IntCounterVec,
    oom_kills: IntCounterVec,
    log_dropped: IntCounterVec,
    reclaimed: IntCounterVec,
    phases: HistogramVec,
}

/// What is kept of a function that was called: its metrics, and what its next start has to know.
pub(crate) struct Record {
    pub(crate) name: FunctionName,
    pub(crate) past: Mutex<Past>,
    pub(crate) oom_kills: IntCounter,
    pub(crate) log_dropped: IntCounter,
    pub(crate) reclaimed: IntCounter,
    pub(crate) queue: Histogram,
    pub(crate) handler: Histogram,
    removed: AtomicBool,
}

impl Metrics {
    pub(crate) fn new() -> Metrics {
        let counter = |name, help, labels: &[&str]| {
            IntCounterVec::new(Opts::new(name, help), labels).expect("names and labels are valid")
        };
        let metrics = Metrics {
            registry: Registry::new(),
            cold_starts: counter(
                COLD_STARTS,
                "Instances that were started and became ready.",
                &["function", "reason"],
            ),
            evictions: counter(
                EVICTIONS,
                "Instances that were let go for the sake of the host.",
                &["reason"],
            ),
            oom_kills: counter(OOM_KILLS, "Kills because an instance ran out of memory.", &["function"]),
            log_dropped: counter(
                LOG_DROPPED,
                "Bytes printed beyond the limit of an invocation.",
                &["function"],
            ),
            reclaimed: counter(
                RECLAIMED,
                "Bytes of instances that nobody called, given back to the host.",
                &["function"],
            ),
            phases: HistogramVec::new(
                HistogramOpts::new(PHASES, "Time of the parts of a call and of a start.")
                    .buckets(PHASE_BUCKETS.to_vec()),
                &["function", "phase"],
            )
            .expect("names and labels are valid"),
        };
        let register = |collector: Box<dyn prometheus::core::Collector>| {
            metrics
                .registry
                .register(collector)
                .expect("no two metrics share a name");
        };
        register(Box::new(metrics.cold_starts.clone()));
        register(Box::new(metrics.evictions.clone()));
        register(Box::new(metrics.oom_kills.clone()));
        metrics.relieved(0);
        register(Box::new(metrics.log_dropped.clone()));
        register(Box::new(metrics.reclaimed.clone()));
        register(Box::new(metrics.phases.clone()));
        metrics
    }

    /// So many instances were let go because memory was short.
    pub(crate) fn relieved(&self, count: usize) {
        self.evictions.with_label_values(&["pressure"]).inc_by(count as u64);
    }

    /// Opens the series of a function.
    pub(crate) fn record(&self, name: &FunctionName) -> Record {
        Record {
            name: name.clone(),
            past: Mutex::default(),
            oom_kills: self.oom_kills.with_label_values(&[name.as_str()]),
            log_dropped: self.log_dropped.with_label_values(&[name.as_str()]),
            reclaimed: self.reclaimed.with_label_values(&[name.as_str()]),
            queue: self.phases.with_label_values(&[name.as_str(), "queue"]),
            handler: self.phases.with_label_values(&[name.as_str(), "handler"]),
            removed: AtomicBool::new(false),
        }
    }

    /// An instance became ready.
    pub(crate) fn started(&self, record: &Record, reason: ColdReason, startup: &Startup) {
        if record.removed.load(Ordering::Acquire) {
            return;
        }
        let name = record.name.as_str();
        self.cold_starts.with_label_values(&[name, reason.as_str()]).inc();
        let stages = &startup.stages;
        for (phase, time) in [
            ("sandbox", startup.sandbox),
            ("init", startup.init),
            ("leaf", stages.leaf),
            ("clone", stages.clone),
            ("rootfs", stages.rootfs),
            ("confine", stages.confine),
            ("exec", stages.exec),
        ] {
            self.phases
                .with_label_values(&[name, phase])
                .observe(time.as_secs_f64());
        }
    }

    /// Drops every series of a function that was removed.
    pub(crate) fn remove(&self, record: &Record) {
        record.removed.store(true, Ordering::Release);
        let name = record.name.as_str();
        // A series that was never opened can't be dropped, which is as good.
        for reason in ColdReason::ALL {
            let _ = self.cold_starts.remove_label_values(&[name, reason.as_str()]);
        }
        for phase in PHASE_NAMES {
            let _ = self.phases.remove_label_values(&[name, phase]);
        }
        let _ = self.oom_kills.remove_label_values(&[name]);
        let _ = self.log_dropped.remove_label_values(&[name]);
        let _ = self.reclaimed.remove_label_values(&[name]);
    }
}
