//! What a runtime and its extensions have asked for, what they were given, and what they may say next.
//!
//! An invocation is handed over when the runtime asks and every extension waits for an event; with that the start is over as well. With a
//! `concurrency` above 1 extensions get no invocations, and nobody waits for them once the start is over.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use functions::wire::Failure;
use tokio::sync::{oneshot, watch};
use uuid::Uuid;

use super::extensions::{Denial, Event, Extensions, Wants};
use super::question::Question;
use super::reply::Answering;
use super::{Answer, Invocation};

/// Ids of invocations that are over, so that a second answer is told from one that nobody asked for.
const REMEMBERED: usize = 8;

/// How long an instance with extensions has between the news of its end and the kill. Lambda's own bound.
const FAREWELL: Duration = Duration::from_secs(2);
/// How much of that its runtime has for itself. Lambda's own bound.
const FAREWELL_OF_THE_RUNTIME: Duration = Duration::from_millis(300);

/// A request that can't be granted, by its name in the Runtime API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// Not now.
    #[error("this request is not allowed in the state that the runtime is in")]
    State,
    /// There is no such invocation.
    #[error("no invocation has this id")]
    Id,
}

/// See the module's head. Shared by the server and the channels of one instance.
#[derive(Debug)]
pub(crate) struct Desk {
    /// Invocations that the runtime may have at a time.
    most: usize,
    start: watch::Sender<Start>,
    state: Mutex<State>,
    /// Says that the state of extensions has changed.
    changes: watch::Sender<()>,
}

/// Why an instance ends, in the words of the Extensions API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// It is not needed any more.
    Spindown,
    /// An invocation ran out of time.
    Timeout,
    /// It is broken.
    Failure,
}

impl Reason {
    fn as_str(self) -> &'static str {
        match self {
            Reason::Spindown => "spindown",
            Reason::Timeout => "timeout",
            Reason::Failure => "failure",
        }
    }
}

/// How far the start is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Start {
    /// The runtime has not asked for an invocation yet.
    Initialising,
    /// It has.
    Ready,
    /// It says that it will not.
    Failed(Failure),
}

#[derive(Debug, Default)]
struct State {
    /// Requests for an invocation that wait for one.
    asking: VecDeque<oneshot::Sender<Invocation>>,
    /// The runtime has asked.
    asked: bool,
    /// Invocations that wait to be asked for.
    queued: VecDeque<Invocation>,
    /// Whom to tell.
    open: HashMap<String, oneshot::Sender<Answer>>,
    /// Those of `open` that the runtime has.
    given: Vec<String>,
    over: VecDeque<String>,
    /// The invocation that the extensions were told of last.
    heard: Option<String>,
    extensions: Extensions,
    /// Why no invocation will be answered any more.
    crash: Option<Failure>,
    /// The instance is about to end.
    ending: Option<Reason>,
}

impl State {
    /// Brings together what waits for each other.
    fn settle(&mut self) {
        let open = &mut self.open;
        self.queued.retain(|invocation| {
            let wanted = open.get(&invocation.id).is_some_and(|answer| !answer.is_closed());
            if !wanted {
                open.remove(&invocation.id);
            }
            wanted
        });
        while let Some(invocation) = self.queued.pop_front() {
            let Some(asking) = self.asking.pop_front() else {
                self.queued.push_front(invocation);
                return;
            };
            // Nobody is told of what nobody has asked for.
            if asking.is_closed() {
                self.queued.push_front(invocation);
                continue;
            }
            let id = invocation.id.clone();
            // Who asks may leave with it, and then the next one gets it.
            if self.heard.as_ref() != Some(&id) {
                self.extensions.invoke(&invocation);
                self.heard = Some(id.clone());
            }
            match asking.send(invocation) {
                Ok(()) => self.given.push(id),
                Err(invocation) => self.queued.push_front(invocation),
            }
        }
    }
}

impl Desk {
    pub(crate) fn new(most: u8) -> Desk {
        Desk {
            most: most.into(),
            start: watch::Sender::new(Start::Initialising),
            state: Mutex::default(),
            changes: watch::Sender::default(),
        }
    }

    /// Waits until the runtime asks for its first invocation and its extensions for their first event, or one says that it never will.
    pub(crate) async fn started(&self) -> Result<(), Failure> {
        let mut start = self.start.subscribe();
        match start.wait_for(|start| *start != Start::Initialising).await.as_deref() {
            Ok(Start::Failed(failure)) => Err(failure.clone()),
            // The sender is in the desk itself.
            _ => Ok(()),
        }
    }

    /// Hands an invocation to the runtime as soon as it asks. A receiver that is dropped calls that off, unless it was handed over.
    pub(crate) fn call(&self, invocation: Invocation) -> oneshot::Receiver<Answer> {
        let (answer, answered) = oneshot::channel();
        let mut state = self.lock();
        if let Some(failure) = &state.crash {
            // The other half is in our hand.
            let _told = answer.send(Answer::Crashed(failure.clone()));
            return answered;
        }
        state.open.insert(invocation.id.clone(), answer);
        state.queued.push_back(invocation);
        self.settle(&mut state);
        answered
    }

    /// Whether nothing is known of an invocation any more.
    pub(crate) fn is_over(&self, id: &str) -> bool {
        !self.lock().open.contains_key(id)
    }

    /// The runtime asks for an invocation. One that it leaves without goes to the next question.
    pub(super) fn next(&self) -> Result<Question<'_, Invocation>, Refusal> {
        let (give, given) = oneshot::channel();
        let mut state = self.lock();
        state.asking.retain(|asking| !asking.is_closed());
        if state.asking.len() + state.given.len() >= self.most {
            return Err(Refusal::State);
        }
        state.asking.push_back(give);
        state.asked = true;
        self.settle(&mut state);
        Ok(Question::new(given, |invocation| self.take_back(invocation)))
    }

    fn take_back(&self, invocation: Invocation) {
        let mut state = self.lock();
        state.given.retain(|given| *given != invocation.id);
        state.queued.push_front(invocation);
        self.settle(&mut state);
    }

    /// The runtime is about to answer: from here on it is the only one that does, and whoever called is told by what is returned.
    pub(super) fn answer(&self, id: &str) -> Result<Answering, Refusal> {
        let mut state = self.lock();
        let Some(at) = state.given.iter().position(|given| given == id) else {
            let twice = state.over.iter().any(|over| over == id);
            let early = *self.start.borrow() != Start::Ready;
            return Err(if twice || early { Refusal::State } else { Refusal::Id });
        };
        state.given.swap_remove(at);
        state.over.push_back(id.to_owned());
        if state.over.len() > REMEMBERED {
            state.over.pop_front();
        }
        state.open.remove(id).map(Answering::new).ok_or(Refusal::Id)
    }

    /// The runtime says that it can't start.
    pub(super) fn fail(&self, failure: Failure) -> Result<(), Refusal> {
        match self.begin(Start::Failed(failure)) {
            true => Ok(()),
            false => Err(Refusal::State),
        }
    }

    /// Takes note of the extensions that are about to be started.
    pub(super) fn announce(&self, names: Vec<String>) -> Result<(), Denial> {
        self.change(|state| state.extensions.announce(names))
    }

    /// Waits until all of those have registered, or one has failed.
    pub(super) async fn registered(&self) {
        self.until(|state| state.extensions.registered() || state.crash.is_some())
            .await;
    }

    /// An extension makes itself known.
    pub(super) fn register(&self, name: &str, events: &[String]) -> Result<Uuid, Denial> {
        let wants = Wants::read(events)?;
        if wants.invoke && self.most > 1 {
            return Err(Denial::Event);
        }
        self.change(|state| state.extensions.register(name, wants))
    }

    /// An extension asks for an event. One that it leaves without goes to its next question.
    pub(super) fn next_event(&self, id: Uuid) -> Result<Question<'_, Event>, Denial> {
        let told = self.change(|state| state.extensions.next(id))?;
        Ok(Question::new(told, move |event| {
            self.change(|state| state.extensions.take_back(id, event));
        }))
    }

    /// An extension says that it can't go on. `kind` is what it calls that, `of` what the platform does.
    pub(super) fn give_up(&self, id: Uuid, of: &str, kind: &str) -> Result<(), Denial> {
        let name = self.change(|state| state.extensions.give_up(id))?;
        self.crash(of, format!("the extension {name} says {kind}"));
        Ok(())
    }

    /// The process of an extension has ended, or with `None` that of the runtime.
    pub(super) fn ended(&self, name: Option<&str>, how: &str) {
        let ending = self.change(|state| {
            state.extensions.ended(name);
            state.ending.is_some()
        });
        if let Some(name) = name
            && !ending
        {
            self.crash("Extension.Crash", format!("the extension {name} ended: {how}"));
        }
    }

    /// Waits until the instance is about to end, and says why.
    pub(super) async fn ending(&self) -> Reason {
        self.until(|state| state.ending.is_some()).await;
        self.lock().ending.unwrap_or(Reason::Spindown)
    }

    /// Whether there is an extension that is given time before the instance is killed.
    pub(crate) fn takes_leave(&self) -> bool {
        self.lock().extensions.any_external()
    }

    /// Tells the runtime and the extensions that the instance ends, and waits until they are done with that, at most two seconds.
    pub(crate) async fn take_leave(&self, reason: Reason) {
        self.change(|state| state.ending = Some(reason));
        let deadline = (SystemTime::now() + FAREWELL).duration_since(UNIX_EPOCH);
        let deadline = deadline.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
        let leave = async {
            let runtime = self.until(|state| state.extensions.runtime_gone());
            let _late = tokio::time::timeout(FAREWELL_OF_THE_RUNTIME, runtime).await;
            self.change(|state| state.extensions.shut_down(deadline, reason.as_str()));
            self.until(|state| state.extensions.left()).await;
        };
        let _late = tokio::time::timeout(FAREWELL, leave).await;
    }

    /// Nothing that is asked of this instance will be answered any more.
    fn crash(&self, kind: &str, message: String) {
        let failure = Failure {
            error_message: message,
            error_type: kind.to_owned(),
            stack_trace: Vec::new(),
        };
        self.begin(Start::Failed(failure.clone()));
        let open = self.change(|state| {
            state.crash.get_or_insert_with(|| failure.clone());
            state.queued.clear();
            state.given.clear();
            std::mem::take(&mut state.open)
        });
        for (_, answer) in open {
            // Who called may have left.
            let _told = answer.send(Answer::Crashed(failure.clone()));
        }
    }

    fn settle(&self, state: &mut State) {
        let idle = state.extensions.idle();
        if state.asked && idle && self.begin(Start::Ready) {
            state.extensions.close();
        }
        if *self.start.borrow() == Start::Ready && (idle || self.most > 1) {
            state.settle();
        }
    }

    /// Changes the state, and wakes whoever waits for that.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let changed = change(&mut state);
        self.settle(&mut state);
        drop(state);
        self.changes.send_replace(());
        changed
    }

    async fn until(&self, so: impl Fn(&State) -> bool) {
        let mut changes = self.changes.subscribe();
        while !so(&self.lock()) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Ends the start, if it has not ended.
    fn begin(&self, with: Start) -> bool {
        self.start.send_if_modified(|start| {
            let initialising = *start == Start::Initialising;
            if initialising {
                *start = with;
            }
            initialising
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics under the lock")
    }
}
