//! What the demonstration prints between its steps.

use std::fmt::Write;

use super::call::Reply;

/// The metrics that are shown, in this order: the ones that tell what the demonstration did.
const SHOWN: &[&str] = &[
    "fn_invocations_total",
    "fn_cold_starts_total",
    "fn_instances",
    "fn_memory_bytes",
    "fn_cpu_seconds_total",
    "fn_pids",
    "fn_oom_kills_total",
    "process_resident_memory_bytes",
];

/// One example's two calls.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) cold: Reply,
    pub(super) warm: Reply,
}

/// A heading.
pub(super) fn step(what: &str) {
    println!("\n== {what}");
}

/// The table of cold and warm latencies.
pub(super) fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:<16} {:<8} {:>9} {:>9}  {}\n",
        "function", "start", "cold ms", "warm ms", "the cold one, by the server"
    );
    for row in rows {
        writeln!(
            text,
            "{:<16} {:<8} {:>9.2} {:>9.2}  {}",
            row.name, row.cold.start, row.cold.millis, row.warm.millis, row.cold.timing
        )
        .expect("writing to a string can't fail");
    }
    text
}

/// The lines of `/metrics` that are worth reading here.
pub(super) fn extract(metrics: &str) -> String {
    let mut text = String::new();
    for name in SHOWN {
        for line in metrics
            .lines()
            .filter(|line| line.split(['{', ' ']).next() == Some(name))
        {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_names_are_extracted() {
        let metrics = "# HELP fn_pids x\nfn_pids{function=\"a\"} 2\nfn_pids_max 9\nfn_instances{state=\"idle\"} 1\n";
        assert_eq!(
            extract(metrics),
            "fn_instances{state=\"idle\"} 1\nfn_pids{function=\"a\"} 2\n"
        );
    }
}
