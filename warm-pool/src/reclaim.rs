//! When and how the memory of instances that stand still is given back to the host.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use functions::Span;
use functions::span::SpanError;
use tokio::sync::Semaphore;

use crate::driver::launcher::Launcher;
use crate::instance::Instance;

/// How long the memory of a frozen instance is kept after its last call, at most. By default five minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reclaim {
    /// So long. It is given back earlier where the calls of the function are known to be far apart.
    After(Duration),
    /// For as long as the instance stays.
    Never,
}

impl Reclaim {
    pub(crate) fn after(self) -> Option<Duration> {
        match self {
            Reclaim::After(time) => Some(time),
            Reclaim::Never => None,
        }
    }
}

impl Default for Reclaim {
    fn default() -> Reclaim {
        Reclaim::After(Duration::from_secs(5 * 60))
    }
}

impl FromStr for Reclaim {
    type Err = SpanError;

    /// A duration such as `5m`, or `never`.
    fn from_str(text: &str) -> Result<Reclaim, SpanError> {
        match text {
            "never" => Ok(Reclaim::Never),
            span => span.parse::<Span>().map(|span| Reclaim::After(span.duration())),
        }
    }
}

/// Carries it out: one instance at a time, as all of them wait for the same disk.
#[derive(Clone)]
pub(crate) struct Reclaimer {
    turns: Arc<Semaphore>,
    launcher: Arc<dyn Launcher>,
}

impl Reclaimer {
    pub(crate) fn new(launcher: Arc<dyn Launcher>) -> Reclaimer {
        Reclaimer {
            turns: Arc::new(Semaphore::new(1)),
            launcher,
        }
    }

    /// Gives back what an instance holds that was frozen in `turn`, and returns the bytes; `None` if it still holds it, or was thawed.
    pub(crate) async fn reclaim(&self, instance: Arc<Instance>, turn: u64) -> Option<u64> {
        let alone = self.turns.clone().acquire_owned().await.ok()?;
        let launcher = self.launcher.clone();
        let reclaimed = tokio::task::spawn_blocking(move || {
            let _alone = alone;
            let reclaimed = instance.reclaim(turn, launcher.memory());
            reclaimed.unwrap_or_else(|error| {
                tracing::debug!(function = %instance.revision.name, %error, "the memory of an instance could not be given back");
                None
            })
        });
        reclaimed.await.ok().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_duration_or_never() {
        assert_eq!("90s".parse(), Ok(Reclaim::After(Duration::from_secs(90))));
        assert_eq!("never".parse(), Ok(Reclaim::Never));
        assert!("90".parse::<Reclaim>().unwrap_err().to_string().contains("90s"));
        assert!("sometimes".parse::<Reclaim>().is_err());
        assert_eq!(Reclaim::default().after(), Some(Duration::from_secs(300)));
    }
}
