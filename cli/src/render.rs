//! Where results go: standard output for what was asked, standard error for progress.
//!
//! A [`Screen`] knows whether the answer is to be text or one JSON document. A reader that goes away (`fn list | head`)
//! is no error: the command ends quietly.

use std::io::{self, Write};

use serde_json::Value;

use crate::exit::Exit;
use crate::failure::Failure;

pub(crate) use progress::{Progress, Step};

mod progress;
pub(crate) mod table;

/// In which form answers are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Text and tables for people.
    Text,
    /// Exactly one JSON document.
    Json,
}

/// The way out for results.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Screen {
    /// The form.
    pub(crate) format: Format,
}

impl Screen {
    /// Prints an answer: the document, or the text, which ends in a newline.
    pub(crate) fn answer(self, document: &Value, text: impl FnOnce() -> String) -> Result<(), Failure> {
        match self.format {
            Format::Json => self.raw(format!("{document:#}\n").as_bytes()),
            Format::Text => self.raw(text().as_bytes()),
        }
    }

    /// Writes bytes as they are, at once.
    pub(crate) fn raw(self, bytes: &[u8]) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush()).map_err(output_failure)
    }

    /// Prints a failure: the document on standard output, so that `--json` always leaves one there, or the text on
    /// standard error.
    pub(crate) fn failure(self, failure: &Failure) {
        // A failure that nobody can read any more is still told by the exit code.
        let _ = match self.format {
            Format::Json => writeln!(io::stdout().lock(), "{:#}", failure.to_json()),
            Format::Text if failure.message.is_empty() => Ok(()),
            Format::Text => write!(io::stderr().lock(), "{}", failure.to_text()),
        };
    }
}

/// A write to standard output that did not work. A closed pipe ends the command as if it had worked, with no text.
fn output_failure(cause: io::Error) -> Failure {
    match cause.kind() {
        io::ErrorKind::BrokenPipe => Failure::new(Exit::Ok, "output_closed", ""),
        _ => Failure::new(
            Exit::Failed,
            "output_failed",
            format!("standard output can't be written: {cause}"),
        ),
    }
}
