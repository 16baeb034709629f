//! The expected table: `cases.toml`, one entry for each case, read and checked.
//!
//! A case is tried by the probe, or proved by tests that exist, or not tried, with the reason. A case that is tried says which layers
//! hold it: with all of those off it must fail, or the table says why that can't be shown.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

/// The table as it is written.
pub(crate) const SOURCE: &str = include_str!("cases.toml");

/// All of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Table {
    /// The groups, in the order in which they are shown.
    pub(crate) group: Vec<Group>,
    /// The cases, in the order in which they are tried.
    pub(crate) case: Vec<Case>,
}

/// Cases that belong together.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Group {
    /// How cases name it.
    pub(crate) name: String,
    /// What its cases attack, as a heading.
    pub(crate) title: String,
}

/// One case.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    /// Its name, which is the probe's when it is tried.
    pub(crate) name: String,
    /// Name of its group.
    pub(crate) group: String,
    /// What is attempted, for the page.
    #[cfg_attr(not(test), expect(dead_code, reason = "only the page of the documentation shows it"))]
    pub(crate) what: String,
    /// The answers that every attempt may get: the name of an error, `held`, `done`, `killed SIGNAL`, or `STATUS CODE` of the reply when
    /// there was none of the probe.
    #[serde(default)]
    pub(crate) expect: Answers,
    /// The same for attempts that are answered otherwise, by their names.
    #[serde(default)]
    pub(crate) answers: BTreeMap<String, Answers>,
    /// The layers that hold it; with all of them off it fails.
    #[serde(default)]
    pub(crate) held_by: BTreeSet<String>,
    /// The attempts that fail then, where not all do: of the others something else holds as well, or this kernel lacks what they reach for.
    #[serde(default)]
    pub(crate) shown_by: Vec<String>,
    /// Why no layer of ours can be switched off to see it fail.
    pub(crate) not_shown: Option<String>,
    /// Why it is not tried in a process that was forked from a template as well.
    pub(crate) not_in_forks: Option<String>,
    /// What another function does before, by its name in the probe.
    pub(crate) after: Option<String>,
    /// What the host must have, by the name in the server's report. Without it the case is skipped.
    #[serde(default)]
    pub(crate) needs: Vec<String>,
    /// The tests that walk it, `path::name`, instead of attempts.
    #[serde(default)]
    pub(crate) proved_by: Vec<String>,
    /// Why it is not tried.
    pub(crate) not_tried: Option<String>,
}

/// One answer or several.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Written")]
pub(crate) struct Answers(pub(crate) Vec<String>);

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    One(String),
    Several(Vec<String>),
}

impl From<Written> for Answers {
    fn from(written: Written) -> Self {
        match written {
            Written::One(answer) => Self(vec![answer]),
            Written::Several(answers) => Self(answers),
        }
    }
}

impl Case {
    /// Whether the probe tries it.
    pub(crate) fn is_tried(&self) -> bool {
        self.proved_by.is_empty() && self.not_tried.is_none()
    }

    /// Whether it is shown to fail with layers off.
    pub(crate) fn is_shown(&self) -> bool {
        self.is_tried() && self.not_shown.is_none()
    }

    /// What an attempt may be answered.
    pub(crate) fn expected(&self, attempt: &str) -> &Answers {
        self.answers.get(attempt).unwrap_or(&self.expect)
    }
}

impl Table {
    /// Reads the table of this build.
    ///
    /// # Panics
    /// When it contradicts itself, which a test of this program finds first.
    pub(crate) fn read() -> Self {
        let table: Self = toml::from_str(SOURCE).unwrap_or_else(|error| panic!("cases.toml: {error}"));
        let wrong = table.contradictions();
        assert!(wrong.is_empty(), "cases.toml:\n  {}", wrong.join("\n  "));
        table
    }

    fn contradictions(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut names = BTreeSet::new();
        for case in &self.case {
            let mut say = |what: &str| wrong.push(format!("{}: {what}", case.name));
            if !names.insert(&case.name) {
                say("there are two");
            }
            if self.group.iter().all(|group| group.name != case.group) {
                say("its group is none");
            }
            if !case.proved_by.is_empty() && case.not_tried.is_some() {
                say("it is proved and not tried");
            }
            if case.is_tried() {
                if case.expect.0.is_empty() && case.answers.is_empty() {
                    say("nothing is expected");
                }
                if case.held_by.is_empty() == case.not_shown.is_none() {
                    say("say either which layers hold it, or why it can't be shown to fail");
                }
            } else if !case.held_by.is_empty() || !case.expect.0.is_empty() {
                say("what is not tried expects nothing");
            }
        }
        wrong
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_table_contradicts_nothing() {
        let table = Table::read();
        assert!(table.case.iter().filter(|case| case.is_shown()).count() > 30);
    }

    #[test]
    fn a_contradiction_is_named() {
        let text =
            "[[group]]\nname = 'g'\ntitle = 'G'\n[[case]]\nname = 'a'\ngroup = 'h'\nwhat = 'w'\nexpect = 'EPERM'\n";
        let table: Table = toml::from_str(text).unwrap();
        let wrong = table.contradictions().join("\n");
        assert!(
            wrong.contains("a: its group is none") && wrong.contains("a: say either"),
            "{wrong}"
        );
    }

    /// A test that is named must be there, and must not be switched off.
    #[test]
    fn every_test_that_proves_a_case_exists() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for case in Table::read().case {
            for proof in &case.proved_by {
                let (path, name) = proof
                    .split_once("::")
                    .unwrap_or_else(|| panic!("{proof}: no path::name"));
                let text = std::fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{proof}: {error}"));
                let at = text
                    .find(&format!("fn {name}("))
                    .unwrap_or_else(|| panic!("{proof}: there is no such test"));
                let before = &text[text[..at].trim_end().rfind("\n\n").unwrap_or(0)..at];
                assert!(
                    (before.contains("test]") || before.contains("test(")) && !before.contains("ignore"),
                    "{proof}: it is no test that runs"
                );
            }
        }
    }
}
