//! Signal dispositions.

use nix::sys::signal::{SigAction, SigHandler, Signal, sigaction};

/// Sets the disposition of `signal` to default or ignore.
///
/// # Errors
/// `EINVAL` for SIGKILL and SIGSTOP, and for an action with a handler function.
pub(crate) fn set(signal: Signal, action: &SigAction) -> nix::Result<()> {
    if !matches!(action.handler(), SigHandler::SigDfl | SigHandler::SigIgn) {
        return Err(nix::Error::EINVAL);
    }
    // SAFETY: no handler function is installed, so no code can run in signal context because of this.
    unsafe { sigaction(signal, action) }.map(drop)
}
