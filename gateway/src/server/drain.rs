//! How the server stops.
//!
//! ```text
//! open --first signal--> begun --last connection ends--> done
//!                          |
//!                          +--second signal, or the bound--> cut: connections are dropped, and with them their requests
//! ```
//!
//! A [`Drain`] is a handle; all clones are one drain. Dropping a handle does nothing.

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The state of stopping, shared by listeners and connections.
#[derive(Clone, Debug, Default)]
pub struct Drain {
    begin: CancellationToken,
    cut: CancellationToken,
    tasks: TaskTracker,
}

impl Drain {
    /// An open drain: nothing stops yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins: listeners stop, idle connections close, busy ones close after their reply.
    pub fn begin(&self) {
        self.begin.cancel();
        self.tasks.close();
    }

    /// Cuts: what is still in flight is dropped.
    pub fn cut(&self) {
        self.begin();
        self.cut.cancel();
    }

    /// Whether it has begun.
    pub fn is_begun(&self) -> bool {
        self.begin.is_cancelled()
    }

    /// Resolves when it has begun.
    pub async fn begun(&self) {
        self.begin.cancelled().await;
    }

    /// Resolves when everything is to be dropped.
    pub async fn is_cut(&self) {
        self.cut.cancelled().await;
    }

    /// Waits until the last task has ended, at most `bound`; then cuts. Call after [`Drain::begin`]. Says how many were cut.
    pub async fn finish(&self, bound: Duration) -> usize {
        let finished = tokio::time::timeout(bound, self.tasks.wait());
        let left = tokio::select! {
            result = finished => if result.is_ok() { 0 } else { self.tasks.len() },
            () = self.is_cut() => self.tasks.len(),
        };
        self.cut();
        self.tasks.wait().await;
        left
    }

    /// Runs a connection, or a call that has none, as a task that [`Drain::finish`] waits for. It has to end soon after the cut.
    pub(crate) fn track(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }
}

/// Lets SIGTERM and SIGINT drive a drain: the first begins it, the second cuts it. The task ends with the second signal or with the process.
pub fn signals(drain: Drain) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        for step in [Drain::begin, Drain::cut] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            step(&drain);
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_finished_drain_cut_nothing() {
        let drain = Drain::new();
        let task = drain.clone();
        drain.track(async move { task.begun().await });
        drain.begin();
        assert_eq!(drain.finish(Duration::from_secs(60)).await, 0);
    }

    #[tokio::test]
    async fn the_bound_cuts_what_is_left() {
        let drain = Drain::new();
        let task = drain.clone();
        drain.track(async move { task.is_cut().await });
        drain.begin();
        assert_eq!(drain.finish(Duration::ZERO).await, 1);
    }

    #[tokio::test]
    async fn a_second_signal_does_not_wait_for_the_bound() {
        let drain = Drain::new();
        let task = drain.clone();
        drain.track(async move { task.is_cut().await });
        drain.begin();
        let other = drain.clone();
        tokio::spawn(async move { other.cut() });
        drain.finish(Duration::from_secs(3600)).await;
    }
}
