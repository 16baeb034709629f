//! The one way to wait: look again and again until it is so, and never longer than it may take.

use std::time::{Duration, Instant};

/// How long most things may take: far more than they need, because the machine may be busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How long to leave the machine alone between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Looks until `look` returns something. Panics with `what` when it does not within [`PATIENCE`].
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(
            Instant::now() < deadline,
            "expected within {PATIENCE:?}, and not seen: {what}"
        );
        tokio::time::sleep(PAUSE).await;
    }
}

/// The same for code that can't be async: a drop.
pub(crate) fn until_blocking<T>(patience: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + patience;
    loop {
        let seen = look();
        if seen.is_some() || Instant::now() > deadline {
            return seen;
        }
        std::thread::sleep(PAUSE);
    }
}
