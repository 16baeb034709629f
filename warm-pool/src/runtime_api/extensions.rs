//! The extensions of one instance: who they are, what they wait for, and what they have missed. Pure: no I/O, no clock, no lock.
//!
//! ```text
//!   announced --register--> registered --next--> idle --INVOKE | SHUTDOWN--> busy --next--> idle
//!   (external)                  ^                 any of these --ended, exit/error--> gone
//!   register without being announced: internal, a part of the runtime's own process
//! ```
//!
//! An external one is a program in `/opt/extensions`. It is announced by whoever starts it, before it is started, so that nobody forgets to
//! wait for it.

use serde::Serialize;
use uuid::Uuid;

use tokio::sync::oneshot;

use super::Invocation;

/// Most extensions of a function: Lambda's own bound.
const MOST: usize = 10;
/// Most bytes of a name.
const MOST_NAME: usize = 128;

/// What an extension asked for and can't have, by its name in the Extensions API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denial {
    /// It comes too late.
    #[error("extensions register before the start of the function is over")]
    Closed,
    /// One more would be too many.
    #[error("a function has at most {MOST} extensions")]
    TooMany,
    /// It has no name, or one that is too long.
    #[error("Lambda-Extension-Name is not a name of 1 to {MOST_NAME} bytes")]
    Name,
    /// It can't have such events.
    #[error("extensions get INVOKE, one at a time, and those that are programs of their own SHUTDOWN too")]
    Event,
    /// Not in its state.
    #[error("this request is not allowed in the state that the extension is in")]
    State,
    /// Nobody has this identifier.
    #[error("no extension has this identifier")]
    Unknown,
    /// It says no identifier.
    #[error("Missing Lambda-Extension-Identifier header")]
    NoIdentifier,
    /// What it says is none.
    #[error("Invalid Lambda-Extension-Identifier")]
    BadIdentifier,
}

impl Denial {
    pub(super) fn kind(self) -> &'static str {
        match self {
            Denial::Closed => "Extension.RegistrationClosed",
            Denial::TooMany => "Extension.TooManyExtensions",
            Denial::Name => "Extension.InvalidExtensionName",
            Denial::Event => "Extension.InvalidEventType",
            Denial::State => "Extension.InvalidExtensionState",
            Denial::Unknown => "Extension.UnknownExtensionIdentifier",
            Denial::NoIdentifier => "Extension.MissingExtensionIdentifier",
            Denial::BadIdentifier => "Extension.InvalidExtensionIdentifier",
        }
    }
}

/// What an extension is told, in the words of the Extensions API.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "eventType", rename_all = "UPPERCASE", rename_all_fields = "camelCase")]
pub(crate) enum Event {
    /// An invocation begins.
    Invoke {
        deadline_ms: u64,
        request_id: String,
        invoked_function_arn: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        tracing: Option<Tracing>,
    },
    /// The instance ends.
    Shutdown {
        deadline_ms: u64,
        shutdown_reason: &'static str,
    },
}

/// The trace of an invocation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Tracing {
    #[serde(rename = "type")]
    kind: &'static str,
    value: String,
}

impl From<&Invocation> for Event {
    fn from(invocation: &Invocation) -> Event {
        Event::Invoke {
            deadline_ms: invocation.deadline_ms,
            request_id: invocation.id.clone(),
            invoked_function_arn: invocation.arn.clone(),
            tracing: invocation.trace_id.clone().map(|value| Tracing {
                kind: "X-Amzn-Trace-Id",
                value,
            }),
        }
    }
}

/// What an extension wants to be told.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wants {
    pub(super) invoke: bool,
    pub(super) shutdown: bool,
}

impl Wants {
    /// Reads the names of events.
    pub(super) fn read(events: &[String]) -> Result<Wants, Denial> {
        let mut wants = Wants::default();
        for event in events {
            match event.as_str() {
                "INVOKE" => wants.invoke = true,
                "SHUTDOWN" => wants.shutdown = true,
                _ => return Err(Denial::Event),
            }
        }
        Ok(wants)
    }
}

#[derive(Debug)]
struct Extension {
    name: String,
    /// It is a program of its own.
    external: bool,
    /// What it was given when it registered.
    id: Option<Uuid>,
    wants: Wants,
    asking: Option<oneshot::Sender<Event>>,
    /// What came while it did not ask, though it had: its connection broke.
    missed: Option<Event>,
    /// It said that it can't go on, or its process has ended.
    gone: bool,
    /// It was told that the instance ends.
    told: bool,
}

impl Extension {
    fn is_idle(&self) -> bool {
        self.asking.as_ref().is_some_and(|asking| !asking.is_closed())
    }

    fn tell(&mut self, event: Event) {
        self.missed = match self.asking.take() {
            Some(asking) => asking.send(event).err(),
            None => Some(event),
        };
    }
}

/// See the module's head.
#[derive(Debug, Default)]
pub(super) struct Extensions {
    all: Vec<Extension>,
    closed: bool,
    /// The process of the runtime has ended.
    runtime_gone: bool,
}

impl Extensions {
    /// Takes note of the programs that are about to be started.
    pub(super) fn announce(&mut self, names: Vec<String>) -> Result<(), Denial> {
        if self.closed || !self.all.is_empty() {
            return Err(Denial::State);
        }
        if names.len() > MOST {
            return Err(Denial::TooMany);
        }
        // Such a one could never register, and would be waited for.
        if names.iter().any(|name| !is_name(name)) {
            return Err(Denial::Name);
        }
        self.all = names.into_iter().map(|name| Extension::new(name, true)).collect();
        Ok(())
    }

    pub(super) fn register(&mut self, name: &str, wants: Wants) -> Result<Uuid, Denial> {
        if !is_name(name) {
            return Err(Denial::Name);
        }
        let id = Uuid::new_v4();
        if let Some(known) = self.all.iter_mut().find(|known| known.name == name) {
            if known.id.is_some() || known.gone {
                return Err(Denial::State);
            }
            (known.id, known.wants) = (Some(id), wants);
            return Ok(id);
        }
        // A part of the runtime's process sees that end by itself.
        if wants.shutdown {
            return Err(Denial::Event);
        }
        if self.closed {
            return Err(Denial::Closed);
        }
        if self.all.len() >= MOST {
            return Err(Denial::TooMany);
        }
        self.all.push(Extension {
            id: Some(id),
            wants,
            ..Extension::new(name.to_owned(), false)
        });
        Ok(id)
    }

    /// Whether every program that was announced has registered, or will not.
    pub(super) fn registered(&self) -> bool {
        self.all
            .iter()
            .all(|extension| extension.id.is_some() || extension.gone)
    }

    /// Whether every extension waits for an event.
    pub(super) fn idle(&self) -> bool {
        self.all.iter().all(Extension::is_idle)
    }

    /// Nobody registers any more.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    /// One asks for its next event.
    pub(super) fn next(&mut self, id: Uuid) -> Result<oneshot::Receiver<Event>, Denial> {
        let extension = self.find(id)?;
        if extension.gone || extension.is_idle() {
            return Err(Denial::State);
        }
        let (tell, told) = oneshot::channel();
        match extension.missed.take() {
            Some(event) => {
                // The other half is in our hand.
                let _told = tell.send(event);
            }
            None => {
                // Who asks again after that is done with it.
                extension.gone = extension.told;
                extension.asking = Some(tell);
            }
        }
        Ok(told)
    }

    /// What one was told it did not hear, because its connection broke. It may ask on another one by now.
    pub(super) fn take_back(&mut self, id: Uuid, event: Event) {
        match self.find(id) {
            Ok(extension) if extension.is_idle() => extension.tell(event),
            Ok(extension) => {
                extension.missed.get_or_insert(event);
            }
            // Nobody is forgotten: there is no such extension.
            Err(_) => {}
        }
    }

    /// One says that it can't go on. Returns its name.
    pub(super) fn give_up(&mut self, id: Uuid) -> Result<String, Denial> {
        let extension = self.find(id)?;
        if std::mem::replace(&mut extension.gone, true) {
            return Err(Denial::State);
        }
        Ok(extension.name.clone())
    }

    /// The process of one has ended, or with `None` that of the runtime.
    pub(super) fn ended(&mut self, name: Option<&str>) {
        match name {
            None => self.runtime_gone = true,
            Some(name) => {
                let ended = self.all.iter_mut().filter(|known| known.external && known.name == name);
                ended.for_each(|known| known.gone = true);
            }
        }
    }

    /// Tells all who want to know it of an invocation.
    pub(super) fn invoke(&mut self, invocation: &Invocation) {
        for extension in self.all.iter_mut().filter(|known| known.wants.invoke && !known.gone) {
            extension.tell(invocation.into());
        }
    }

    /// Tells all who want to know it that the instance ends.
    pub(super) fn shut_down(&mut self, deadline_ms: u64, shutdown_reason: &'static str) {
        for extension in self.all.iter_mut().filter(|known| known.wants.shutdown && !known.gone) {
            extension.tell(Event::Shutdown {
                deadline_ms,
                shutdown_reason,
            });
            extension.told = true;
        }
    }

    /// Whether there is a program of its own, which is given time before the instance is killed.
    pub(super) fn any_external(&self) -> bool {
        self.all.iter().any(|known| known.external)
    }

    pub(super) fn runtime_gone(&self) -> bool {
        self.runtime_gone
    }

    /// Whether all are done that were told that the instance ends.
    pub(super) fn left(&self) -> bool {
        self.all.iter().all(|known| known.gone || !known.told)
    }

    fn find(&mut self, id: Uuid) -> Result<&mut Extension, Denial> {
        self.all
            .iter_mut()
            .find(|known| known.id == Some(id))
            .ok_or(Denial::Unknown)
    }
}

fn is_name(name: &str) -> bool {
    (1..=MOST_NAME).contains(&name.len())
}

impl Extension {
    fn new(name: String, external: bool) -> Extension {
        Extension {
            name,
            external,
            id: None,
            wants: Wants::default(),
            asking: None,
            missed: None,
            gone: false,
            told: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn wants(events: &[&str]) -> Wants {
        Wants::read(&names(events)).unwrap()
    }

    fn invocation() -> Invocation {
        Invocation {
            id: "a".to_owned(),
            deadline_ms: 7,
            arn: "arn".to_owned(),
            trace_id: Some("Root=1".to_owned()),
            client_context: None,
            event: Bytes::new(),
        }
    }

    #[test]
    fn programs_are_waited_for_until_they_registered_and_asked() {
        let mut all = Extensions::default();
        all.announce(names(&["a", "b"])).unwrap();
        assert!(!all.registered() && !all.idle());
        let a = all.register("a", wants(&["INVOKE", "SHUTDOWN"])).unwrap();
        let b = all.register("b", wants(&[])).unwrap();
        assert!(all.registered() && !all.idle());
        let mut first = all.next(a).unwrap();
        let _second = all.next(b).unwrap();
        assert!(all.idle() && all.any_external());
        all.close();
        all.invoke(&invocation());
        let said = serde_json::to_value(first.try_recv().unwrap()).unwrap();
        let expected = serde_json::json!({
            "eventType": "INVOKE", "deadlineMs": 7, "requestId": "a", "invokedFunctionArn": "arn",
            "tracing": { "type": "X-Amzn-Trace-Id", "value": "Root=1" },
        });
        assert_eq!(said, expected);
        assert!(!all.idle(), "the one that was told is at work");
    }

    #[test]
    fn what_is_not_allowed_has_a_name() {
        let mut all = Extensions::default();
        all.announce(names(&["a"])).unwrap();
        assert_eq!(all.announce(names(&["b"])), Err(Denial::State));
        let nameless = Extensions::default().announce(vec!["x".repeat(129)]);
        assert_eq!(nameless, Err(Denial::Name));
        let id = all.register("a", wants(&[])).unwrap();
        assert_eq!(all.register("a", wants(&[])), Err(Denial::State), "twice");
        assert_eq!(all.register("", wants(&[])), Err(Denial::Name));
        assert_eq!(all.register(&"x".repeat(129), wants(&[])), Err(Denial::Name));
        assert_eq!(all.register("inside", wants(&["SHUTDOWN"])), Err(Denial::Event));
        assert_eq!(Wants::read(&names(&["START"])).unwrap_err(), Denial::Event);
        assert_eq!(all.next(Uuid::nil()).unwrap_err(), Denial::Unknown);
        let _asking = all.next(id).unwrap();
        assert_eq!(all.next(id).unwrap_err(), Denial::State, "one question at a time");
        for number in 1..MOST {
            all.register(&number.to_string(), wants(&["INVOKE"])).unwrap();
        }
        assert_eq!(all.register("more", wants(&[])), Err(Denial::TooMany));
        all.close();
        assert_eq!(all.register("late", wants(&[])), Err(Denial::Closed));
        assert_eq!(all.give_up(id).as_deref(), Ok("a"));
        assert_eq!(all.give_up(id), Err(Denial::State));
        assert_eq!(all.next(id).unwrap_err(), Denial::State);
    }

    #[test]
    fn the_end_is_told_and_waited_for() {
        let mut all = Extensions::default();
        all.announce(names(&["asks", "ends", "other"])).unwrap();
        let ids: Vec<Uuid> = [("asks", true), ("ends", true), ("other", false)]
            .map(|(name, shutdown)| {
                all.register(name, wants(if shutdown { &["SHUTDOWN"] } else { &[] }))
                    .unwrap()
            })
            .into();
        let mut asks = all.next(ids[0]).unwrap();
        let mut other = all.next(ids[2]).unwrap();
        all.shut_down(9, "spindown");
        let said = serde_json::to_value(asks.try_recv().unwrap()).unwrap();
        assert_eq!(
            said,
            serde_json::json!({ "eventType": "SHUTDOWN", "deadlineMs": 9, "shutdownReason": "spindown" })
        );
        assert!(other.try_recv().is_err(), "it did not want to know");
        // The one that was at work is told when it asks.
        assert!(matches!(
            all.next(ids[1]).unwrap().try_recv(),
            Ok(Event::Shutdown { .. })
        ));
        assert!(!all.left());
        let _again = all.next(ids[0]).unwrap();
        assert!(!all.left());
        all.ended(Some("ends"));
        assert!(all.left() && !all.runtime_gone());
        all.ended(None);
        assert!(all.runtime_gone());
    }

    #[test]
    fn an_event_is_not_lost_with_a_connection() {
        let mut all = Extensions::default();
        let id = all.register("inside", wants(&["INVOKE"])).unwrap();
        drop(all.next(id).unwrap());
        assert!(!all.idle());
        all.invoke(&invocation());
        assert!(matches!(all.next(id).unwrap().try_recv(), Ok(Event::Invoke { .. })));
        let mut told = all.next(id).unwrap();
        all.invoke(&invocation());
        let unread = told.try_recv().unwrap();
        let mut again = all.next(id).unwrap();
        all.take_back(id, unread);
        assert!(again.try_recv().is_ok(), "it asked before that was seen");
    }
}
