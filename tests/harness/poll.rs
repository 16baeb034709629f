//! The one way to wait: look again and again until it is so, and never longer than it may take.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// How long most things may take: far more than they need, because the machine may be busy with other tests. Where the processors are
/// emulated, `$FN_TEST_PATIENCE` says how many times as long.
static PATIENCE: LazyLock<Duration> = LazyLock::new(|| {
    let factor = std::env::var("FN_TEST_PATIENCE").map_or(1, |text| {
        let factor = text.parse::<u32>().ok().filter(|factor| (1..=1000).contains(factor));
        factor.unwrap_or_else(|| panic!("FN_TEST_PATIENCE should be a number from 1 to 1000, and is {text}"))
    });
    Duration::from_secs(60) * factor
});

/// How long a test may wait for one thing.
pub fn patience() -> Duration {
    *PATIENCE
}

/// How long to leave the machine alone between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Looks until `look` returns something. Panics with `what` when it does not within [`patience`].
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience();
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(
            Instant::now() < deadline,
            "expected within {:?}, and not seen: {what}",
            patience()
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
