//! How long a run waits for anything. Time is counted in ticks of its own, not by the clock: when the whole machine or the whole run is stopped
//! for minutes, as a debugger or a measurement may do, that is no hang of the server.

use std::pin::pin;
use std::time::Duration;

/// Longer than a call of the run may take and wait, so that what takes longer hangs.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);
const TICK: Duration = Duration::from_millis(100);
const PAUSE: Duration = Duration::from_millis(10);

/// The outcome, or `None` when there is none after [`PATIENCE`].
pub(super) async fn within<T>(work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    for _ in 0..PATIENCE.as_millis() / TICK.as_millis() {
        if let Ok(outcome) = tokio::time::timeout(TICK, &mut work).await {
            return Some(outcome);
        }
    }
    None
}

/// Looks again and again until it is so. `false` when it is not after [`PATIENCE`].
pub(super) async fn seen(mut look: impl FnMut() -> bool) -> bool {
    let looking = async {
        while !look() {
            tokio::time::sleep(PAUSE).await;
        }
    };
    within(looking).await.is_some()
}
