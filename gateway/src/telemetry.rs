//! The gateway's metrics, and the text of everybody's.
//!
//! | metric | labels |
//! |---|---|
//! | `fn_invocations_total` | function, start, code |
//! | `fn_invocation_duration_seconds` | function, start |
//! | `fn_requests_refused_total` | code |
//! | `fn_background_calls` | |
//! | `fn_background_calls_total` | end |
//! | `fn_callbacks_total` | end |
//! | `fn_dropped_headers_total` | function |
//! | `fn_dropped_log_lines_total` | |
//! | `process_*` | |
//!
//! Labels are bounded: `function` is only ever the name of a deployed function, `start`, `end` and the refusals' `code` come from closed sets, an invocation's
//! `code` is an HTTP status. A removed function's series go with it.

use std::time::Duration;

use functions::FunctionName;
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::MetricFamily;
use prometheus::{
    Encoder, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
    exponential_buckets,
};

use crate::outcome::Code;

/// The label `start` of a request that ended before an instance was found for it.
pub const NO_START: &str = "none";

/// The status under which a caller's early leave is counted. No reply carries it.
pub const CLIENT_GONE: u16 = 499;

/// Every value of the label `start`.
const STARTS: [&str; 7] = ["warm", "thawed", "ahead", "forked", "pooled", "cold", NO_START];

/// How a call that nobody waited for ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Background {
    /// Its function ran, however that ended.
    Done,
    /// It was accepted and did not run, or not to its end.
    Lost,
    /// It was not accepted, for there was no room.
    Refused,
}

impl Background {
    const ALL: [Self; 3] = [Self::Done, Self::Lost, Self::Refused];

    fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Lost => "lost",
            Self::Refused => "refused",
        }
    }
}

/// How the sending of a result ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Callback {
    /// Somebody took it.
    Delivered,
    /// Somebody answered with something else than a 2xx.
    Refused,
    /// Nobody answered.
    Unreachable,
}

impl Callback {
    const ALL: [Self; 3] = [Self::Delivered, Self::Refused, Self::Unreachable];

    fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
        }
    }
}

/// A call in the background, for as long as it is not done.
#[derive(Debug)]
pub struct Waits(IntGauge);

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The metrics of the gateway. Cheap to clone; clones count together.
#[derive(Clone, Debug)]
pub struct Telemetry {
    registry: Registry,
    invocations: IntCounterVec,
    durations: HistogramVec,
    refused: IntCounterVec,
    dropped_headers: IntCounterVec,
    background: IntCounterVec,
    background_now: IntGauge,
    callbacks: IntCounterVec,
    dropped_lines: IntCounter,
}

/// Bounds of the duration histogram: 50 us to about two minutes, each 1.9 times the one before.
fn buckets() -> Vec<f64> {
    exponential_buckets(0.000_05, 1.9, 24).expect("start, factor and count are positive")
}

impl Telemetry {
    /// Fresh metrics, all zero, in a registry of their own.
    pub fn new() -> Self {
        let registry = Registry::new();
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let counter = IntCounterVec::new(Opts::new(name, help), labels).expect("the names are valid");
            registry
                .register(Box::new(counter.clone()))
                .expect("the names are unique");
            counter
        };
        let invocations = counter(
            "fn_invocations_total",
            "Invocations by function, how the instance was found, and HTTP status (499: the caller left).",
            &["function", "start", "code"],
        );
        let refused = counter(
            "fn_requests_refused_total",
            "Requests that reached no function, by error code.",
            &["code"],
        );
        let dropped_headers = counter(
            "fn_dropped_headers_total",
            "Header lines of functions' replies that were dropped because functions may not send them.",
            &["function"],
        );
        let background = counter(
            "fn_background_calls_total",
            "Calls that nobody waited for, by how they ended.",
            &["end"],
        );
        let callbacks = counter(
            "fn_callbacks_total",
            "Results that were sent to the address of a callback, by whether somebody took them.",
            &["end"],
        );
        let background_now = IntGauge::new(
            "fn_background_calls",
            "Calls that nobody waits for, accepted and not done yet.",
        )
        .expect("the name is valid");
        registry
            .register(Box::new(background_now.clone()))
            .expect("the names are unique");
        let durations = HistogramOpts::new(
            "fn_invocation_duration_seconds",
            "Time from the request's head to the end of the reply, by function and how the instance was found.",
        );
        let durations =
            HistogramVec::new(durations.buckets(buckets()), &["function", "start"]).expect("the names are valid");
        registry
            .register(Box::new(durations.clone()))
            .expect("the names are unique");
        let dropped_lines = IntCounter::new(
            "fn_dropped_log_lines_total",
            "Log lines that were dropped because the writer could not keep up.",
        )
        .expect("the name is valid");
        registry
            .register(Box::new(dropped_lines.clone()))
            .expect("the names are unique");
        registry
            .register(Box::new(ProcessCollector::for_self()))
            .expect("the names are unique");
        for code in Code::ALL {
            refused.with_label_values(&[code.as_str()]);
        }
        for end in Background::ALL {
            background.with_label_values(&[end.as_str()]);
        }
        for end in Callback::ALL {
            callbacks.with_label_values(&[end.as_str()]);
        }
        Self {
            registry,
            invocations,
            durations,
            refused,
            dropped_headers,
            background,
            background_now,
            callbacks,
            dropped_lines,
        }
    }

    /// Counts an invocation that ended.
    pub fn invocation(&self, function: &FunctionName, start: &'static str, code: u16, took: Duration) {
        let mut digits = [0; 5];
        self.invocations
            .with_label_values(&[function.as_str(), start, decimal(code, &mut digits)])
            .inc();
        self.durations
            .with_label_values(&[function.as_str(), start])
            .observe(took.as_secs_f64());
    }

    /// Counts a request that reached no function.
    pub fn refused(&self, code: Code) {
        self.refused.with_label_values(&[code.as_str()]).inc();
    }

    /// Counts a call that nobody waited for, at its end.
    pub fn background(&self, end: Background) {
        self.background.with_label_values(&[end.as_str()]).inc();
    }

    /// Counts a call that nobody waits for until the drop.
    pub fn background_waits(&self) -> Waits {
        self.background_now.inc();
        Waits(self.background_now.clone())
    }

    /// Counts a result that was sent, or was not to be sent.
    pub fn callback(&self, end: Callback) {
        self.callbacks.with_label_values(&[end.as_str()]).inc();
    }

    /// Counts header lines of a function's reply that were dropped.
    pub fn dropped_headers(&self, function: &FunctionName, lines: usize) {
        if lines > 0 {
            self.dropped_headers
                .with_label_values(&[function.as_str()])
                .inc_by(lines as u64);
        }
    }

    /// Sets the count of dropped log lines, which the log writer keeps.
    pub fn dropped_lines(&self, total: u64) {
        self.dropped_lines
            .inc_by(total.saturating_sub(self.dropped_lines.get()));
    }

    /// Takes away the series of a removed function.
    pub fn forget(&self, function: &FunctionName) {
        for start in STARTS {
            let _ = self.durations.remove_label_values(&[function.as_str(), start]);
            for code in 200..600 {
                let _ = self
                    .invocations
                    .remove_label_values(&[function.as_str(), start, &code.to_string()]);
            }
        }
        let _ = self.dropped_headers.remove_label_values(&[function.as_str()]);
    }

    /// All metrics, those of other crates included, in the Prometheus text format (version 0.0.4).
    pub fn text(&self, others: Vec<MetricFamily>) -> String {
        let mut families = self.registry.gather();
        families.extend(others);
        // A family without a series is one that promtool calls empty.
        families.retain(|family| !family.get_metric().is_empty());
        families.sort_by(|a, b| a.name().cmp(b.name()));
        let mut text = Vec::new();
        TextEncoder::new()
            .encode(&families, &mut text)
            .expect("writing to memory does not fail");
        String::from_utf8(text).expect("the encoder writes text")
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Self::new()
    }
}

/// A small number as text, without an allocation.
fn decimal(number: u16, digits: &mut [u8; 5]) -> &str {
    let (mut rest, mut from) = (number, digits.len());
    loop {
        from -= 1;
        digits[from] = b'0' + u8::try_from(rest % 10).expect("a digit");
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    std::str::from_utf8(&digits[from..]).expect("digits are text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invocation_is_counted_under_its_labels_and_forgotten_with_its_function() {
        let telemetry = Telemetry::new();
        let name: FunctionName = "hello".parse().unwrap();
        telemetry.invocation(&name, "cold", 200, Duration::from_millis(3));
        telemetry.invocation(&name, NO_START, CLIENT_GONE, Duration::from_millis(3));
        telemetry.dropped_headers(&name, 2);
        telemetry.background(Background::Lost);
        telemetry.callback(Callback::Unreachable);
        let _waits = telemetry.background_waits();
        telemetry.dropped_lines(7);
        telemetry.dropped_lines(9);
        let text = telemetry.text(Vec::new());
        for line in [
            "fn_invocations_total{code=\"200\",function=\"hello\",start=\"cold\"} 1",
            "fn_invocations_total{code=\"499\",function=\"hello\",start=\"none\"} 1",
            "fn_invocation_duration_seconds_count{function=\"hello\",start=\"cold\"} 1",
            "fn_dropped_headers_total{function=\"hello\"} 2",
            "fn_dropped_log_lines_total 9",
            "fn_requests_refused_total{code=\"bad_request\"} 0",
            "fn_background_calls_total{end=\"lost\"} 1",
            "fn_background_calls_total{end=\"refused\"} 0",
            "fn_background_calls 1",
            "fn_callbacks_total{end=\"unreachable\"} 1",
        ] {
            assert!(text.contains(line), "{line} is missing in {text}");
        }
        assert!(text.contains("process_open_fds"));
        telemetry.forget(&name);
        assert!(!telemetry.text(Vec::new()).contains("hello"));
    }

    #[test]
    fn small_numbers_are_written() {
        let mut digits = [0; 5];
        for number in [0, 7, 200, 499, 65535] {
            assert_eq!(decimal(number, &mut digits), number.to_string());
        }
    }

    #[test]
    fn buckets_reach_from_50_microseconds_to_minutes() {
        let buckets = buckets();
        assert!(buckets[0] <= 0.000_05 && buckets[buckets.len() - 1] > 60.0);
    }
}
