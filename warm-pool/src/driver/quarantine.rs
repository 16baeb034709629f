//! Keeps instances that a rule has put aside: stopped where they stand, until somebody has had time to look.
//!
//! ```text
//!  condemned --frozen--> kept --[`KEPT_FOR`], one too many, shutdown--> killed
//!        \--can't be frozen--> killed
//! ```
//!
//! It holds memory of the host and nothing else: a kept instance has no call and no place on its shelf.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::instance::Instance;

/// How long an instance is kept.
pub const KEPT_FOR: Duration = Duration::from_secs(10 * 60);
/// Instances that are kept at one time, over all functions. One more lets the oldest go.
pub const MOST_KEPT: usize = 4;

/// See the module's head.
#[derive(Default)]
pub(crate) struct Quarantine {
    /// Ends the time of each that is kept, the oldest first.
    kept: Mutex<VecDeque<CancellationToken>>,
}

impl Quarantine {
    /// Keeps `instance` for its time. When this returns nothing of it should run any more: the caller kills it.
    pub(crate) async fn keep(&self, instance: &Arc<Instance>) {
        let stopped = {
            let instance = instance.clone();
            // It may have to wait for the kernel, which makes and removes cgroups one after the other.
            tokio::task::spawn_blocking(move || instance.freeze(u64::MAX)).await
        };
        if !matches!(stopped, Ok(Ok(true))) {
            tracing::warn!(function = %instance.revision.name, "an instance can't be stopped here, so it is killed and not kept");
            return;
        }
        let over = self.admit();
        tokio::select! {
            () = over.cancelled() => {}
            () = tokio::time::sleep(KEPT_FOR) => {}
            _ = instance.body.gone() => {}
        }
        over.cancel();
    }

    fn admit(&self) -> CancellationToken {
        let over = CancellationToken::new();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|other| !other.is_cancelled());
        if kept.len() == MOST_KEPT
            && let Some(oldest) = kept.pop_front()
        {
            oldest.cancel();
        }
        kept.push_back(over.clone());
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_too_many_lets_the_oldest_go() {
        let quarantine = Quarantine::default();
        let kept: Vec<_> = (0..MOST_KEPT + 2).map(|_| quarantine.admit()).collect();
        let over: Vec<bool> = kept.iter().map(CancellationToken::is_cancelled).collect();
        assert_eq!(over, [true, true, false, false, false, false]);
        kept[3].cancel();
        assert!(!quarantine.admit().is_cancelled() && !kept[2].is_cancelled());
    }
}
