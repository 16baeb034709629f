//! One row of the table of targets.

use serde::{Deserialize, Serialize};

/// A target, what was measured, and what follows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// The number in the table of targets.
    pub(crate) row: u32,
    /// What was measured.
    pub(crate) what: String,
    /// The value; null when it could not be measured.
    pub(crate) value: Option<f64>,
    /// The unit of the value and the base; empty for plain counts.
    pub(crate) unit: String,
    /// What it is compared with, by name.
    pub(crate) over: String,
    /// That, in the same unit.
    pub(crate) base: Option<f64>,
    /// Value over base.
    pub(crate) ratio: Option<f64>,
    /// What the ratio has to keep.
    pub(crate) target: Bound,
    /// What follows.
    pub(crate) outcome: RowOutcome,
    /// Why it was skipped, or what a reader has to know.
    pub(crate) note: Option<String>,
}

/// What a ratio has to keep.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bound {
    /// At most this.
    AtMost(f64),
    /// At least this.
    AtLeast(f64),
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RowOutcome {
    /// It holds.
    Pass,
    /// It doesn't: the run fails.
    Fail,
    /// This run could not show it; the note says why.
    Skip,
}

impl Bound {
    /// Whether a ratio keeps it.
    pub(crate) fn holds(self, ratio: f64) -> bool {
        match self {
            Self::AtMost(most) => ratio <= most,
            Self::AtLeast(least) => ratio >= least,
        }
    }

    /// As the table shows it.
    pub(crate) fn words(self) -> String {
        match self {
            Self::AtMost(most) => format!("<= {most}"),
            Self::AtLeast(least) => format!(">= {least}"),
        }
    }
}

impl RowOutcome {
    /// The word of the table.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "FAIL",
            Self::Skip => "skip",
        }
    }
}

impl Row {
    /// A row with both numbers. A base of 0 gives no ratio, and the row is skipped.
    pub(crate) fn judged(
        row: u32,
        what: String,
        (value, unit): (f64, &str),
        (over, base): (String, f64),
        target: Bound,
    ) -> Self {
        let ratio = Some(value / base).filter(|ratio| ratio.is_finite());
        let outcome = match ratio {
            Some(ratio) if target.holds(ratio) => RowOutcome::Pass,
            Some(_) => RowOutcome::Fail,
            None => RowOutcome::Skip,
        };
        Self {
            row,
            what,
            value: Some(value),
            unit: unit.to_owned(),
            over,
            base: Some(base),
            ratio,
            target,
            outcome,
            note: ratio.is_none().then(|| "the base is 0".to_owned()),
        }
    }

    /// A row that this run can't show.
    pub(crate) fn skipped(row: u32, what: String, target: Bound, why: impl Into<String>) -> Self {
        Self {
            row,
            what,
            value: None,
            unit: String::new(),
            over: String::new(),
            base: None,
            ratio: None,
            target,
            outcome: RowOutcome::Skip,
            note: Some(why.into()),
        }
    }

    /// With a remark, after the one that it has.
    pub(crate) fn noted(mut self, note: impl Into<String>) -> Self {
        let note = note.into();
        self.note = Some(match self.note.take() {
            Some(first) => format!("{first}; {note}"),
            None => note,
        });
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(value: f64, base: f64, target: Bound) -> RowOutcome {
        Row::judged(1, String::new(), (value, "ms"), (String::new(), base), target).outcome
    }

    #[test]
    fn a_ratio_is_held_against_its_limit() {
        assert_eq!(outcome(3.0, 2.0, Bound::AtMost(1.5)), RowOutcome::Pass);
        assert_eq!(outcome(3.1, 2.0, Bound::AtMost(1.5)), RowOutcome::Fail);
        assert_eq!(outcome(30.0, 1.0, Bound::AtLeast(30.0)), RowOutcome::Pass);
        assert_eq!(outcome(29.0, 1.0, Bound::AtLeast(30.0)), RowOutcome::Fail);
        assert_eq!(outcome(1.0, 0.0, Bound::AtMost(1.0)), RowOutcome::Skip);
        assert_eq!(outcome(0.0, 0.0, Bound::AtMost(1.0)), RowOutcome::Skip);
    }

    #[test]
    fn remarks_add_up() {
        let row = Row::skipped(4, "wasm".into(), Bound::AtMost(1.0), "not built in").noted("later");
        assert_eq!(row.note.as_deref(), Some("not built in; later"));
        assert_eq!((row.ratio, row.outcome), (None, RowOutcome::Skip));
    }
}
