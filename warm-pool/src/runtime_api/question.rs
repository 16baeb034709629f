//! A request that waits for what it is given, and gives it back when it leaves before it has read it.
//!
//! A connection may close in the moment in which something was handed to it. Dropping a question then puts that back, and the next question
//! gets it; so it is neither lost nor given twice.

use std::fmt;

use tokio::sync::oneshot;

/// See the module's head.
pub(super) struct Question<'a, T> {
    given: oneshot::Receiver<T>,
    back: Box<dyn FnMut(T) + Send + 'a>,
}

impl<'a, T> Question<'a, T> {
    /// `back` is called with what was given and not read.
    pub(super) fn new(given: oneshot::Receiver<T>, back: impl FnMut(T) + Send + 'a) -> Self {
        Self {
            given,
            back: Box::new(back),
        }
    }

    /// Waits. `None`: nothing will ever be given. Cancel safe.
    pub(super) async fn given(&mut self) -> Option<T> {
        (&mut self.given).await.ok()
    }

    /// What was given by now, if anything.
    #[cfg(test)]
    pub(super) fn by_now(&mut self) -> Option<T> {
        self.given.try_recv().ok()
    }
}

impl<T> Drop for Question<'_, T> {
    fn drop(&mut self) {
        self.given.close();
        if let Ok(unread) = self.given.try_recv() {
            (self.back)(unread);
        }
    }
}

impl<T> fmt::Debug for Question<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question").finish_non_exhaustive()
    }
}
