//! One attempt: made in a process of its own, so that whatever it does to itself ends with it, and reported as one line of JSON.

use std::io::{self, Read, Write};
use std::time::Duration;

use serde::Serialize;

use crate::{errno, sys};

/// How long an attempt may take. Far more than any needs that is not refused.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why an attempt did not get what it wanted.
pub(crate) enum Stop {
    /// The kernel said no.
    Errno(i32),
    /// Nothing was refused, and what is there is as it should be.
    Held(String),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Errno(error.raw_os_error().unwrap_or_default())
    }
}

/// What an attempt got, in words, or why not.
pub(crate) type Answer = Result<String, Stop>;

/// The attempts of one case.
pub(crate) struct Attempts {
    case: &'static str,
}

/// The line of an attempt.
#[derive(Serialize)]
struct Line<'a> {
    case: &'a str,
    attempt: &'a str,
    /// `done`: it got what it wanted. `refused`: the kernel said `errno`. `held`: nothing is open. `killed`: a signal ended it. `hung`:
    /// it did not end. `unmade`: there was no process for it.
    outcome: &'a str,
    /// The name of the error, where it was refused.
    errno: Option<String>,
    /// What it got, or what ended it.
    detail: String,
}

impl Attempts {
    pub(crate) fn of(case: &'static str) -> Self {
        Self { case }
    }

    /// Makes one attempt and prints its line.
    pub(crate) fn make(&mut self, name: &str, attempt: impl FnOnce() -> Answer) {
        let (outcome, errno, detail) = match self.isolated(name, attempt) {
            Ok(None) => return,
            Ok(Some((outcome, detail))) => (outcome, None, detail),
            // Never to be taken for a refusal of what was to be attempted.
            Err(error) => ("unmade", None, error.to_string()),
        };
        self.print(name, outcome, errno, detail);
    }

    /// The same for an attempt that refusals are not expected of: a value that is as it should be holds.
    pub(crate) fn look(&mut self, name: &str, look: impl FnOnce() -> io::Result<(bool, String)>) {
        self.make(name, || match look()? {
            (true, seen) => Err(Stop::Held(seen)),
            (false, seen) => Ok(seen),
        });
    }

    /// Runs the attempt in a child, which prints its own line. What is returned is for a child that could not.
    fn isolated(&self, name: &str, attempt: impl FnOnce() -> Answer) -> io::Result<Option<(&'static str, String)>> {
        let (mut reader, mut writer) = io::pipe()?;
        let child = match sys::fork()? {
            Some(child) => child,
            None => {
                drop(reader);
                let (outcome, errno, detail) = match attempt() {
                    Ok(detail) => ("done", None, detail),
                    Err(Stop::Errno(number)) => ("refused", Some(errno::name(number)), String::new()),
                    Err(Stop::Held(detail)) => ("held", None, detail),
                };
                self.print(name, outcome, errno, detail);
                // Nobody is left to read it when the parent has given up.
                let _gone = writer.write_all(b"x");
                sys::exit()
            }
        };
        drop(writer);
        let in_time = sys::readable(&reader, PATIENCE)?;
        let reported = in_time && reader.read(&mut [0])? == 1;
        if !in_time {
            sys::kill(child)?;
        }
        let ended = sys::wait(child)?;
        Ok(match (reported, in_time, ended) {
            (true, ..) => None,
            (false, false, _) => Some(("hung", format!("{} s", PATIENCE.as_secs()))),
            (false, true, Some(signal)) => Some(("killed", errno::signal(signal))),
            (false, true, None) => Some(("killed", "it ended without a word".into())),
        })
    }

    fn print(&self, attempt: &str, outcome: &str, errno: Option<String>, detail: String) {
        let line = Line {
            case: self.case,
            attempt,
            outcome,
            errno,
            detail,
        };
        let mut line = serde_json::to_string(&line).expect("text can be written as JSON");
        line.push('\n');
        // One write; a reader that is gone has all it wants.
        let _gone = io::stdout().lock().write_all(line.as_bytes());
        let _gone = io::stdout().lock().flush();
    }
}
