//! What a person is told: the server's log, a ring of the last alerts in memory, and whoever follows.
//!
//! The ring is not kept on disk: the log is, by whoever keeps logs on this host, and each alert is a line of it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use functions::{FunctionName, Runtime};
use serde::Serialize;
use tokio::sync::broadcast;

use super::event::Kind;
use super::rules::{Action, Severity};

/// Alerts that are kept.
const KEPT: usize = 1000;
/// Alerts that a follower may be behind before it misses some.
const AHEAD: usize = 256;

/// One time that a rule applied.
#[derive(Clone, Debug, Serialize)]
pub struct Alert {
    /// When it was judged.
    pub time: jiff::Timestamp,
    /// Its number since the server started, from 1.
    pub number: u64,
    /// The rule.
    pub rule: String,
    /// How much it matters.
    pub severity: Severity,
    /// What the rule asks for.
    pub action: Action,
    /// What was done in fact: `told`, `killed`, `quarantined`, or `gone` where the instance had ended.
    pub done: &'static str,
    /// The function.
    pub function: FunctionName,
    /// What runs it.
    pub runtime: Runtime,
    /// The process of the instance, or its number while it starts, as in `fn logs`; `None` where it is gone or there was none.
    pub instance: Option<String>,
    /// What kind of event it was.
    pub event: Kind,
    /// What happened, one printable line. Part of it may be text that the function wrote: it is a hint, and no proof.
    pub detail: String,
    /// How many of the same rule and function were not told before this one, because there were too many.
    pub untold: u64,
}

/// The last alerts. Clones share them.
#[derive(Clone, Debug)]
pub struct Alerts {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    ring: Mutex<Ring>,
    followers: broadcast::Sender<Arc<Alert>>,
}

#[derive(Debug, Default)]
struct Ring {
    last: u64,
    kept: VecDeque<Arc<Alert>>,
}

impl Default for Alerts {
    fn default() -> Self {
        Self {
            shared: Arc::new(Shared {
                ring: Mutex::default(),
                followers: broadcast::channel(AHEAD).0,
            }),
        }
    }
}

impl Alerts {
    /// The last ones, the oldest first, and what comes after them.
    pub fn follow(&self) -> (Vec<Arc<Alert>>, broadcast::Receiver<Arc<Alert>>) {
        let ring = self.shared.ring.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock, so that none is missed and none comes twice.
        (ring.kept.iter().cloned().collect(), self.shared.followers.subscribe())
    }

    /// Tells it, under the next number.
    pub(super) fn tell(&self, mut alert: Alert) {
        let mut ring = self.shared.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.last += 1;
        alert.number = ring.last;
        write_down(&alert);
        let alert = Arc::new(alert);
        if ring.kept.len() == KEPT {
            ring.kept.pop_front();
        }
        ring.kept.push_back(alert.clone());
        // Nobody follows, mostly.
        let _followers = self.shared.followers.send(alert);
    }
}

fn write_down(alert: &Alert) {
    let Alert {
        rule,
        function,
        detail,
        done,
        untold,
        ..
    } = alert;
    let (severity, event) = (alert.severity.as_str(), alert.event.as_str());
    let instance = alert.instance.as_deref().unwrap_or("-");
    match alert.severity {
        Severity::Notice => {
            tracing::info!(target: "fn_alert", rule, severity, %function, instance, event, done, untold, "{detail}");
        }
        Severity::Warning => {
            tracing::warn!(target: "fn_alert", rule, severity, %function, instance, event, done, untold, "{detail}");
        }
        Severity::Critical => {
            tracing::error!(target: "fn_alert", rule, severity, %function, instance, event, done, untold, "{detail}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert() -> Alert {
        Alert {
            time: jiff::Timestamp::UNIX_EPOCH,
            number: 0,
            rule: "shell-in-function".into(),
            severity: Severity::Warning,
            action: Action::Alert,
            done: "told",
            function: "hello".parse().unwrap(),
            runtime: Runtime::Python,
            instance: None,
            event: Kind::Exec,
            detail: "executed /bin/sh".into(),
            untold: 0,
        }
    }

    #[test]
    fn the_last_ones_are_kept_and_followers_get_what_comes() {
        let alerts = Alerts::default();
        for _ in 0..KEPT + 5 {
            alerts.tell(alert());
        }
        let (kept, mut coming) = alerts.follow();
        assert_eq!((kept.len(), kept[0].number), (KEPT, 6));
        alerts.tell(alert());
        assert_eq!(coming.try_recv().unwrap().number, kept.last().unwrap().number + 1);
    }

    #[test]
    fn a_follower_that_sleeps_stops_nobody() {
        let alerts = Alerts::default();
        let (_, mut coming) = alerts.follow();
        for _ in 0..AHEAD * 2 {
            alerts.tell(alert());
        }
        assert!(matches!(
            coming.try_recv(),
            Err(broadcast::error::TryRecvError::Lagged(_))
        ));
    }
}
