//! Ctrl-C during a test run ends the tests, not the tool that has to clean up after them.
//!
//! The terminal sends the signal to cargo and the tests as well, and those end by it; we only remember it and look after each step.
//! A drop does not bring the default action back: the tool ends right after.

use std::cell::RefCell;

use anyhow::{Result, bail};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that ask for an end, remembered.
pub(super) struct Signals {
    runtime: Runtime,
    asked: RefCell<Vec<Signal>>,
}

impl Signals {
    /// From now on they no longer end this process; `stop_if_asked` tells of them.
    pub(super) fn remember() -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let entered = runtime.enter();
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let asked = kinds.into_iter().map(signal).collect::<Result<_, _>>()?;
        drop(entered);
        Ok(Self {
            runtime,
            asked: RefCell::new(asked),
        })
    }

    /// An error when an end was asked for: it unwinds through everything that is to be removed.
    pub(super) fn stop_if_asked(&self) -> Result<()> {
        let mut asked = self.asked.borrow_mut();
        let one_came = self.runtime.block_on(async {
            // The runtime hears of signals when it has nothing else to do.
            tokio::task::yield_now().await;
            std::future::poll_fn(|context| {
                std::task::Poll::Ready(asked.iter_mut().any(|signal| signal.poll_recv(context).is_ready()))
            })
            .await
        });
        if one_came {
            bail!("interrupted");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::Program;

    #[test]
    fn a_signal_is_remembered_once_and_not_inherited() {
        let signals = Signals::remember().unwrap();
        assert!(signals.stop_if_asked().is_ok());
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGHUP).unwrap();
        assert!(signals.stop_if_asked().is_err());
        assert!(signals.stop_if_asked().is_ok());
        let ended = Program::new("sh")
            .args(["-c", "kill -HUP $$; exit 0"])
            .finish()
            .unwrap();
        assert!(
            !ended.status.success(),
            "a program we start should still end by the signal"
        );
    }
}
