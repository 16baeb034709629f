//! Medians of a function over floors of the same run: the only numbers that mean something on another machine.
//!
//! A sum such as F_exec + F_http is the sum of the two medians. A ratio whose floor was not measured has no value.

use serde::{Deserialize, Serialize};

use crate::report::{FloorReport, FunctionReport, RunReport};
use crate::start::Family;

/// One quotient.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ratio {
    /// Whose median, such as `cold calls: forked`.
    pub(crate) of: String,
    /// The floors, such as `F_exec + F_http`.
    pub(crate) over: String,
    /// The quotient; null when a floor is missing.
    pub(crate) value: Option<f64>,
    /// The floors that are missing.
    pub(crate) missing: Vec<String>,
}

/// A cold call is a start and an exchange over HTTP; an interpreter's bare start is shown beside it.
const COLD: [&[&str]; 6] = [
    &["F_exec", "F_http"],
    &["F_box", "F_http"],
    &["F_fork", "F_http"],
    &["F_fork"],
    &["F_py"],
    &["F_node"],
];

/// A warm call is an exchange over HTTP and one over the instance's socket. The open floor has the same schedule.
const WARM: [&[&str]; 3] = [
    &["F_http_open"],
    &["F_http_open", "F_rtt"],
    &["F_http_open", "F_rtt", "F_rtt"],
];

/// All ratios of one function.
pub(crate) fn of(function: &FunctionReport, floors: &[FloorReport]) -> Vec<Ratio> {
    let mut ratios = Vec::new();
    let mut add = |scenario: &str, run: &Option<RunReport>, family: Family, overs: &[&[&str]]| {
        let starts = run
            .iter()
            .flat_map(|run| &run.starts)
            .filter(|start| start.start.family() == family);
        for start in starts {
            for over in overs {
                let of = format!("{scenario} calls: {}", start.start.name());
                ratios.push(ratio(of, start.latency.p50_ms, over, floors));
            }
        }
    };
    add("cold", &function.cold, Family::Cold, &COLD);
    add("warm", &function.warm, Family::Warm, &WARM);
    ratios
}

fn ratio(of: String, median: f64, over: &[&str], floors: &[FloorReport]) -> Ratio {
    let find = |name: &str| {
        floors
            .iter()
            .find(|floor| floor.name == name)
            .map(|floor| floor.times.p50_ms)
    };
    let mut missing: Vec<String> = Vec::new();
    for name in over.iter().filter(|name| find(name).is_none()) {
        if !missing.iter().any(|known| known == name) {
            missing.push((*name).to_owned());
        }
    }
    let sum: f64 = over.iter().filter_map(|name| find(name)).sum();
    let value = (missing.is_empty() && sum > 0.0).then_some(median / sum);
    Ratio {
        of,
        over: over.join(" + "),
        value,
        missing,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn quotients_of_medians() {
        let report = crate::report::sample::report();
        let find = |of: &str, over: &str| {
            report.functions[0]
                .ratios
                .iter()
                .find(|ratio| ratio.of == of && ratio.over == over)
                .unwrap()
        };
        let python = find("cold calls: cold", "F_py").value.unwrap();
        assert!((1.9..2.1).contains(&python), "{python}");
        let http = find("warm calls: warm", "F_http_open").value.unwrap();
        assert!((1.5..1.8).contains(&http), "{http}");
    }

    #[test]
    fn a_missing_floor_gives_no_number() {
        let report = crate::report::sample::report();
        let native = report.functions[0]
            .ratios
            .iter()
            .find(|ratio| ratio.over == "F_exec + F_http")
            .unwrap();
        assert_eq!(native.value, None);
        assert_eq!(native.missing, ["F_exec"]);
    }
}
