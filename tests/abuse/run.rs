//! The passes: every case with all layers on, in a slot and in a fork, then every case with those layers off that hold it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;

use crate::stage::{Programs, Stage};
use crate::table::{Case, Table};
use crate::verdict;

/// How long one pass may take. Far more than it needs, because the machine may be busy with other tests.
const PATIENCE: Duration = Duration::from_secs(180);

/// Where the cases of one pass are tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Setting {
    /// In a slot, with every layer.
    Slot,
    /// In a process that was forked from a template, with every layer.
    Fork,
    /// In a slot without these layers, with commas between them.
    Without(String),
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slot => f.write_str("held"),
            Self::Fork => f.write_str("held_in_a_fork"),
            Self::Without(layers) => write!(f, "fails_without({layers})"),
        }
    }
}

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
    /// Where it was tried.
    pub(crate) setting: Setting,
    /// How it ended.
    pub(crate) end: End,
}

/// Runs every case whose name contains `filter`.
pub(crate) async fn all<'a>(table: &'a Table, programs: &Programs, filter: &str) -> Vec<Row<'a>> {
    let chosen = |case: &&Case| case.is_tried() && case.name.contains(filter);
    let tried: Vec<&Case> = table.case.iter().filter(chosen).collect();
    let in_forks: Vec<&Case> = tried
        .iter()
        .copied()
        .filter(|case| case.not_in_forks.is_none())
        .collect();
    let mut rows = pass(programs, Setting::Slot, &tried).await;
    rows.extend(pass(programs, Setting::Fork, &in_forks).await);
    let mut by_layers: BTreeMap<&BTreeSet<String>, Vec<&Case>> = BTreeMap::new();
    for case in tried.into_iter().filter(|case| case.is_shown()) {
        by_layers.entry(&case.held_by).or_default().push(case);
    }
    for (layers, cases) in by_layers {
        let layers: Vec<&str> = layers.iter().map(String::as_str).collect();
        rows.extend(pass(programs, Setting::Without(layers.join(",")), &cases).await);
    }
    rows
}

/// Runs cases on one server. A server that does not come up, or a call that never ends, fails all of them and stops no other pass.
async fn pass<'a>(programs: &Programs, setting: Setting, cases: &[&'a Case]) -> Vec<Row<'a>> {
    if cases.is_empty() {
        return Vec::new();
    }
    eprintln!("{setting}: {} cases", cases.len());
    let tried = tokio::time::timeout(PATIENCE, try_all(programs, &setting, cases));
    // A panic of the harness has said why.
    let ended = match AssertUnwindSafe(tried).catch_unwind().await {
        Ok(Ok(rows)) => return rows,
        Ok(Err(_)) => format!("not all was tried within {PATIENCE:?}"),
        Err(_) => "the server, a deploy or a reply was not as it must be, see above".into(),
    };
    let failed = |case: &&'a Case| Row {
        case,
        setting: setting.clone(),
        end: End::Failed(vec![ended.clone()]),
    };
    cases.iter().map(failed).collect()
}

async fn try_all<'a>(programs: &Programs, setting: &Setting, cases: &[&'a Case]) -> Vec<Row<'a>> {
    let judge = match setting {
        Setting::Slot | Setting::Fork => verdict::held,
        Setting::Without(_) => verdict::failed,
    };
    let mut rows = Vec::with_capacity(cases.len());
    let stage = Stage::set(programs, setting).await;
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
            setting: setting.clone(),
            end,
        });
    }
    stage.strike().await;
    rows
}
