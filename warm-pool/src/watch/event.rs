//! What can happen to an instance that a rule may be about.

use functions::{FunctionName, Runtime, one_line};
use sandbox::Peer;
use serde::{Deserialize, Serialize};

/// The most characters of an event that are shown.
const MOST_SHOWN: usize = 300;

/// One event. Texts in it were written by a function: they are shown by [`Event::detail`] alone, which escapes and bounds them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A process was about to execute this program; `None` where its path could not be read.
    Exec(Option<String>),
    /// A process was about to connect.
    Connect(Peer),
    /// The filter refused the call of this name.
    Refused(&'static str),
    /// It ran out of memory, and was killed whole.
    OutOfMemory,
    /// It was refused so many processes in its life, because of its limit. Known at its end.
    PidsLimit(u64),
    /// A call ran out of time.
    Timeout,
    /// It ended by itself, in this way.
    Crash(String),
    /// The template of the function, which had stood, died or can't be forked any more, for this reason.
    Template(String),
    /// So many events of its sandbox were not told, because there were too many.
    Missed(u64),
}

/// The kind of an event, as rules and metrics name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// [`Event::Exec`].
    Exec,
    /// [`Event::Connect`].
    Connect,
    /// [`Event::Refused`].
    Refused,
    /// [`Event::OutOfMemory`].
    OutOfMemory,
    /// [`Event::PidsLimit`].
    PidsLimit,
    /// [`Event::Timeout`].
    Timeout,
    /// [`Event::Crash`].
    Crash,
    /// [`Event::Template`].
    Template,
    /// [`Event::Missed`].
    Missed,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 9] = [
        Kind::Exec,
        Kind::Connect,
        Kind::Refused,
        Kind::OutOfMemory,
        Kind::PidsLimit,
        Kind::Timeout,
        Kind::Crash,
        Kind::Template,
        Kind::Missed,
    ];

    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Exec => "exec",
            Kind::Connect => "connect",
            Kind::Refused => "refused",
            Kind::OutOfMemory => "out_of_memory",
            Kind::PidsLimit => "pids_limit",
            Kind::Timeout => "timeout",
            Kind::Crash => "crash",
            Kind::Template => "template",
            Kind::Missed => "missed",
        }
    }
}

impl Event {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Event::Exec(_) => Kind::Exec,
            Event::Connect(_) => Kind::Connect,
            Event::Refused(_) => Kind::Refused,
            Event::OutOfMemory => Kind::OutOfMemory,
            Event::PidsLimit(_) => Kind::PidsLimit,
            Event::Timeout => Kind::Timeout,
            Event::Crash(_) => Kind::Crash,
            Event::Template(_) => Kind::Template,
            Event::Missed(_) => Kind::Missed,
        }
    }

    /// What happened, as one printable line of bounded length.
    pub fn detail(&self) -> String {
        let text = match self {
            Event::Exec(Some(path)) => format!("executed {path}"),
            Event::Exec(None) => "executed a program whose path could not be read".to_owned(),
            Event::Connect(Peer::Inet(address)) => format!("connected to {address}"),
            Event::Connect(Peer::Unix(path)) => format!("connected to the unix socket {path}"),
            Event::Connect(Peer::Other(family)) => format!("connected in the address family {family}"),
            Event::Connect(Peer::Unread) => "connected to an address that could not be read".to_owned(),
            Event::Refused(call) => format!("called {call}, which was refused"),
            Event::OutOfMemory => "ran out of memory and was killed".to_owned(),
            Event::PidsLimit(refused) => format!("was refused {refused} processes at its limit"),
            Event::Timeout => "a call ran out of time".to_owned(),
            Event::Crash(how) => format!("ended by itself: it {how}"),
            Event::Template(why) => format!("its template is not used any more: {why}"),
            Event::Missed(count) => format!("{count} events were not told, as there were too many"),
        };
        one_line(&text, MOST_SHOWN)
    }
}

/// An event, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    /// The function.
    pub function: FunctionName,
    /// What runs it.
    pub runtime: Runtime,
    /// The sandbox, where one is known that may live still.
    pub sandbox: Option<u64>,
    /// What happened.
    pub event: Event,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_function_wrote_is_shown_as_one_short_line() {
        let forged = Event::Exec(Some("/tmp/a\n{\"rule\":\"forged\"}\x1b[31m".into())).detail();
        assert_eq!(forged, "executed /tmp/a\\x0a{\"rule\":\"forged\"}\\x1b[31m");
        assert!(Event::Exec(Some("x".repeat(100_000))).detail().len() < 400);
    }

    #[test]
    fn each_kind_has_the_word_by_which_it_is_written() {
        for kind in Kind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }
}
