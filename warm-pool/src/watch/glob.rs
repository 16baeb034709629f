//! Patterns of paths and names: `*` is any text, also none and also with `/` in it, `?` is one character, and all else is itself.
//!
//! A match takes at most as many steps as pattern and text have characters multiplied, whatever they are.

use serde::{Deserialize, Serialize};

/// The most characters of a pattern.
const LONGEST: usize = 256;

/// See the module's head.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Glob(Vec<char>);

impl TryFrom<String> for Glob {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.chars().count() {
            0 => Err("a pattern has no characters; `*` matches anything".to_owned()),
            1..=LONGEST => Ok(Glob(text.chars().collect())),
            count => Err(format!(
                "a pattern has {count} characters; at most {LONGEST} are allowed"
            )),
        }
    }
}

impl From<Glob> for String {
    fn from(Glob(characters): Glob) -> Self {
        characters.into_iter().collect()
    }
}

impl Glob {
    /// Whether all of `text` matches.
    pub(super) fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        let pattern = &self.0;
        let (mut at, mut in_text) = (0, 0);
        // Behind the last star, and where in the text what it stands for ends.
        let mut star: Option<(usize, usize)> = None;
        while in_text < text.len() {
            match pattern.get(at) {
                Some('*') => {
                    star = Some((at + 1, in_text));
                    at += 1;
                }
                Some(expected) if *expected == '?' || *expected == text[in_text] => {
                    at += 1;
                    in_text += 1;
                }
                _ => match &mut star {
                    Some((behind, end)) => {
                        *end += 1;
                        (at, in_text) = (*behind, *end);
                    }
                    None => return false,
                },
            }
        }
        pattern[at..].iter().all(|rest| *rest == '*')
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Glob::try_from(pattern.to_owned()).unwrap().matches(text)
    }

    #[test]
    fn stars_and_question_marks() {
        for (pattern, text, expected) in [
            ("/bin/sh", "/bin/sh", true),
            ("/bin/sh", "/bin/shx", false),
            ("*/sh", "/usr/bin/sh", true),
            ("*/sh", "sh", false),
            ("/tmp/*", "/tmp/", true),
            ("/tmp/*", "/tmp/a/b", true),
            ("/tmp/*", "/tmpx", false),
            ("*python3.?*", "/usr/bin/python3.11", true),
            ("*a*b*c", "xxaxxbxxbc", true),
            ("*", "", true),
            ("?", "", false),
            ("/memfd:*", "/memfd:x (deleted)", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn an_empty_or_endless_pattern_is_refused() {
        assert!(Glob::try_from(String::new()).is_err());
        assert!(Glob::try_from("x".repeat(257)).is_err());
    }

    /// The meaning, without regard to the steps.
    fn naive(pattern: &[char], text: &[char]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some(('*', rest)), _) => naive(rest, text) || (!text.is_empty() && naive(pattern, &text[1..])),
            (Some((first, rest)), Some((other, left))) if *first == '?' || first == other => naive(rest, left),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn it_means_what_the_naive_one_means(pattern in "[a?*]{1,8}", text in "[ab]{0,10}") {
            let (p, t): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
            prop_assert_eq!(matches(&pattern, &text), naive(&p, &t));
        }

        #[test]
        fn no_text_takes_long(pattern in "[a*]{200}", text in "a{200,256}") {
            let _either = matches(&pattern, &(text + "b"));
        }
    }
}
