//! What goes wrong, as the person at the terminal gets to read it.
//!
//! Every module has its own error enum; each says through [`Explain`] which exit code it means and what to do about
//! it. Commands return [`Failure`], and `main` is the only place that prints one.

use std::error::Error;

use functions::printable;
use serde_json::{Value, json};

use crate::exit::Exit;

/// How an error of one module becomes an exit code and a text.
pub(crate) trait Explain: Error {
    /// The exit code.
    fn exit(&self) -> Exit;
    /// The stable word for scripts, for example `not_found`.
    fn code(&self) -> String;
    /// What to do about it, in one or two sentences.
    fn hint(&self) -> Option<String> {
        None
    }
    /// A longer text to show as it is: a traceback, an installer's output.
    fn details(&self) -> Option<String> {
        None
    }
}

/// A failed command.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) exit: Exit,
    /// The stable word for scripts.
    pub(crate) code: String,
    /// One sentence without a full stop.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
    /// A longer text to show as it is.
    pub(crate) details: Option<String>,
}

impl Failure {
    /// A failure without a hint.
    pub(crate) fn new(exit: Exit, code: &str, message: impl Into<String>) -> Self {
        Failure {
            exit,
            code: code.to_owned(),
            message: message.into(),
            hint: None,
            details: None,
        }
    }

    /// The text for people, several lines, ending in a newline.
    pub(crate) fn to_text(&self) -> String {
        let mut text = format!("error: {}\n", self.message);
        if let Some(details) = &self.details {
            text.push('\n');
            for line in details.trim_end().lines() {
                // A traceback is what a stranger's code says; the terminal shows it and does not obey it.
                text.push_str(&format!("    {}\n", printable(line)));
            }
            text.push('\n');
        }
        if let Some(hint) = &self.hint {
            text.push_str(&format!("hint: {hint}\n"));
        }
        text
    }

    /// The document for scripts: `{"error":{"code","message","exit","hint"?,"details"?}}`.
    pub(crate) fn to_json(&self) -> Value {
        let mut error = json!({ "code": self.code, "message": self.message, "exit": self.exit.code() });
        if let Some(hint) = &self.hint {
            error["hint"] = json!(hint);
        }
        if let Some(details) = &self.details {
            error["details"] = json!(details);
        }
        json!({ "error": error })
    }
}

impl<E: Explain> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure {
            exit: error.exit(),
            code: error.code(),
            message: sentence(&error),
            hint: error.hint(),
            details: error.details(),
        }
    }
}

/// The message with its causes, joined by colons. A cause that its parent already quotes is left out.
pub(crate) fn sentence(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let words = inner.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_the_details_between_the_message_and_the_hint() {
        let mut failure = Failure::new(Exit::CheckFailed, "check_failed", "the handler can't be loaded");
        failure.hint = Some("mend it".into());
        failure.details = Some("Traceback\n  line \x1b[2J1\n".into());
        assert_eq!(
            failure.to_text(),
            "error: the handler can't be loaded\n\n    Traceback\n      line \\x1b[2J1\n\nhint: mend it\n"
        );
    }

    #[test]
    fn the_document_carries_the_exit_code() {
        let failure = Failure::new(Exit::NotFound, "not_found", "no function is called 'x'");
        assert_eq!(
            failure.to_json().to_string(),
            r#"{"error":{"code":"not_found","exit":4,"message":"no function is called 'x'"}}"#
        );
    }
}
