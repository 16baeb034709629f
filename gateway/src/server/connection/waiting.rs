//! How long a connection waits for a request.
//!
//! ```text
//!   new --a byte--> head --the whole head--> (serving) --replied--> idle --a byte--> head
//! ```
//!
//! A new connection and a head that has begun have the head's time, an idle connection the longer one.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::server::ConnectionLimits;

/// See the module's head. One timer for the whole life of a connection.
#[derive(Debug)]
pub(super) struct Waiting {
    head: Duration,
    idle: Duration,
    phase: Phase,
    timer: Option<Pin<Box<Sleep>>>,
    over: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing is waited for, or the timer was not set for it yet.
    Unset { served: bool },
    /// The timer runs for a head, or for the first byte of a connection.
    Head,
    /// The timer runs for the first byte of another head.
    Idle,
}

impl Waiting {
    pub(super) fn new(limits: &ConnectionLimits) -> Self {
        Self {
            head: limits.head_timeout,
            idle: limits.idle_timeout,
            phase: Phase::Unset { served: false },
            timer: None,
            over: false,
        }
    }

    /// A reply was written: another request may come.
    pub(super) fn replied(&mut self) {
        self.phase = Phase::Unset { served: true };
    }

    /// Whether the time was over.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// To be asked whenever nothing can be read; `begun` says whether a byte of the head has come. Ready, with the error for the
    /// reader, when the time is over.
    pub(super) fn poll(&mut self, begun: bool, context: &mut Context<'_>) -> Poll<io::Error> {
        let wanted = match self.phase {
            _ if begun => Phase::Head,
            Phase::Unset { served: true } | Phase::Idle => Phase::Idle,
            Phase::Unset { served: false } | Phase::Head => Phase::Head,
        };
        if wanted != self.phase {
            self.phase = wanted;
            let until = Instant::now() + if wanted == Phase::Idle { self.idle } else { self.head };
            match &mut self.timer {
                Some(timer) => timer.as_mut().reset(until),
                None => self.timer = Some(Box::pin(tokio::time::sleep_until(until))),
            }
        }
        let Some(timer) = &mut self.timer else {
            return Poll::Pending;
        };
        timer.as_mut().poll(context).map(|()| {
            self.over = true;
            io::Error::new(io::ErrorKind::TimedOut, "no request came in time")
        })
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const NONE: Duration = Duration::ZERO;
    const LONG: Duration = Duration::from_secs(3600);

    fn waiting(head_timeout: Duration, idle_timeout: Duration) -> Waiting {
        Waiting::new(&ConnectionLimits {
            head_timeout,
            idle_timeout,
            ..ConnectionLimits::default()
        })
    }

    async fn ends(mut waiting: Waiting, begun: bool) {
        let error = poll_fn(|context| waiting.poll(begun, context)).await;
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(waiting.is_over());
    }

    async fn goes_on(waiting: &mut Waiting, begun: bool) {
        let once = poll_fn(|context| Poll::Ready(waiting.poll(begun, context).is_pending())).await;
        assert!(once && !waiting.is_over());
    }

    #[tokio::test]
    async fn a_new_connection_has_the_time_of_a_head() {
        goes_on(&mut waiting(LONG, NONE), false).await;
        goes_on(&mut waiting(LONG, NONE), true).await;
        ends(waiting(NONE, LONG), false).await;
    }

    #[tokio::test]
    async fn an_idle_one_has_its_own_until_a_head_begins() {
        let mut idle = waiting(NONE, LONG);
        idle.replied();
        goes_on(&mut idle, false).await;
        goes_on(&mut idle, false).await;
        ends(idle, true).await;

        let mut idle = waiting(LONG, NONE);
        idle.replied();
        goes_on(&mut idle, true).await;
        idle.replied();
        ends(idle, false).await;
    }
}
