//! The right to answer an invocation. Whoever called is told something in any case: dropping it says that the answer broke off.

use functions::wire::Failure;
use tokio::sync::oneshot;

use super::{Answer, TRUNCATED};

/// See the module's head.
#[derive(Debug)]
pub(super) struct Answering {
    /// Taken by the answer.
    caller: Option<oneshot::Sender<Answer>>,
}

impl Answering {
    pub(super) fn new(caller: oneshot::Sender<Answer>) -> Self {
        Self { caller: Some(caller) }
    }

    /// Says it. Who called may have left.
    pub(super) fn say(mut self, answer: Answer) {
        self.tell(answer);
    }

    fn tell(&mut self, answer: Answer) {
        if let Some(caller) = self.caller.take() {
            let _told = caller.send(answer);
        }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.tell(Answer::Failed(broken_off()));
    }
}

/// The failure of an answer that broke off.
pub(super) fn broken_off() -> Failure {
    Failure {
        error_message: "the response broke off".to_owned(),
        error_type: TRUNCATED.to_owned(),
        stack_trace: Vec::new(),
    }
}
