//! The name of a function, from what was typed or from the name of a path.

use functions::FunctionName;
use functions::name::{MAX_LENGTH, NameError};

use crate::exit::Exit;
use crate::failure::Explain;

/// A name that no function can have.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadName {
    /// It was typed.
    #[error("'{name}' is not the name of a function: {cause}")]
    Typed {
        /// The name.
        name: String,
        /// What is wrong.
        cause: NameError,
    },
    /// It was to be made from the name of a path, and there is nothing in that to make one from.
    #[error("no name can be made from '{stem}'")]
    FromPath {
        /// The last part of the path.
        stem: String,
    },
}

impl Explain for BadName {
    fn exit(&self) -> Exit {
        Exit::BadInput
    }

    fn code(&self) -> String {
        "invalid_function_name".into()
    }

    fn hint(&self) -> Option<String> {
        match self {
            BadName::Typed { cause, .. } => Some(cause.hint().into()),
            BadName::FromPath { .. } => Some("Give the function a name: --name NAME, or name in fn.toml.".into()),
        }
    }
}

/// Reads a name that was typed.
pub(crate) fn typed(name: &str) -> Result<FunctionName, BadName> {
    name.parse().map_err(|cause| BadName::Typed {
        name: name.to_owned(),
        cause,
    })
}

/// Makes a name from the last part of a path: lower case, and a `-` for every run of anything else.
pub(crate) fn from_path(stem: &str) -> Result<FunctionName, BadName> {
    let mut name = String::new();
    for character in stem.chars().map(|character| character.to_ascii_lowercase()) {
        match character {
            'a'..='z' | '0'..='9' => name.push(character),
            _ if !name.is_empty() && !name.ends_with('-') => name.push('-'),
            _ => {}
        }
    }
    name.truncate(MAX_LENGTH);
    name.trim_end_matches('-')
        .parse()
        .map_err(|_| BadName::FromPath { stem: stem.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_names() {
        for (stem, name) in [
            ("hello", "hello"),
            ("My_App v2", "my-app-v2"),
            ("__x__", "x"),
            ("a..b", "a-b"),
            ("naïve", "na-ve"),
        ] {
            assert_eq!(from_path(stem).unwrap().as_str(), name);
        }
        assert_eq!(
            from_path(&"ab_".repeat(40)).unwrap().as_str(),
            "ab-".repeat(21).trim_end_matches('-')
        );
        for stem in ["", "___", "名前"] {
            assert!(from_path(stem).is_err(), "{stem}");
        }
    }

    #[test]
    fn a_bad_name_says_what_is_wrong_and_what_to_do() {
        let error = typed("a/b").unwrap_err();
        assert_eq!(
            error.to_string(),
            "'a/b' is not the name of a function: '/' is not allowed in a function name"
        );
        assert!(error.hint().is_some());
    }
}
