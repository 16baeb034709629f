//! Bursts, churns and looks at the memory, each as a whole.

use comfy_table::Cell;

use super::{line, ms, new_table, right};
use crate::report::{ChurnReport, DensityReport, Report};

pub(super) fn bursts(text: &mut String, report: &Report) {
    for burst in &report.bursts {
        line(
            text,
            format_args!("\n{}: {} calls at the same moment", burst.function, burst.calls),
        );
        let mut table = new_table();
        let heads = [
            "burst",
            "answered",
            "first answer",
            "all answered",
            "new by x-fn-start",
            "instances",
            "started by /metrics",
        ];
        table.set_header(heads);
        for (at, one) in burst.bursts.iter().enumerate() {
            table.add_row([
                right((at + 1).to_string()),
                right(one.answered.to_string()),
                right(one.first_ms.map_or("-".into(), ms)),
                right(ms(one.span_ms)),
                right(one.new.to_string()),
                right(one.instances.to_string()),
                right(one.started.map_or("-".into(), |started| started.to_string())),
            ]);
        }
        line(text, format_args!("{table}"));
    }
}

pub(super) fn churn(text: &mut String, report: &Report) {
    for churn in &report.churns {
        one_churn(text, churn);
    }
}

fn one_churn(text: &mut String, churn: &ChurnReport) {
    let slowest = churn
        .slowest_tenth_per_s
        .map_or(String::new(), |rate| format!(", {rate:.1} in the slowest tenth"));
    line(
        text,
        format_args!(
            "\nchurn of {}: {} cold starts in {:.1} s over {} connections: {:.1} per second{slowest}",
            churn.what, churn.cold_starts, churn.elapsed_s, churn.connections, churn.per_s
        ),
    );
    for drift in &churn.drift {
        line(
            text,
            format_args!(
                "  {}: p99 of the first {} calls {} ms, of the last {} ms",
                drift.start.name(),
                drift.calls,
                ms(drift.first_p99_ms),
                ms(drift.last_p99_ms)
            ),
        );
    }
    if !churn.growth.is_empty() {
        let mut table = new_table();
        table.set_header(["what must not grow", "before", "after", "change"]);
        for growth in &churn.growth {
            table.add_row([
                Cell::new(&growth.what),
                right(growth.before.to_string()),
                right(growth.after.to_string()),
                right(format!("{:+}", growth.change())),
            ]);
        }
        line(text, format_args!("{table}"));
    }
    not_seen(text, &churn.unseen);
}

pub(super) fn density(text: &mut String, report: &Report) {
    for look in &report.density {
        one_density(text, look);
    }
}

fn one_density(text: &mut String, look: &DensityReport) {
    line(
        text,
        format_args!(
            "\n{}: {} instances parked, counted by {}",
            look.what, look.parked, look.counted_by
        ),
    );
    let mut table = new_table();
    table.set_header(["KiB", "all", "for each instance"]);
    let per = look.per_instance.as_ref();
    let show = |value: Option<f64>| right(value.map_or("-".into(), |kib| format!("{kib:.1}")));
    let mut row = |name: &str, all: Option<i64>, each: Option<f64>| {
        let all = right(all.map_or("-".into(), |kib| kib.to_string()));
        table.add_row([Cell::new(name), all, show(each)]);
    };
    row(
        "MemAvailable fell by",
        Some(look.available_kib),
        per.map(|per| per.available_kib),
    );
    row(
        "of it slab, kernel stacks, page tables",
        Some(look.kernel_kib),
        per.map(|per| per.kernel_kib),
    );
    row(
        "private memory (smaps_rollup)",
        None,
        per.and_then(|per| per.private_kib),
    );
    row(
        "the same without the function's dirty pages",
        None,
        per.and_then(|per| per.beyond_dirty_kib),
    );
    row("what the cgroups count", None, per.and_then(|per| per.cgroup_kib));
    row(
        "noise: MemAvailable fell by this while nothing was called",
        Some(look.idle_kib),
        None,
    );
    line(text, format_args!("{table}"));
    not_seen(text, &look.unseen);
}

fn not_seen(text: &mut String, unseen: &[String]) {
    for what in unseen {
        line(text, format_args!("  not seen: {what}"));
    }
}
