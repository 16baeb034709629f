//! Rows 7, 8, 9 and 12: many starts, many instances, many cycles, many functions.

use super::{ENOUGH, Quantity, View, row};
use crate::report::{Bound, ChurnReport, DensityReport, PerInstance, Row};
use crate::scenarios::targets::fleet::{FEW, Fleet, Measured};
use crate::scenarios::targets::rounds::way;
use crate::scenarios::targets::stage::{Role, SCALE_MAX};
use crate::scenarios::targets::whole::{CYCLES, SUSTAINED};
use crate::start::{Family, Start};

/// The part of the floor's rate that is asked for.
const PART_OF_RATE: f64 = 0.65;
/// 100 KB, in KiB.
const BEYOND_DIRTY: f64 = 100e3 / 1024.0;
/// A thousandth of 700 MB, in KiB.
const PARKED_NATIVE: f64 = 700e3 / 1024.0;
/// 1.3 MB, in KiB.
const PARKED_PYTHON: f64 = 1.3e6 / 1024.0;
/// The first and the last hundredth of fewer cycles are a handful of calls.
const ENOUGH_DRIFT: u64 = 10;
/// The slab of a machine breathes by this much without us.
const SLAB: f64 = 1.05;
/// "Costs the same" within what two medians of one run differ by.
const THE_SAME: f64 = 1.2;

pub(super) fn rows(view: &View<'_>) -> Vec<Row> {
    let mut rows = sustained(view);
    rows.extend(parked(view));
    rows.extend(cycles(view));
    rows.extend(fleet(view));
    rows
}

fn floor_rate(view: &View<'_>) -> Quantity {
    let each_ms = view.floor_at_once("F_ns7")? + view.floor_at_once("F_fork_import")?;
    Ok(1e3 / each_ms)
}

fn churn_of<'a>(view: &'a View<'_>, what: &str) -> Result<&'a ChurnReport, String> {
    let churn = view.report.churns.iter().find(|churn| churn.what == what);
    churn.ok_or_else(|| "no churn was run".to_owned())
}

/// Cold starts per second when every call has a fresh process, and when evictions make the calls cold.
fn rates(view: &View<'_>) -> [(&'static str, Quantity); 2] {
    let fresh = || -> Quantity {
        let run = view.run(Role::Request, way::FULL)?;
        let cold = |family: Family| {
            let of = run.run.starts.iter().filter(|start| start.start.family() == family);
            of.map(|start| start.latency.count).sum::<u64>() as f64
        };
        let per_s = run.per_s.ok_or("the function with fresh processes did not serve")?;
        Ok(per_s * cold(Family::Cold) / (run.run.ok as f64).max(1.0))
    };
    let churn = churn_of(view, SUSTAINED).map(|churn| churn.per_s);
    [("reuse = \"request\"", fresh()), ("evictions", churn)]
}

fn sustained(view: &View<'_>) -> Vec<Row> {
    let mut best: (&str, Quantity) = ("", Err(String::new()));
    for (how, rate) in rates(view) {
        let better = match (&rate, &best.1) {
            (Ok(rate), Ok(so_far)) => rate > so_far,
            (Ok(_), Err(_)) => true,
            (Err(_), _) => best.0.is_empty(),
        };
        if better {
            best = (how, rate);
        }
    }
    let over = "1/(F_ns7 + F_fork_import), back to back";
    let mut rows = vec![
        row(
            7,
            format!("Python cold starts per second (by {})", best.0),
            best.1,
            "/s",
            (over.into(), floor_rate(view)),
            Bound::AtLeast(PART_OF_RATE),
        )
        .noted("the floor is of one process at a time; the load test runs on the same cores"),
    ];
    let calls = f64::from(view.facts.burst_calls);
    let burst = view
        .report
        .bursts
        .iter()
        .find(|burst| burst.function == Role::Python.name())
        .and_then(|burst| burst.bursts.first());
    let burst = || burst.ok_or_else(|| missing(view, Role::Python, "no burst was run"));
    rows.push(row(
        7,
        "burst on a cold function: answered",
        burst().map(|burst| burst.answered as f64),
        "",
        ("calls".into(), Ok(calls)),
        Bound::AtLeast(1.0),
    ));
    rows.push(row(
        7,
        "burst on a cold function: starts",
        burst().map(|burst| burst.started.unwrap_or(burst.instances) as f64),
        "",
        ("scale.max".into(), Ok(f64::from(SCALE_MAX))),
        Bound::AtMost(1.0),
    ));
    rows.push(row(
        7,
        "burst on a cold function: all answered",
        burst().map(|burst| burst.span_ms),
        "ms",
        (
            format!("{calls} / ({PART_OF_RATE} x {over})"),
            floor_rate(view).map(|rate| calls / (PART_OF_RATE * rate) * 1e3),
        ),
        Bound::AtMost(1.0),
    ));
    rows
}

fn missing(view: &View<'_>, role: Role, otherwise: &str) -> String {
    view.facts
        .missing
        .get(&role)
        .cloned()
        .unwrap_or_else(|| otherwise.to_owned())
}

/// MemAvailable is of the whole machine: when it moves by itself as much as by what was parked, it says nothing.
fn quiet(look: &DensityReport) -> Result<(), String> {
    if look.idle_kib.abs() * 4 > look.available_kib.abs() {
        let (idle, parked) = (look.idle_kib, look.available_kib);
        return Err(format!(
            "MemAvailable fell by {idle} KiB while nothing was called and by {parked} KiB while {} were parked: the machine is \
             not quiet, or --parked is too small",
            look.parked
        ));
    }
    Ok(())
}

fn parked(view: &View<'_>) -> Vec<Row> {
    let look = |role: Role| -> Result<(&DensityReport, &PerInstance), String> {
        let look = view.report.density.iter().find(|look| look.what == role.name());
        let look = look.ok_or_else(|| missing(view, role, "nothing was parked"))?;
        let per = look.per_instance.as_ref().ok_or("no instance waited")?;
        Ok((look, per))
    };
    let native = look(Role::ParkedNative);
    let beyond = native.clone().and_then(|(look, per)| {
        per.beyond_dirty_kib
            .ok_or_else(|| format!("private memory was not seen: {}", look.unseen.join("; ")))
    });
    let note = |row: Row, look: &Result<(&DensityReport, &PerInstance), String>| {
        match look {
        Ok((look, per)) => row.noted(format!(
            "{} parked; of it {:.0} KiB of the kernel (slab, page tables, kernel stacks) each; MemAvailable moved by {} KiB \
             in all while nothing was called",
            look.parked, per.kernel_kib, look.idle_kib
        )),
        Err(_) => row,
    }
    };
    let all_told = |what: &str, role: Role, base: f64, over: &str| {
        let look = look(role);
        let value = look
            .clone()
            .and_then(|(look, per)| quiet(look).map(|()| per.available_kib));
        let base = (over.to_owned(), Ok(base));
        note(row(8, what, value, "KiB", base, Bound::AtMost(1.0)), &look)
    };
    vec![
        row(
            8,
            "parked native: private memory beyond its dirty pages",
            beyond,
            "KiB",
            ("100 KB".into(), Ok(BEYOND_DIRTY)),
            Bound::AtMost(1.0),
        ),
        all_told(
            "parked native: all told (MemAvailable)",
            Role::ParkedNative,
            PARKED_NATIVE,
            "700 MB / 1,000",
        ),
        all_told(
            "parked Python with json: all told (MemAvailable)",
            Role::ParkedPython,
            PARKED_PYTHON,
            "1.3 MB",
        ),
    ]
}

fn cycles(view: &View<'_>) -> Vec<Row> {
    let most = Bound::AtMost(1.0);
    let churn = match churn_of(view, CYCLES) {
        Ok(churn) => churn,
        Err(why) => return vec![Row::skipped(9, "cycles of eviction and start".into(), most, why)],
    };
    let remark = format!("{} cold starts of the 100,000 that the row names", churn.cold_starts);
    let drifts = churn.drift.iter().filter(|drift| drift.calls >= ENOUGH_DRIFT);
    let mut rows: Vec<Row> = drifts
        .map(|drift| {
            row(
                9,
                format!("p99 of the last 1 % of the cycles ({})", drift.start.name()),
                Ok(drift.last_p99_ms),
                "ms",
                ("p99 of the first 1 %".into(), Ok(drift.first_p99_ms)),
                Bound::AtMost(1.2),
            )
            .noted(&remark)
        })
        .collect();
    if rows.is_empty() {
        let why = format!(
            "{} cold starts of one type are needed for a first and a last hundredth; --churn-cycles asks for more",
            ENOUGH_DRIFT * 100
        );
        let what = "p99 of the last 1 % of the cycles".to_owned();
        rows.push(Row::skipped(9, what, Bound::AtMost(1.2), why));
    }
    for growth in &churn.growth {
        let slab = growth.what.contains("slab");
        let bound = Bound::AtMost(if slab { SLAB } else { 1.0 });
        let base = ("before".to_owned(), Ok(growth.before as f64));
        let row = row(9, growth.what.clone(), Ok(growth.after as f64), "", base, bound).noted(&remark);
        rows.push(if growth.what.contains("of the machine") {
            row.noted("what others do on this machine counts too")
        } else {
            row
        });
    }
    for what in &churn.unseen {
        rows.push(Row::skipped(9, "what must not grow".into(), most, what.clone()));
    }
    rows
}

fn fleet(view: &View<'_>) -> Vec<Row> {
    let most = Bound::AtMost(THE_SAME);
    match &view.facts.fleet {
        Fleet::NotAsked => Vec::new(),
        Fleet::Unseen(why) => vec![Row::skipped(12, "many deployed functions".into(), most, why.clone())],
        Fleet::Measured(measured) => many_functions(view, measured),
    }
}

fn many_functions(view: &View<'_>, measured: &Measured) -> Vec<Row> {
    let many = measured.functions;
    let few = format!("with {FEW}");
    let of = |at: usize, start: Start| -> Option<f64> {
        let function = view
            .report
            .functions
            .iter()
            .find(|f| f.function == measured.called[at])?;
        let starts = &function.more.first()?.run.starts;
        let found = starts.iter().find(|s| s.start == start && s.latency.count >= ENOUGH)?;
        Some(found.latency.p50_ms)
    };
    let kinds = [Start::Ahead, Start::Pooled, Start::Forked, Start::Cold];
    let both = |start: Start| Some((start, of(0, start)?, of(1, start)?));
    let cold = match kinds.into_iter().find_map(both) {
        Some((start, with_few, with_many)) => row(
            12,
            format!("a cold start ({}) with {many} functions", start.name()),
            Ok(with_many),
            "ms",
            (few.clone(), Ok(with_few)),
            Bound::AtMost(THE_SAME),
        ),
        None => {
            let why = "the two servers showed no start type in common often enough";
            Row::skipped(12, "a cold start".into(), Bound::AtMost(THE_SAME), why)
        }
    };
    let list = |at: usize| -> Quantity {
        let times = measured.list[at].as_ref().ok_or("fn list was not timed")?;
        Ok(times.p50_ms)
    };
    vec![
        cold,
        row(
            12,
            format!("fn list with {many} functions"),
            list(1),
            "ms",
            (few, list(0)),
            Bound::AtMost(THE_SAME),
        ),
        row(
            12,
            format!("fn serve with {many} functions, from exec to ready"),
            Ok(measured.start.as_secs_f64() * 1e3),
            "ms",
            ("1 s".into(), Ok(1e3)),
            Bound::AtMost(1.0),
        ),
    ]
}
