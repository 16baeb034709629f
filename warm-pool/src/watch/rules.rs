//! Rules: data, shipped with the program and changed by a file of the operator.
//!
//! A rule of the file that has the name of a shipped one changes the keys that it names and keeps the others; any other rule is new.

use functions::{FunctionName, Runtime, Span};
use sandbox::Watch;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::event::{Event, Happening, Kind};
use super::glob::Glob;
use super::peers::{Class, class};

/// The rules that are shipped.
pub const SHIPPED: &str = include_str!("rules.toml");
/// The most bytes of a file of rules.
pub const LARGEST_FILE: u64 = 256 << 10;
/// The most rules, the shipped ones included.
const MOST_RULES: usize = 256;
/// The most patterns, classes, ports or names of one rule.
const MOST_VALUES: usize = 128;
/// The most events that a rate may count.
const MOST_COUNTED: u32 = 1000;
/// The longest time that a rate may look back, in seconds.
const LONGEST_RATE: u64 = 24 * 60 * 60;

/// How much a rule matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing.
    Notice,
    /// To be looked at.
    #[default]
    Warning,
    /// To be looked at now.
    Critical,
}

impl Severity {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Notice => "notice",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }
}

/// What is done when a rule applies. Each is an alert as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// A person is told.
    #[default]
    Alert,
    /// The instance is killed; its callers read `stopped_by_rule`.
    Kill,
    /// The instance gets no call any more, is stopped where it stands and kept for a while to be looked at, then killed.
    Quarantine,
}

impl Action {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Alert => "alert",
            Action::Kill => "kill",
            Action::Quarantine => "quarantine",
        }
    }
}

/// So many events in a time, of one function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// How many.
    pub count: u32,
    /// Within which time.
    pub within: Span,
}

/// One rule, checked.
#[derive(Clone, Debug, Serialize)]
pub struct Rule {
    /// Its name: lower-case letters, digits and dashes.
    pub name: String,
    /// What it is about.
    pub event: Kind,
    /// How much it matters.
    pub severity: Severity,
    /// What is done.
    pub action: Action,
    /// Whether it is looked at.
    pub enabled: bool,
    /// How many events it takes; `None`: one.
    pub rate: Option<Rate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<Vec<Glob>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_path: Option<Vec<Glob>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    call: Option<Vec<Glob>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<Vec<Class>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<Vec<u16>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function: Option<Vec<Glob>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    runtime: Option<Vec<Runtime>>,
}

/// A file of rules that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// It is no TOML, or has a key or a value that no rule has. The text says where.
    #[error("{0}")]
    Toml(#[source] Box<toml::de::Error>),
    /// A rule says something that means nothing.
    #[error("line {line}: {what}")]
    Rule {
        /// Where the rule begins, counted from 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
}

/// A file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    rule: Vec<Spanned<Written>>,
}

/// A rule as it is written.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    event: Option<Kind>,
    path: Option<Vec<Glob>>,
    not_path: Option<Vec<Glob>>,
    call: Option<Vec<Glob>>,
    address: Option<Vec<Class>>,
    port: Option<Vec<u16>>,
    function: Option<Vec<Glob>>,
    runtime: Option<Vec<Runtime>>,
    rate: Option<Rate>,
    severity: Option<Severity>,
    action: Option<Action>,
    enabled: Option<bool>,
}

/// All rules, in the order in which they were written.
#[derive(Clone, Debug)]
pub struct Rules {
    rules: Vec<Rule>,
    text: String,
}

impl Default for Rules {
    /// The shipped ones.
    fn default() -> Self {
        Self::changed_by("").expect("the shipped rules are tested")
    }
}

impl Rules {
    /// The shipped rules, with what `text` changes and adds.
    ///
    /// # Errors
    /// [`RulesError`], with the line.
    pub fn changed_by(text: &str) -> Result<Self, RulesError> {
        let mut written: Vec<Written> = read(SHIPPED)?.into_iter().map(Spanned::into_inner).collect();
        let shipped = written.len();
        let mut lines = vec![0; shipped];
        for rule in read(text)? {
            let line = 1 + text[..rule.span().start].matches('\n').count();
            let rule = rule.into_inner();
            let again = written.iter().position(|known| known.name == rule.name);
            match again {
                Some(at) if at < shipped && lines[at] == 0 => {
                    written[at] = rule.over(written[at].clone());
                    lines[at] = line;
                }
                Some(at) => {
                    let first = lines[at];
                    let what = format!("the rule `{}` stands in line {first} already", rule.name);
                    return Err(RulesError::Rule { line, what });
                }
                None => {
                    written.push(rule);
                    lines.push(line);
                }
            }
            if written.len() > MOST_RULES {
                let what = format!("there are more than {MOST_RULES} rules");
                return Err(RulesError::Rule { line, what });
            }
        }
        let rules = written.into_iter().zip(lines);
        let rules = rules.map(|(rule, line)| rule.checked().map_err(|what| RulesError::Rule { line, what }));
        Ok(Self {
            rules: rules.collect::<Result<_, _>>()?,
            text: text.to_owned(),
        })
    }

    /// None at all: nothing is watched.
    pub fn none() -> Self {
        Self {
            rules: Vec::new(),
            text: String::new(),
        }
    }

    /// The text that changed the shipped ones.
    pub fn changes(&self) -> &str {
        &self.text
    }

    /// Those that are looked at.
    pub fn enabled(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(|rule| rule.enabled)
    }

    /// All of them.
    pub fn all(&self) -> &[Rule] {
        &self.rules
    }

    /// What has to be told of any sandbox for these rules.
    pub(crate) fn watch(&self) -> Watch {
        watch(self.enabled())
    }

    /// What has to be told of the sandboxes of one function.
    pub(crate) fn watch_of(&self, function: &FunctionName, runtime: Runtime) -> Watch {
        watch(self.enabled().filter(|rule| rule.is_about(function, runtime)))
    }
}

fn read(text: &str) -> Result<Vec<Spanned<Written>>, RulesError> {
    let file: File = toml::from_str(text).map_err(|error| RulesError::Toml(Box::new(error)))?;
    Ok(file.rule)
}

fn watch<'a>(rules: impl Iterator<Item = &'a Rule>) -> Watch {
    rules.fold(Watch::default(), |watch, rule| {
        watch.or(Watch {
            exec: rule.event == Kind::Exec,
            connect: rule.event == Kind::Connect,
            refused: rule.event == Kind::Refused,
        })
    })
}

impl Written {
    /// The keys that are written here, over those of `other`.
    fn over(self, other: Written) -> Written {
        Written {
            name: self.name,
            event: self.event.or(other.event),
            path: self.path.or(other.path),
            not_path: self.not_path.or(other.not_path),
            call: self.call.or(other.call),
            address: self.address.or(other.address),
            port: self.port.or(other.port),
            function: self.function.or(other.function),
            runtime: self.runtime.or(other.runtime),
            rate: self.rate.or(other.rate),
            severity: self.severity.or(other.severity),
            action: self.action.or(other.action),
            enabled: self.enabled.or(other.enabled),
        }
    }

    fn checked(self) -> Result<Rule, String> {
        let name = self.name;
        let fine = (1..=63).contains(&name.len())
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !fine {
            return Err(format!(
                "{name:?} is no name of a rule: 1 to 63 lower-case letters, digits and dashes"
            ));
        }
        let wrong = |what: &str| format!("the rule `{name}` {what}");
        let event = self
            .event
            .ok_or_else(|| wrong("has no `event`, and no shipped rule has its name"))?;
        for (key, length, of) in [
            ("path", self.path.as_ref().map(Vec::len), Kind::Exec),
            ("not_path", self.not_path.as_ref().map(Vec::len), Kind::Exec),
            ("call", self.call.as_ref().map(Vec::len), Kind::Refused),
            ("address", self.address.as_ref().map(Vec::len), Kind::Connect),
            ("port", self.port.as_ref().map(Vec::len), Kind::Connect),
            ("function", self.function.as_ref().map(Vec::len), event),
            ("runtime", self.runtime.as_ref().map(Vec::len), event),
        ] {
            match length {
                None => {}
                Some(_) if of != event => {
                    let (of, event) = (of.as_str(), event.as_str());
                    return Err(wrong(&format!(
                        "has `{key}`, which events of the kind `{event}` don't have; those of `{of}` do"
                    )));
                }
                Some(0) => {
                    return Err(wrong(&format!(
                        "has an empty `{key}`, so it would never apply; leave it out"
                    )));
                }
                Some(1..=MOST_VALUES) => {}
                Some(length) => {
                    return Err(wrong(&format!(
                        "has {length} values of `{key}`; at most {MOST_VALUES} are allowed"
                    )));
                }
            }
        }
        if let Some(Rate { count, within }) = self.rate {
            let seconds = within.duration().as_secs_f64();
            if !(1..=MOST_COUNTED).contains(&count) || !(0.001..=LONGEST_RATE as f64).contains(&seconds) {
                return Err(wrong(&format!(
                    "has a rate of {count} in {within}; 1 to {MOST_COUNTED} in at most 24h are allowed"
                )));
            }
        }
        Ok(Rule {
            event,
            severity: self.severity.unwrap_or_default(),
            action: self.action.unwrap_or_default(),
            enabled: self.enabled.unwrap_or(true),
            rate: self.rate,
            path: self.path,
            not_path: self.not_path,
            call: self.call,
            address: self.address,
            port: self.port,
            function: self.function,
            runtime: self.runtime,
            name,
        })
    }
}

impl Rule {
    fn is_about(&self, function: &FunctionName, runtime: Runtime) -> bool {
        let runs = |of: &Vec<Runtime>| of.contains(&runtime);
        any(self.function.as_deref(), function.as_str()) && self.runtime.as_ref().is_none_or(runs)
    }

    /// Whether this event is one of those that the rule is about. Whether there were enough of them is for the judge to say.
    pub(super) fn matches(&self, happening: &Happening) -> bool {
        if happening.event.kind() != self.event || !self.is_about(&happening.function, happening.runtime) {
            return false;
        }
        match &happening.event {
            Event::Exec(path) => {
                // What could not be read may be anything.
                let path = path.as_deref().unwrap_or("?");
                let left_out = self
                    .not_path
                    .as_ref()
                    .is_some_and(|globs| globs.iter().any(|glob| glob.matches(path)));
                any(self.path.as_deref(), path) && !left_out
            }
            Event::Refused(call) => any(self.call.as_deref(), call),
            Event::Connect(peer) => {
                let port = match peer {
                    sandbox::Peer::Inet(address) => Some(address.port()),
                    _ => None,
                };
                let ports = |ports: &Vec<u16>| port.is_some_and(|port| ports.contains(&port));
                let classes = |classes: &Vec<Class>| class(peer).is_some_and(|class| classes.contains(&class));
                self.address.as_ref().is_none_or(classes) && self.port.as_ref().is_none_or(ports)
            }
            _ => true,
        }
    }
}

fn any(globs: Option<&[Glob]>, text: &str) -> bool {
    globs.is_none_or(|globs| globs.iter().any(|glob| glob.matches(text)))
}

#[cfg(test)]
mod tests;
