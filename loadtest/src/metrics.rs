//! The server's own counters, as its `/metrics` shows them to everybody: beside a measurement, never instead of one.

use std::time::Duration;

use crate::client::Target;
use crate::once;

/// Instances by state.
pub(crate) const INSTANCES: &str = "fn_instances";
/// Instances that were started and became ready.
pub(crate) const STARTED: &str = "fn_cold_starts_total";
/// Memory of the instances as their cgroups count it.
pub(crate) const MEMORY: &str = "fn_memory_bytes";

const TIMEOUT: Duration = Duration::from_secs(30);

/// Everything at `/metrics` at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Metrics {
    samples: Vec<Sample>,
}

#[derive(Debug, Clone, PartialEq)]
struct Sample {
    name: String,
    function: Option<String>,
    value: f64,
}

/// Reads `/metrics`; the error is a sentence for the list of what could not be seen.
pub(crate) async fn read(target: &Target) -> Result<Metrics, String> {
    let (status, body) = tokio::time::timeout(TIMEOUT, once::get(target, "/metrics"))
        .await
        .map_err(|_elapsed| "/metrics did not answer".to_owned())?
        .map_err(|reason| format!("/metrics can't be read: {reason}"))?;
    if !status.is_success() {
        return Err(format!("/metrics answered {status}"));
    }
    Ok(Metrics::parse(&String::from_utf8_lossy(&body)))
}

impl Metrics {
    /// Reads the text format; a line that is no sample is left out.
    pub(crate) fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Self {
            samples: lines.filter_map(sample).collect(),
        }
    }

    /// The sum of a metric's samples over some functions; `None` when there is no sample, which is not the same as 0.
    pub(crate) fn of(&self, name: &str, functions: &[String]) -> Option<f64> {
        let of = |sample: &&Sample| {
            let function = sample.function.as_ref();
            sample.name == name && function.is_some_and(|function| functions.contains(function))
        };
        let mut found = self.samples.iter().filter(of).map(|sample| sample.value).peekable();
        found.peek()?;
        Some(found.sum())
    }
}

fn sample(line: &str) -> Option<Sample> {
    let (series, value) = line.trim_end().rsplit_once(' ')?;
    let value: f64 = value.parse().ok()?;
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    // A function's name has neither a quote nor a backslash, so nothing needs to be unescaped.
    let function = labels
        .split_once("function=\"")
        .and_then(|(_, rest)| rest.split('"').next())
        .map(str::to_owned);
    Some(Sample {
        name: name.to_owned(),
        function,
        value,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_by_function_and_tells_none_from_zero() {
        let text = "# TYPE fn_instances gauge\nfn_instances{function=\"a\",state=\"idle\"} 3\n\
                    fn_instances{state=\"busy\",function=\"a\"} 1\nfn_instances{function=\"b\",state=\"idle\"} 0\n\
                    fn_memory_bytes{function=\"a\"} 1.5e6\nprocess_open_fds 12\nnonsense\n";
        let metrics = Metrics::parse(text);
        let functions = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(metrics.of(INSTANCES, &functions(&["a"])), Some(4.0));
        assert_eq!(metrics.of(INSTANCES, &functions(&["b"])), Some(0.0));
        assert_eq!(metrics.of(INSTANCES, &functions(&["c"])), None);
        assert_eq!(metrics.of(MEMORY, &functions(&["a", "b"])), Some(1.5e6));
        assert_eq!(metrics.of("process_open_fds", &functions(&["a"])), None);
    }
}
