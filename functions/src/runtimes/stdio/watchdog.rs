//! What a function's environment says about its replies, in the words of OpenFaaS' classic watchdog.
//!
//! Only what changes what passes between program and caller is read. What the watchdog does as a server of its own, such as its timeouts and its limit
//! of calls at a time, are settings here.

/// The variables that are read. Like the watchdog, anything but `true` is false.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Watchdog {
    /// `content_type`: the type of every reply.
    pub(super) content_type: Option<String>,
    /// `combine_output`: standard error is part of the reply, and not of the log.
    pub(super) combines_output: bool,
    /// `cgi_headers`, if it is there and not `true`: the environment has nothing of the request.
    pub(super) hides_request: bool,
}

impl Watchdog {
    /// As the environment has it.
    pub(super) fn of(env: &[(String, String)]) -> Self {
        let value = |name: &str| {
            let mut found = env.iter().filter(|(key, value)| key == name && !value.is_empty());
            found.next().map(|(_, value)| value.as_str())
        };
        Self {
            content_type: value("content_type").map(str::to_owned),
            combines_output: value("combine_output") == Some("true"),
            hides_request: value("cgi_headers").is_some_and(|value| value != "true"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Watchdog {
        let env: Vec<_> = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Watchdog::of(&env)
    }

    #[test]
    fn variables_are_read_and_their_absence_changes_nothing() {
        assert_eq!(
            of(&[("PATH", "/bin"), ("content_type", ""), ("cgi_headers", "")]),
            Watchdog::default()
        );
        assert_eq!(
            of(&[("combine_output", "1"), ("cgi_headers", "true")]),
            Watchdog::default()
        );
        let all = of(&[
            ("content_type", "text/plain"),
            ("combine_output", "true"),
            ("cgi_headers", "false"),
        ]);
        assert_eq!(all.content_type.as_deref(), Some("text/plain"));
        assert!(all.combines_output && all.hides_request);
    }
}
