//! The one deadline of a request: from the arrival of its head, over body, queue and start, to the last byte of its reply.

use std::future::Future;
use std::time::{Duration, Instant};

use jiff::Timestamp;

/// When a request is given up. Set once, on arrival, and handed to every station.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    at: Instant,
    epoch_ms: u64,
}

/// The deadline passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the deadline passed")]
pub struct Passed;

impl Deadline {
    /// `timeout` after an arrival that is known on both clocks.
    pub fn after(arrived: Instant, time: Timestamp, timeout: Duration) -> Self {
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let epoch_ms = u64::try_from(time.as_millisecond()).unwrap_or_default().saturating_add(timeout_ms);
        // A timeout too long for the clock means none that anybody will live to see.
        let at = arrived.checked_add(timeout).unwrap_or_else(|| arrived + Duration::from_secs(u64::from(u32::MAX)));
        Self { at, epoch_ms }
    }

    /// The instant, on the monotonic clock.
    pub fn at(&self) -> Instant {
        self.at
    }

    /// The moment in milliseconds since the Unix epoch, as a function gets it.
    pub fn epoch_ms(&self) -> u64 {
        self.epoch_ms
    }

    /// Runs `future` until the deadline; then it is dropped.
    pub async fn bound<F: Future>(&self, future: F) -> Result<F::Output, Passed> {
        tokio::time::timeout_at(self.at.into(), future).await.map_err(|_| Passed)
    }

    /// Resolves at the deadline.
    pub async fn passed(&self) {
        tokio::time::sleep_until(self.at.into()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_lets_what_is_ready_end_and_drops_what_is_late() {
        let far = Deadline::after(Instant::now(), Timestamp::UNIX_EPOCH, Duration::from_secs(3600));
        assert_eq!(far.epoch_ms(), 3_600_000);
        assert_eq!(far.bound(std::future::ready(7)).await, Ok(7));
        let here = Deadline::after(Instant::now(), Timestamp::UNIX_EPOCH, Duration::ZERO);
        assert_eq!(here.bound(std::future::pending::<()>()).await, Err(Passed));
        // The sum is bounded and not each part: what comes second has no time of its own.
        assert_eq!(here.bound(std::future::pending::<()>()).await, Err(Passed));
        here.passed().await;
    }

    #[test]
    fn an_absurd_timeout_is_no_panic() {
        let deadline = Deadline::after(Instant::now(), Timestamp::MAX, Duration::MAX);
        assert_eq!(deadline.epoch_ms(), u64::MAX);
    }
}
