//! Text of strangers, made fit for a terminal and for a log that has one event a line.
//!
//! What a function prints, raises or names can hold line ends that forge a second line, escapes that a terminal obeys, and megabytes.
//! Whoever shows such text to an operator goes through here.

use std::borrow::Cow;
use std::fmt::Write;

/// Text that a terminal shows and does not obey: a control character other than tab becomes its escape, such as `\x1b`, and so do
/// the marks that reorder text on the screen.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(needs_escape) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if needs_escape(c) {
            // Writing to a String does not fail.
            let _ = write!(safe, "\\x{:02x}", u32::from(c));
        } else {
            safe.push(c);
        }
    }
    Cow::Owned(safe)
}

/// The first `most` characters of a text as one printable line, with `...` behind them when there are more.
pub fn one_line(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}...", printable(&text[..end])),
        None => printable(text).into_owned(),
    }
}

fn needs_escape(c: char) -> bool {
    (c.is_control() && c != '\t') || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn controls_are_shown_and_not_obeyed() {
        assert_eq!(printable("\x1b[2Jhi\tthere"), "\\x1b[2Jhi\tthere");
        assert_eq!(printable("a\u{9b}b\u{202e}c\nd"), "a\\x9bb\\x202ec\\x0ad");
        assert!(matches!(printable("plain"), Cow::Borrowed("plain")));
    }

    #[test]
    fn a_line_is_cut_between_characters() {
        assert_eq!(one_line("äöü", 3), "äöü");
        assert_eq!(one_line("äöü", 2), "äö...");
        assert_eq!(one_line("a\nb", 2), "a\\x0a...");
    }

    proptest! {
        #[test]
        fn no_text_controls_or_runs_on(text: String, most in 0usize..40) {
            prop_assert!(!printable(&text).contains(needs_escape));
            let line = one_line(&text, most);
            // An escape has at most eight characters: `\x` and six digits.
            prop_assert!(!line.contains('\n') && line.chars().count() <= 8 * most + 3);
        }
    }
}
