//! What a runtime has asked for, what it was given, and what it may say next.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard};

use functions::wire::Failure;
use tokio::sync::{oneshot, watch};

use super::{Answer, Invocation};

/// Ids of invocations that are over, so that a second answer is told from one that nobody asked for.
const REMEMBERED: usize = 8;

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
    /// Invocations that wait to be asked for.
    queued: VecDeque<Invocation>,
    /// Whom to tell.
    open: HashMap<String, oneshot::Sender<Answer>>,
    /// Those of `open` that the runtime has.
    given: Vec<String>,
    over: VecDeque<String>,
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
            let id = invocation.id.clone();
            match asking.send(invocation) {
                Ok(()) => self.given.push(id),
                // Who asked has left, and the next one gets it.
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
        }
    }

    /// Waits until the runtime asks for its first invocation, or says that it never will.
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
        state.open.insert(invocation.id.clone(), answer);
        state.queued.push_back(invocation);
        state.settle();
        answered
    }

    /// Whether nothing is known of an invocation any more.
    pub(crate) fn is_over(&self, id: &str) -> bool {
        !self.lock().open.contains_key(id)
    }

    /// The runtime asks for an invocation.
    pub(super) fn next(&self) -> Result<oneshot::Receiver<Invocation>, Refusal> {
        let (give, given) = oneshot::channel();
        let mut state = self.lock();
        state.asking.retain(|asking| !asking.is_closed());
        if state.asking.len() + state.given.len() >= self.most {
            return Err(Refusal::State);
        }
        state.asking.push_back(give);
        state.settle();
        drop(state);
        self.begin(Start::Ready);
        Ok(given)
    }

    /// The runtime is about to answer: from here on it is the only one that does, and whoever called is told by what is returned.
    pub(super) fn answer(&self, id: &str) -> Result<oneshot::Sender<Answer>, Refusal> {
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
        state.open.remove(id).ok_or(Refusal::Id)
    }

    /// The runtime says that it can't start.
    pub(super) fn fail(&self, failure: Failure) -> Result<(), Refusal> {
        match self.begin(Start::Failed(failure)) {
            true => Ok(()),
            false => Err(Refusal::State),
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
