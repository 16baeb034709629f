//! Calls that one plan takes away from what the policy allows. A denial never allows anything.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::groups::{self, GROUPS, NEEDED};
use super::policy::{Answer, Call};

/// How a group is named, before its name.
const GROUP: &str = "group:";

/// A call by its name, such as `socket`, or a group of calls, such as `group:process`. Denied calls answer `EPERM`; some of a
/// group only become narrower, see [`groups::Group::narrowed`]. What the policy refuses stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Denial(String);

/// A name that can't be denied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DenialError {
    /// No call of the policy and no group has this name.
    #[error("no system call and no group of the policy is called {name:?}{}", suggested(nearest.as_deref()))]
    Unknown {
        /// What was given.
        name: String,
        /// What looks most like it.
        nearest: Option<String>,
    },
    /// Without it the sandbox could not start a program.
    #[error("{name:?} can't be denied: no program starts without {call}")]
    Needed {
        /// What was given.
        name: String,
        /// The call that is needed: the one given, or one of the group.
        call: &'static str,
    },
}

fn suggested(nearest: Option<&str>) -> String {
    nearest
        .map(|name| format!(", did you mean {name:?}?"))
        .unwrap_or_default()
}

impl Denial {
    /// What was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What becomes of a call that is allowed in some way; `None`: nothing.
    fn answer(&self, call: &str) -> Option<Answer> {
        let refused = Answer::Refuse(libc::EPERM);
        let Some(name) = self.0.strip_prefix(GROUP) else {
            return (self.0 == call).then_some(refused);
        };
        let group = groups::find(name)?;
        let narrowed = group.narrowed.iter().find(|(name, _)| *name == call);
        match narrowed {
            Some((_, answer)) => Some(*answer),
            None => group.calls.contains(&call).then_some(refused),
        }
    }
}

impl FromStr for Denial {
    type Err = DenialError;

    fn from_str(name: &str) -> Result<Self, DenialError> {
        let calls = match name.strip_prefix(GROUP) {
            Some(group) => groups::find(group).map(|group| group.calls),
            None => {
                let mut all = GROUPS.iter().flat_map(|group| group.calls);
                all.find(|call| **call == name).map(std::slice::from_ref)
            }
        };
        let Some(calls) = calls else {
            let (name, nearest) = (name.to_owned(), nearest(name));
            return Err(DenialError::Unknown { name, nearest });
        };
        match calls.iter().find(|call| NEEDED.contains(call)) {
            Some(call) => Err(DenialError::Needed {
                name: name.to_owned(),
                call,
            }),
            None => Ok(Self(name.to_owned())),
        }
    }
}

impl TryFrom<String> for Denial {
    type Error = DenialError;
    fn try_from(name: String) -> Result<Self, DenialError> {
        name.parse()
    }
}

impl From<Denial> for String {
    fn from(denial: Denial) -> Self {
        denial.0
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn nearest(typed: &str) -> Option<String> {
    let calls = GROUPS
        .iter()
        .flat_map(|group| group.calls)
        .map(|call| (*call).to_owned());
    let groups = GROUPS.iter().map(|group| format!("{GROUP}{}", group.name));
    // A group without its prefix is likelier than any slip of the finger.
    groups
        .clone()
        .find(|group| group.strip_prefix(GROUP) == Some(typed))
        .or_else(|| {
            calls
                .chain(groups)
                .map(|name| (strsim::jaro_winkler(typed, &name), name))
                .filter(|(likeness, _)| *likeness >= 0.82)
                .max_by(|(a, _), (b, _)| a.total_cmp(b))
                .map(|(_, name)| name)
        })
}

/// Takes `denied` away from the rows of a policy. Rows in `kept` stay as they are: what a template needs to fork, which its forks
/// give up.
pub(super) fn take_away(rows: &mut [(Call, Answer)], denied: &[Denial], kept: impl Fn(&Call) -> bool) {
    for (call, answer) in rows {
        if kept(call) || matches!(answer, Answer::Refuse(_)) {
            continue;
        }
        // Of two that touch the same call the one that leaves nothing counts.
        let answers: Vec<Answer> = denied.iter().filter_map(|denial| denial.answer(call.0)).collect();
        let refused = answers.iter().find(|answer| matches!(answer, Answer::Refuse(_)));
        if let Some(left) = refused.or(answers.last()) {
            *answer = *left;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::policy::{Condition, Subject, denying, rows};
    use super::*;
    use crate::sighting::Watch;

    const EVERYTHING: Watch = Watch {
        exec: true,
        connect: true,
        refused: true,
    };

    fn denials(names: &[&str]) -> Vec<Denial> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn answer(rows: &[(Call, Answer)], name: &str) -> Answer {
        rows.iter().find(|((own, _), _)| *own == name).unwrap().1
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest() {
        let refused = |name: &str| name.parse::<Denial>().unwrap_err().to_string();
        assert!(
            refused("sokcet").ends_with("did you mean \"socket\"?"),
            "{}",
            refused("sokcet")
        );
        assert!(refused("process").ends_with("did you mean \"group:process\"?"));
        assert!(refused("group:proces").ends_with("did you mean \"group:process\"?"));
        assert_eq!(
            refused("\0"),
            "no system call and no group of the policy is called \"\\0\""
        );
        assert!(refused("").ends_with("called \"\""));
    }

    #[test]
    fn what_every_start_needs_can_not_be_denied() {
        let refused = |name: &str| name.parse::<Denial>().unwrap_err().to_string();
        assert_eq!(
            refused("execve"),
            "\"execve\" can't be denied: no program starts without execve"
        );
        assert!(refused("group:socket").contains("without sendmsg"));
        for name in NEEDED {
            assert!(name.parse::<Denial>().is_err(), "{name}");
        }
    }

    #[test]
    fn calls_and_groups_are_taken_away_and_nothing_is_given() {
        let denied = denials(&["group:process", "group:inet", "listen", "mount"]);
        let watched = [Watch::default(), EVERYTHING].map(|watch| [Subject::Worker(watch), Subject::Template(watch)]);
        for subject in watched.into_iter().flatten().chain([Subject::Foreign]) {
            let rows = denying(subject, &denied);
            assert_eq!(answer(&rows, "fork"), Answer::Refuse(libc::EPERM));
            assert_eq!(answer(&rows, "listen"), Answer::Refuse(libc::EPERM));
            assert_eq!(answer(&rows, "mount"), Answer::Refuse(libc::EPERM));
            assert_eq!(answer(&rows, "clone"), Answer::When(Condition::CloneThread));
            assert_eq!(answer(&rows, "socket"), Answer::When(Condition::UnixSocket));
            assert_eq!(answer(&rows, "read"), Answer::Allow);
        }
    }

    #[test]
    fn what_leaves_nothing_counts_in_any_order() {
        for names in [["group:process", "clone"], ["clone", "group:process"]] {
            let rows = denying(Subject::Foreign, &denials(&names));
            assert_eq!(answer(&rows, "clone"), Answer::Refuse(libc::EPERM));
        }
    }

    #[test]
    fn a_template_keeps_what_it_forks_with() {
        let rows = denying(
            Subject::Template(EVERYTHING),
            &denials(&["group:kernel", "group:namespaces", "group:process"]),
        );
        for name in ["clone3", "seccomp"] {
            assert_eq!(answer(&rows, name), Answer::Allow, "{name}");
        }
        assert_eq!(answer(&rows, "setns"), Answer::When(Condition::EnterBuiltNamespaces));
    }

    #[test]
    fn no_denial_is_the_policy_itself() {
        let subject = Subject::Worker(EVERYTHING);
        assert_eq!(denying(subject, &[]), rows(subject));
    }
}
