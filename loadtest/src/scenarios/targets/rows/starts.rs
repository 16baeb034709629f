//! Rows 1, 2, 3 and 10: cold starts against the kernel's floors, the interpreters and the container runtimes.

use super::{Quantity, View, median, row, sum};
use crate::report::{Bound, Row};
use crate::scenarios::targets::rounds::way;
use crate::scenarios::targets::stage::Role;
use crate::series::Summary;
use crate::start::Start;

const NATIVE: [(Role, &str); 2] = [(Role::Native, way::USED), (Role::Native, way::ALL)];
/// A function with instances that wait ahead; by itself a native one may have none.
const NATIVE_AHEAD: [(Role, &str); 2] = [(Role::NativeAhead, way::USED), (Role::Native, way::USED)];
const NATIVE_SERVER: [(Role, &str); 1] = [(Role::NativeServer, way::USED)];
const NODE: [(Role, &str); 1] = [(Role::Node, way::USED)];
const PYTHON: [(Role, &str); 2] = [(Role::Python, way::USED), (Role::Python, way::ALL)];
/// A function with nothing forked ahead shows most starts on demand.
const PYTHON_FORKED: [(Role, &str); 3] = [(Role::PythonOnDemand, way::USED), PYTHON[0], PYTHON[1]];

pub(super) fn rows(view: &View<'_>) -> Vec<Row> {
    let mut rows = native(view);
    rows.extend(python(view));
    rows.push(node(view));
    rows.extend(peers(view));
    rows
}

fn native(view: &View<'_>) -> Vec<Row> {
    let http = || view.floor("F_http");
    let prepared = |what: &str, ways: &[(Role, &str)], start: Start| {
        row(
            1,
            format!("{what}, prepared ({})", start.name()),
            median(view.first(ways, start)),
            "ms",
            ("F_exec + F_http".into(), sum([view.floor("F_exec"), http()])),
            Bound::AtMost(1.5),
        )
    };
    let mut rows = vec![
        prepared("native", &NATIVE, Start::Pooled),
        prepared("native", &NATIVE_AHEAD, Start::Ahead),
        prepared("native HTTP server", &NATIVE_SERVER, Start::Pooled),
    ];
    rows.push(row(
        1,
        "native, from nothing (cold)",
        median(view.first(&[NATIVE[1], NATIVE[0]], Start::Cold)),
        "ms",
        ("F_box + F_http".into(), sum([view.floor("F_box"), http()])),
        Bound::AtMost(1.8),
    ));
    rows
}

fn python(view: &View<'_>) -> Vec<Row> {
    let ahead = || median(view.first(&PYTHON, Start::Ahead));
    let forked = || median(view.first(&PYTHON_FORKED, Start::Forked));
    let on_demand = || -> Quantity { Ok(1.3 * view.floor("F_fork_call")? + view.floor("F_http")?) };
    let name = |floor: &str| (floor.to_owned(), view.floor(floor));
    let over_import = |what: &str, value: Quantity, least: f64| {
        row(
            2,
            format!("the imports alone, over Python {what}"),
            view.floor("F_import"),
            "ms",
            (format!("Python {what}"), value),
            Bound::AtLeast(least),
        )
    };
    vec![
        row(
            2,
            "Python, forked ahead (ahead)",
            ahead(),
            "ms",
            name("F_fork_import"),
            Bound::AtMost(1.0),
        ),
        row(
            2,
            "Python, forked ahead (ahead)",
            ahead(),
            "ms",
            name("F_py"),
            Bound::AtMost(0.05),
        ),
        row(
            2,
            "Python, on demand (forked)",
            forked(),
            "ms",
            ("1.3 x F_fork_call + F_http".into(), on_demand()),
            Bound::AtMost(1.0),
        ),
        row(
            2,
            "Python, on demand (forked)",
            forked(),
            "ms",
            name("F_py"),
            Bound::AtMost(0.2),
        ),
        over_import("forked ahead", ahead(), 100.0),
        over_import("on demand", forked(), 30.0),
    ]
}

fn node(view: &View<'_>) -> Row {
    row(
        3,
        "Node, from the parked pool (ahead)",
        median(view.first(&NODE, Start::Ahead)),
        "ms",
        ("F_node".into(), view.floor("F_node")),
        Bound::AtMost(0.25),
    )
}

/// What the server has when nothing of the function waits ahead: the fastest kind that it shows.
fn on_demand<'a>(view: &'a View<'_>) -> (Start, Result<&'a Summary, String>) {
    let kinds = [Start::Pooled, Start::Forked, Start::Cold];
    for start in kinds {
        let times = view.first(&NATIVE, start);
        if times.is_ok() {
            return (start, times);
        }
    }
    (Start::Cold, view.first(&NATIVE, Start::Cold))
}

fn peers(view: &View<'_>) -> Vec<Row> {
    let (start, times) = on_demand(view);
    let times = times.map(|times| times.p50_ms);
    let over = |peer: &str, what: &str, base: Quantity, least: f64| {
        row(
            10,
            format!("{peer}, over native {what}"),
            view.peer(peer).map(|peer| peer.times.p50_ms),
            "ms",
            (format!("native {what}"), base),
            Bound::AtLeast(least),
        )
    };
    let demand = format!("on demand ({})", start.name());
    vec![
        over("bwrap", &demand, times.clone(), 4.0),
        over("bwrap", "ahead", median(view.first(&NATIVE_AHEAD, Start::Ahead)), 15.0),
        over("runc", &demand, times.clone(), 30.0),
        over("podman", &demand, times, 100.0),
    ]
}
