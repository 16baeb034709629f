//! Rows 4, 5, 6 and 11: warm calls, throughput, and what a fresh process for each call adds.

use super::{Quantity, View, median, row, sum};
use crate::report::{Bound, PeerReport, Row};
use crate::scenarios::targets::rounds::way;
use crate::scenarios::targets::stage::Role;
use crate::start::Start;
use crate::stolen;

/// What serves the same Python handler without a box.
const GUNICORNS: [&str; 2] = ["gunicorn", "gunicorn-gthread"];

pub(super) fn rows(view: &View<'_>) -> Vec<Row> {
    let wasm = Row::skipped(4, "wasm cold start".into(), Bound::AtMost(1.0), "wasm is not built in");
    let mut rows = vec![wasm];
    rows.extend(warm(view));
    rows.extend(throughput(view));
    rows.push(fresh(view));
    rows
}

fn warm(view: &View<'_>) -> Vec<Row> {
    let rtt = || view.floor_at_once("F_rtt");
    let tail = |way: &str, most: f64| {
        let times = view.times(Role::WarmPython, way, Start::Warm);
        let p50 = median(times.clone());
        let tail = row(
            5,
            format!("Python, p99 {way}"),
            times.map(|times| times.p99_ms),
            "ms",
            (format!("p50 {way}"), p50),
            Bound::AtMost(most),
        );
        let stolen = view.run(Role::WarmPython, way).ok().and_then(|run| run.stolen);
        match stolen::in_words(stolen) {
            Some(words) => tail.noted(words),
            None => tail,
        }
    };
    vec![
        row(
            5,
            "native HTTP server, warm, one connection",
            median(view.times(Role::NativeServer, way::ALONE, Start::Warm)),
            "ms",
            (
                "F_http + F_rtt, back to back".into(),
                sum([view.floor_at_once("F_http"), rtt()]),
            ),
            Bound::AtMost(1.0),
        ),
        row(
            5,
            "Python, warm, one connection",
            median(view.times(Role::WarmPython, way::ALONE, Start::Warm)),
            "ms",
            (
                "F_http + 2 x F_rtt, back to back".into(),
                sum([view.floor_at_once("F_http"), rtt(), rtt()]),
            ),
            Bound::AtMost(1.0),
        ),
        tail(way::HALF, 3.0),
        tail(way::SEVENTY, 5.0),
    ]
}

/// The better of the measured ones, by name.
fn best<'a>(
    view: &'a View<'_>,
    of: impl Fn(&PeerReport) -> Option<f64>,
    better: fn(f64, f64) -> bool,
) -> (&'a str, Quantity) {
    let mut best: Option<(&str, f64)> = None;
    for name in GUNICORNS {
        if let Some(value) = view.peer(name).ok().and_then(&of)
            && best.is_none_or(|(_, so_far)| better(value, so_far))
        {
            best = Some((name, value));
        }
    }
    match best {
        Some((name, value)) => (name, Ok(value)),
        None => {
            let why = view.peer(GUNICORNS[0]).err();
            (
                GUNICORNS[0],
                Err(why.unwrap_or_else(|| "gunicorn did not serve".into())),
            )
        }
    }
}

fn throughput(view: &View<'_>) -> Vec<Row> {
    let rate = |role: Role| -> Quantity {
        let run = view.run(role, way::FULL)?;
        run.per_s.ok_or_else(|| format!("{} did not serve", role.name()))
    };
    let per_s = |peer: &PeerReport| peer.served.as_ref().map(|served| served.per_s);
    let (fastest, most) = best(view, per_s, |one, other| one > other);
    let (quickest, least) = best(view, |peer| Some(peer.times.p50_ms), |one, other| one < other);
    let node = view
        .peer("node:http")
        .and_then(|peer| per_s(peer).ok_or_else(|| "node:http did not serve".to_owned()));
    vec![
        row(
            6,
            format!("Python, replies per second, {} at a time", view.facts.workers),
            rate(Role::WarmPython),
            "/s",
            (format!("{fastest} + Flask"), most),
            Bound::AtLeast(2.0),
        ),
        row(
            6,
            "Python, warm, one connection",
            median(view.times(Role::WarmPython, way::ALONE, Start::Warm)),
            "ms",
            (format!("{quickest} + Flask"), least),
            Bound::AtMost(1.0),
        ),
        row(
            6,
            "Node, replies per second, one process",
            rate(Role::WarmNode),
            "/s",
            ("node:http".into(), node),
            Bound::AtLeast(0.5),
        ),
    ]
}

fn fresh(view: &View<'_>) -> Row {
    let added = || -> Quantity {
        let fresh = view.times(Role::Request, way::PACED, Start::Ahead)?.p50_ms;
        Ok(fresh - view.times(Role::WarmPython, way::PACED, Start::Warm)?.p50_ms)
    };
    row(
        11,
        "what reuse = \"request\" adds to a warm call",
        added(),
        "ms",
        ("F_rtt, back to back".into(), view.floor_at_once("F_rtt")),
        Bound::AtMost(4.0),
    )
}
