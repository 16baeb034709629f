//! The table of targets.

use comfy_table::Cell;

use super::{line, ms, new_table, quotient, right};
use crate::report::{Report, Row, RowOutcome};

pub(super) fn rows(text: &mut String, report: &Report) {
    if report.targets.is_empty() {
        return;
    }
    line(
        text,
        format_args!("\ntargets (value over base, against the limit of that ratio)"),
    );
    let mut table = new_table();
    table.set_header(["row", "what", "value", "base", "over", "ratio", "limit", "outcome"]);
    for row in &report.targets {
        let show = |value: Option<f64>| right(value.map_or("-".into(), |value| amount(value, &row.unit)));
        table.add_row([
            right(row.row.to_string()),
            Cell::new(&row.what),
            show(row.value),
            show(row.base),
            Cell::new(&row.over),
            right(row.ratio.map_or("-".into(), quotient)),
            Cell::new(row.target.words()),
            Cell::new(row.outcome.words()),
        ]);
    }
    line(text, format_args!("{table}"));
    for row in &report.targets {
        if let Some(note) = &row.note {
            line(text, format_args!("  row {}, {}: {note}", row.row, row.what));
        }
    }
    let count = |outcome: RowOutcome| {
        report
            .targets
            .iter()
            .filter(|row: &&Row| row.outcome == outcome)
            .count()
    };
    line(
        text,
        format_args!(
            "{} passed, {} failed, {} skipped",
            count(RowOutcome::Pass),
            count(RowOutcome::Fail),
            count(RowOutcome::Skip)
        ),
    );
}

fn amount(value: f64, unit: &str) -> String {
    match unit {
        "" => format!("{value:.0}"),
        "ms" => format!("{} ms", ms(value)),
        other => format!("{value:.1} {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Bound, sample};

    #[test]
    fn skips_are_counted_and_explained() {
        let mut report = sample::report();
        report.targets = vec![
            Row::judged(
                1,
                "native".into(),
                (0.5, "ms"),
                ("F_exec + F_http".into(), 0.5),
                Bound::AtMost(1.5),
            ),
            Row::skipped(4, "wasm".into(), Bound::AtMost(1.0), "not built in"),
        ];
        let mut text = String::new();
        rows(&mut text, &report);
        for needed in [
            "1 passed, 0 failed, 1 skipped",
            "row 4, wasm: not built in",
            "<= 1.5",
            "0.500 ms",
        ] {
            assert!(text.contains(needed), "{needed:?} is missing in\n{text}");
        }
    }
}
