//! The report as text for a terminal.

mod beside;
mod targets;
mod whole;

use std::fmt::Write as _;

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};

use super::{FunctionReport, Report, RunReport, StartReport};
use crate::admin::Scope;
use crate::recorder::LATE;
use crate::series::Summary;

/// The whole report.
pub(crate) fn render(report: &Report) -> String {
    let mut text = format!("machine: {}\n", report.machine.line());
    if let Some(settings) = &report.settings {
        let rounds = if settings.rounds > 1 {
            format!(", {} interleaved rounds", settings.rounds)
        } else {
            String::new()
        };
        line(
            &mut text,
            format_args!(
                "server: {}{rounds}; all times are ms of this client's clock",
                settings.url
            ),
        );
    } else {
        line(&mut text, format_args!("all times are ms"));
    }
    for function in &report.functions {
        self::function(&mut text, report, function);
    }
    whole::bursts(&mut text, report);
    whole::churn(&mut text, report);
    whole::density(&mut text, report);
    floors(&mut text, report);
    beside::peers(&mut text, report);
    verdicts(&mut text, report);
    targets::rows(&mut text, report);
    text
}

fn function(text: &mut String, report: &Report, function: &FunctionReport) {
    line(text, format_args!("\n{}", function.function));
    let columns: Vec<(&str, &StartReport)> = [("cold", &function.cold), ("warm", &function.warm)]
        .into_iter()
        .filter_map(|(scenario, run)| Some((scenario, run.as_ref()?)))
        .flat_map(|(scenario, run)| run.starts.iter().map(move |start| (scenario, start)))
        .collect();
    if !columns.is_empty() {
        let mut table = new_table();
        let heads = columns
            .iter()
            .map(|(scenario, start)| format!("{scenario} calls: {}", start.start.name()));
        table.set_header(row("", heads));
        table.add_row(row(
            "calls",
            columns.iter().map(|(_, start)| start.latency.count.to_string()),
        ));
        for (name, of) in PERCENTILES {
            table.add_row(row(name, columns.iter().map(|(_, start)| ms(of(&start.latency)))));
        }
        for (name, of) in PHASES {
            if columns.iter().any(|(_, start)| of(start).is_some()) {
                table.add_row(row(
                    name,
                    columns.iter().map(|(_, start)| of(start).map_or("-".into(), ms)),
                ));
            }
        }
        line(text, format_args!("{table}"));
    }
    if let Some(run) = &function.cold {
        line(text, format_args!("  cold: {}", cold_words(report)));
        counts(text, run);
    }
    if let Some(run) = &function.warm {
        line(text, format_args!("  warm: {}", warm_words(report, run)));
        counts(text, run);
    }
    beside::more(text, function);
    let few = |run: &RunReport| run.starts.iter().any(|start| start.latency.count < 1000);
    if function.runs().iter().any(|(_, run)| few(run)) {
        line(
            text,
            format_args!("  p99 of fewer than 100 calls and p99.9 of fewer than 1000 are the slowest call"),
        );
    }
    if !function.ratios.is_empty() {
        let mut table = new_table();
        table.set_header(["median of", "over", "ratio"]);
        for ratio in &function.ratios {
            let value = ratio
                .value
                .map_or_else(|| format!("- (no {})", ratio.missing.join(", ")), quotient);
            table.add_row([Cell::new(&ratio.of), Cell::new(&ratio.over), right(value)]);
        }
        line(text, format_args!("{table}"));
    }
}

type Percentile = (&'static str, fn(&Summary) -> f64);

const PERCENTILES: [Percentile; 5] = [
    ("p50", |times| times.p50_ms),
    ("p90", |times| times.p90_ms),
    ("p99", |times| times.p99_ms),
    ("p99.9", |times| times.p999_ms),
    ("max", |times| times.max_ms),
];

type Phase = (&'static str, fn(&StartReport) -> Option<f64>);

const PHASES: [Phase; 4] = [
    ("queue, server's median", |start| start.phases.queue),
    ("sandbox, server's median", |start| start.phases.sandbox),
    ("init, server's median", |start| start.phases.init),
    ("handler, server's median", |start| start.phases.handler),
];

fn cold_words(report: &Report) -> String {
    let pause = report.settings.as_ref().map_or(0.0, |settings| settings.pause_ms);
    let pause = if pause > 0.0 {
        format!("wait {} ms, ", ms(pause))
    } else {
        String::new()
    };
    let evict = report
        .settings
        .as_ref()
        .map_or(Scope::All, |settings| settings.evict)
        .words();
    format!("closed loop: {evict}, {pause}call once; only the call is timed")
}

fn warm_words(report: &Report, run: &RunReport) -> String {
    let mut words = match &report.settings {
        Some(settings) => {
            format!(
                "open loop, {} arrivals at {}/s, timed from the intended send time",
                settings.arrivals.name(),
                settings.rate_per_s
            )
        }
        None => "open loop".to_owned(),
    };
    if let Some(warm_up) = &run.warm_up {
        let first = match (warm_up.first_start, warm_up.first_ms) {
            (Some(start), Some(time)) => format!(", the first {} in {} ms", start.name(), ms(time)),
            _ => String::new(),
        };
        let failed = if warm_up.failed > 0 {
            format!(", {} failed", warm_up.failed)
        } else {
            String::new()
        };
        let _ = write!(
            words,
            "; warm-up before it of {} calls, not counted{first}{failed}",
            warm_up.calls
        );
        if !warm_up.warm {
            words.push_str(", NEVER BECAME WARM");
        }
    }
    words
}

fn counts(text: &mut String, run: &RunReport) {
    line(
        text,
        format_args!(
            "        sent {}, ok {}, failures {}; left over {} ms late: {}, the latest by {} ms",
            run.sent,
            run.ok,
            run.failed,
            LATE.as_millis(),
            run.late_sends,
            ms(run.latest_send_ms)
        ),
    );
    for failure in &run.failures {
        line(
            text,
            format_args!("        FAILED {} x {}: {}", failure.count, failure.kind, failure.first),
        );
    }
}

fn floors(text: &mut String, report: &Report) {
    if !report.floors.is_empty() {
        line(text, format_args!("\nfloors of the same run"));
        let mut table = new_table();
        table.set_header(["floor", "samples", "p50", "p90", "p99", "max", "p50 moved by", "what"]);
        for floor in &report.floors {
            let times = &floor.times;
            let what = floor
                .note
                .as_ref()
                .map_or_else(|| floor.what.clone(), |note| format!("{} ({note})", floor.what));
            table.add_row([
                Cell::new(&floor.name),
                right(times.count.to_string()),
                right(ms(times.p50_ms)),
                right(ms(times.p90_ms)),
                right(ms(times.p99_ms)),
                right(ms(times.max_ms)),
                right(times.spread_ms.map_or("-".into(), ms)),
                Cell::new(what),
            ]);
        }
        line(text, format_args!("{table}"));
    }
    for alike in report.missing_floors.chunk_by(|one, next| one.reason == next.reason) {
        let names: Vec<&str> = alike.iter().map(|floor| floor.name.as_str()).collect();
        line(
            text,
            format_args!("not measured: {}: {}", names.join(", "), alike[0].reason),
        );
    }
}

fn verdicts(text: &mut String, report: &Report) {
    if report.verdicts.is_empty() {
        return;
    }
    line(
        text,
        format_args!(
            "\nagainst the earlier one (medians; noise is how far the rounds' medians lay apart in both runs)"
        ),
    );
    let mut table = new_table();
    table.set_header(["what", "before", "now", "change", "noise", "verdict"]);
    for verdict in &report.verdicts {
        let show = |value: Option<f64>| right(value.map_or("-".into(), ms));
        let change = verdict.before_ms.zip(verdict.now_ms).map(|(before, now)| now - before);
        table.add_row([
            Cell::new(&verdict.what),
            show(verdict.before_ms),
            show(verdict.now_ms),
            right(change.map_or("-".into(), |change| {
                format!("{}{}", if change < 0.0 { "-" } else { "+" }, ms(change.abs()))
            })),
            show(verdict.noise_ms),
            Cell::new(verdict.outcome.words()),
        ]);
    }
    line(text, format_args!("{table}"));
}

fn quotient(value: f64) -> String {
    if value < 1.0 {
        format!("{value:.3}")
    } else {
        format!("{value:.2}")
    }
}

/// Three or four significant digits, never more than the microsecond.
fn ms(value: f64) -> String {
    let digits = match value {
        v if v < 10.0 => 3,
        v if v < 100.0 => 2,
        v if v < 1000.0 => 1,
        _ => 0,
    };
    format!("{value:.digits$}")
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    writeln!(text, "{arguments}").expect("a string takes any text");
}

fn new_table() -> Table {
    let mut table = Table::new();
    // Output that changes with the width of the terminal can't be compared or pasted.
    table
        .load_style(presets::UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Disabled);
    table
}

fn row(name: &str, cells: impl Iterator<Item = String>) -> Vec<Cell> {
    std::iter::once(Cell::new(name)).chain(cells.map(right)).collect()
}

fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_follow_the_size() {
        let shown: Vec<String> = [0.0512, 1.2344, 23.456, 456.78, 12345.6].into_iter().map(ms).collect();
        assert_eq!(shown, ["0.051", "1.234", "23.46", "456.8", "12346"]);
    }

    #[test]
    fn the_text_says_what_a_reader_must_know() {
        let text = render(&crate::report::sample::report());
        for needed in [
            "2 x Example",
            "cold calls: cold",
            "warm calls: warm",
            "p99.9",
            "closed loop",
            "open loop, constant arrivals at 50/s, timed from the intended send time",
            "warm-up before it of 4 calls, not counted, the first cold in 21.50 ms",
            "left over 1 ms late: 3, the latest by 1.750 ms",
            "FAILED 1 x status 500: 500 Oops",
            "not measured: F_exec: no floor binary",
            "- (no F_exec)",
            "F_http_open",
        ] {
            assert!(text.contains(needed), "{needed:?} is missing in\n{text}");
        }
    }
}
