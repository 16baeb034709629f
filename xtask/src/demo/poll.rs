//! Waits for something that will be so, and never longer than it may take.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long to leave the machine alone between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// Looks until `look` returns something. An error that names `what` when it does not within `patience`.
pub(super) fn until<T>(what: &str, patience: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(seen) = look()? {
            return Ok(seen);
        }
        if Instant::now() > deadline {
            bail!("expected within {patience:?}, and not seen: {what}");
        }
        std::thread::sleep(PAUSE);
    }
}
