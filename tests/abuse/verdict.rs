//! What is made of the answers: whether a case held, and whether it was shown to fail.

use serde::Deserialize;

use crate::table::Case;

/// The line of one attempt, as the probe prints it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Attempt {
    /// The attempt.
    pub(crate) attempt: String,
    outcome: String,
    errno: Option<String>,
    detail: String,
}

impl Attempt {
    /// What stands for attempts that nobody reported, because the reply was the platform's own: its status and its code.
    pub(crate) fn without_report(reply: String) -> Self {
        Self {
            attempt: "reply".into(),
            outcome: reply,
            errno: None,
            detail: String::new(),
        }
    }

    /// How the table spells it.
    fn answer(&self) -> String {
        match (self.outcome.as_str(), &self.errno) {
            ("refused", Some(errno)) => errno.clone(),
            ("killed", _) => format!("killed {}", self.detail),
            (outcome, _) => outcome.to_owned(),
        }
    }

    fn is_as_expected(&self, case: &Case) -> bool {
        case.expected(&self.attempt).0.contains(&self.answer())
    }

    fn described(&self, case: &Case) -> String {
        let detail = match self.outcome.as_str() {
            "done" | "held" if !self.detail.is_empty() => format!(" ({})", self.detail),
            _ => String::new(),
        };
        format!(
            "{}: {}{detail}, in the table {}",
            self.attempt,
            self.answer(),
            case.expected(&self.attempt).0.join(" or ")
        )
    }
}

/// With every layer on: each attempt must be answered as the table says. What was not is named.
pub(crate) fn held(case: &Case, attempts: &[Attempt]) -> Vec<String> {
    if attempts.is_empty() {
        return vec!["there was no attempt".into()];
    }
    let wrong = attempts.iter().filter(|attempt| !attempt.is_as_expected(case));
    wrong.map(|attempt| attempt.described(case)).collect()
}

/// With the layers off that hold it: none of the attempts that show it may be answered so. What still was is named.
pub(crate) fn failed(case: &Case, attempts: &[Attempt]) -> Vec<String> {
    let shows = |attempt: &&Attempt| case.shown_by.is_empty() || case.shown_by.contains(&attempt.attempt);
    let shown: Vec<&Attempt> = attempts.iter().filter(shows).collect();
    if shown.is_empty() || (shown.len() < case.shown_by.len()) {
        return vec!["an attempt that should show it was not made".into()];
    }
    let still = shown.into_iter().filter(|attempt| attempt.is_as_expected(case));
    still.map(|attempt| attempt.described(case)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(more: &str) -> Case {
        let text =
            format!("name = 'a'\ngroup = 'g'\nwhat = 'w'\nexpect = ['EPERM', 'held']\nheld_by = ['seccomp']\n{more}");
        toml::from_str(&text).unwrap()
    }

    fn attempt(name: &str, outcome: &str, errno: Option<&str>) -> Attempt {
        Attempt {
            attempt: name.into(),
            outcome: outcome.into(),
            errno: errno.map(str::to_owned),
            detail: "SIGSYS".into(),
        }
    }

    #[test]
    fn a_case_holds_when_every_attempt_is_answered_as_expected() {
        let case = case("answers = { b = 'killed SIGSYS', reply = '502 out_of_memory' }");
        let good = [
            attempt("x", "refused", Some("EPERM")),
            attempt("y", "held", None),
            attempt("b", "killed", None),
            Attempt::without_report("502 out_of_memory".into()),
        ];
        assert!(held(&case, &good).is_empty());
        assert_eq!(held(&case, &[]), ["there was no attempt"]);
        let bad = [attempt("x", "done", None), attempt("b", "refused", Some("EPERM"))];
        let wrong = held(&case, &bad);
        assert_eq!(
            wrong,
            [
                "x: done (SIGSYS), in the table EPERM or held",
                "b: EPERM, in the table killed SIGSYS"
            ]
        );
    }

    #[test]
    fn a_case_is_shown_when_no_attempt_that_shows_it_is_answered_so() {
        let all = case("");
        let done = attempt("x", "done", None);
        let refused = attempt("y", "refused", Some("EPERM"));
        assert!(failed(&all, std::slice::from_ref(&done)).is_empty());
        assert_eq!(failed(&all, &[done.clone(), refused.clone()]).len(), 1);
        let one = case("shown_by = ['x']");
        assert!(failed(&one, &[done, refused.clone()]).is_empty());
        assert_eq!(failed(&one, &[refused]).len(), 1);
    }
}
