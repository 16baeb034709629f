//! Which tests were skipped, and which may be: the list `tests/skips.txt` grows only by a change that somebody reads.

use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// One test that did not test.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Skip {
    pub(crate) name: String,
    pub(crate) reason: String,
    /// The program of tests it belongs to, and as whom that ran.
    pub(crate) stage: String,
}

/// Who runs the tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Runner {
    Root,
    User,
}

/// The skips in the file in which tests write them down. No file means that none was.
pub(super) fn recorded(path: &Path, stage: &str) -> Result<Vec<Skip>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).context("cannot read the list of skips"),
    };
    parse(&text, stage)
}

/// Lines of `name: reason`, as tests write them.
pub(crate) fn parse(text: &str, stage: &str) -> Result<Vec<Skip>> {
    text.lines()
        .map(|line| {
            let (name, reason) = line
                .split_once(": ")
                .with_context(|| format!("a skip without a reason: {line}"))?;
            Ok(Skip {
                name: name.to_owned(),
                reason: reason.to_owned(),
                stage: stage.to_owned(),
            })
        })
        .collect()
}

/// The allowed skips.
pub(super) struct Allowed {
    /// The name, and whether it is allowed to root as well.
    entries: Vec<(String, bool)>,
}

impl Allowed {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text)
    }

    /// Lines of `user NAME` or `anybody NAME`; `#` starts a comment.
    fn parse(text: &str) -> Result<Self> {
        let lines = text
            .lines()
            .map(|line| line.split('#').next().unwrap_or_default().trim());
        let entries = lines
            .filter(|line| !line.is_empty())
            .map(|line| match line.split_once(' ') {
                Some(("user", name)) => Ok((name.trim().to_owned(), false)),
                Some(("anybody", name)) => Ok((name.trim().to_owned(), true)),
                _ => bail!("tests/skips.txt: `{line}` is neither `user NAME` nor `anybody NAME`"),
            });
        Ok(Self {
            entries: entries.collect::<Result<_>>()?,
        })
    }

    pub(super) fn permits(&self, name: &str, runner: Runner) -> bool {
        self.entries
            .iter()
            .any(|(allowed, root_too)| allowed == name && (*root_too || runner == Runner::User))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_allowed_less() {
        let allowed = Allowed::parse("# who  test\nuser limits::memory # no cgroup\n\nanybody x::y\n").unwrap();
        assert!(allowed.permits("limits::memory", Runner::User));
        assert!(!allowed.permits("limits::memory", Runner::Root));
        assert!(allowed.permits("x::y", Runner::Root));
        assert!(!allowed.permits("limits::cpu", Runner::User));
    }

    #[test]
    fn a_line_that_says_nothing_is_refused() {
        assert!(Allowed::parse("limits::memory").is_err());
        assert!(Allowed::parse("root limits::memory").is_err());
    }

    #[test]
    fn skips_are_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("skips");
        assert_eq!(recorded(&path, "e2e").unwrap(), []);
        std::fs::write(&path, "limits::cpu: no cgroup: none at all\n").unwrap();
        let skips = recorded(&path, "e2e").unwrap();
        assert_eq!(
            (skips[0].name.as_str(), skips[0].reason.as_str()),
            ("limits::cpu", "no cgroup: none at all")
        );
        std::fs::write(&path, "without a reason\n").unwrap();
        assert!(recorded(&path, "e2e").is_err());
    }
}
