//! Both passes: every case with all layers on, then every case with those layers off that hold it.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;

use crate::stage::{Programs, Stage};
use crate::table::{Case, Table};
use crate::verdict::{self, Attempt};

/// How long one pass may take. Far more than it needs, because the machine may be busy with other tests.
const PATIENCE: Duration = Duration::from_secs(180);

/// How a case ended in one of the passes.
#[derive(Debug)]
pub(crate) enum End {
    /// As it should.
    Passed,
    /// Otherwise, and how.
    Failed(Vec<String>),
    /// This host lacks what it needs.
    Skipped(String),
}

/// One line of the result.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    /// The case.
    pub(crate) case: &'a Case,
    /// Empty with every layer on, else the layers that were off.
    pub(crate) without: String,
    /// How it ended.
    pub(crate) end: End,
}

/// Runs every case whose name contains `filter`.
pub(crate) async fn all<'a>(table: &'a Table, programs: &Programs, filter: &str) -> Vec<Row<'a>> {
    let chosen = || {
        table
            .case
            .iter()
            .filter(|case| case.is_tried() && case.name.contains(filter))
    };
    let mut rows = pass(programs, "", &chosen().collect::<Vec<_>>(), verdict::held).await;
    let mut by_layers: BTreeMap<&BTreeSet<String>, Vec<&Case>> = BTreeMap::new();
    for case in chosen().filter(|case| case.is_shown()) {
        by_layers.entry(&case.held_by).or_default().push(case);
    }
    for (layers, cases) in by_layers {
        let layers: Vec<&str> = layers.iter().map(String::as_str).collect();
        rows.extend(pass(programs, &layers.join(","), &cases, verdict::failed).await);
    }
    rows
}

/// Runs cases on one server. A server that does not come up, or a call that never ends, fails all of them and stops no other pass.
async fn pass<'a>(
    programs: &Programs,
    without: &str,
    cases: &[&'a Case],
    judge: fn(&Case, &[Attempt]) -> Vec<String>,
) -> Vec<Row<'a>> {
    if cases.is_empty() {
        return Vec::new();
    }
    eprintln!(
        "{} cases {}",
        cases.len(),
        if without.is_empty() {
            "with every layer".into()
        } else {
            format!("without {without}")
        }
    );
    let tried = tokio::time::timeout(PATIENCE, try_all(programs, without, cases, judge));
    // A panic of the harness has said why.
    let ended = match AssertUnwindSafe(tried).catch_unwind().await {
        Ok(Ok(rows)) => return rows,
        Ok(Err(_)) => format!("not all was tried within {PATIENCE:?}"),
        Err(_) => "the server, a deploy or a reply was not as it must be, see above".into(),
    };
    let failed = |case: &&'a Case| Row {
        case,
        without: without.to_owned(),
        end: End::Failed(vec![ended.clone()]),
    };
    cases.iter().map(failed).collect()
}

async fn try_all<'a>(
    programs: &Programs,
    without: &str,
    cases: &[&'a Case],
    judge: fn(&Case, &[Attempt]) -> Vec<String>,
) -> Vec<Row<'a>> {
    let mut rows = Vec::with_capacity(cases.len());
    let stage = Stage::set(programs, without).await;
    for case in cases {
        let end = match stage.lacks(case).await {
            Some(reason) => End::Skipped(reason),
            None => {
                let wrong = judge(case, &stage.attempts(case).await);
                if wrong.is_empty() {
                    End::Passed
                } else {
                    End::Failed(wrong)
                }
            }
        };
        rows.push(Row {
            case,
            without: without.to_owned(),
            end,
        });
    }
    stage.strike().await;
    rows
}
