//! Waits for an instant with microseconds of error.
//!
//! The timers of the event loop have a resolution of one millisecond, more than a whole warm call; the kernel's timer
//! descriptors don't. A pacer owns one descriptor; dropping a wait leaves the timer armed, and the next wait re-arms it.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;

/// One timer.
#[derive(Debug)]
pub(crate) struct Pacer {
    timer: AsyncFd<OwnedFd>,
}

impl Pacer {
    /// Makes a timer; must be called inside the event loop.
    pub(crate) fn new() -> io::Result<Self> {
        let timer = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe; an owned descriptor keeps what that one asks for"
        )]
        Ok(Self {
            timer: AsyncFd::new(timer)?,
        })
    }

    /// Returns at `at` or as soon after it as the kernel allows; at once when `at` has passed, but other tasks run first.
    pub(crate) async fn until(&mut self, at: Instant) -> io::Result<()> {
        let wait = at.saturating_duration_since(Instant::now());
        if wait.is_zero() {
            tokio::task::yield_now().await;
            return Ok(());
        }
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let value = Timespec {
            tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(wait.subsec_nanos()),
        };
        timerfd_settime(
            self.timer.get_ref(),
            TimerfdTimerFlags::empty(),
            &Itimerspec {
                it_interval: zero,
                it_value: value,
            },
        )?;
        loop {
            let mut ready = self.timer.readable().await?;
            let mut expirations = [0; 8];
            match ready.try_io(|timer| Ok(rustix::io::read(timer.get_ref(), &mut expirations)?)) {
                Ok(read) => return read.map(drop),
                Err(_would_block) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn never_returns_early() {
        let mut pacer = Pacer::new().unwrap();
        for micros in [0, 50, 3000] {
            let at = Instant::now() + Duration::from_micros(micros);
            pacer.until(at).await.unwrap();
            assert!(Instant::now() >= at);
        }
    }
}
