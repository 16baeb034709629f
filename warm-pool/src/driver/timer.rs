//! Wakes fleets at the times that their shelves ask for. One task sleeps until the earliest of them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

use tokio::sync::Notify;

use crate::fleet::Fleet;

struct Alarm {
    at: Instant,
    fleet: Weak<Fleet>,
}

impl PartialEq for Alarm {
    fn eq(&self, other: &Alarm) -> bool {
        self.at == other.at
    }
}

impl Eq for Alarm {}

impl PartialOrd for Alarm {
    fn partial_cmp(&self, other: &Alarm) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Alarm {
    fn cmp(&self, other: &Alarm) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

/// The alarms that are set. An alarm that is not needed any more rings all the same, which does no harm; a fleet sets one only when
/// it is earlier than the one it has, so there are few.
#[derive(Default)]
pub(crate) struct Timer {
    alarms: Mutex<BinaryHeap<Reverse<Alarm>>>,
    earlier: Notify,
}

impl Timer {
    /// Ticks `fleet` at `at`, or soon after.
    pub(crate) fn set(&self, at: Instant, fleet: Weak<Fleet>) {
        let mut alarms = self.alarms.lock().expect("nothing panics under the lock");
        let earliest = alarms.peek().is_none_or(|Reverse(first)| at < first.at);
        alarms.push(Reverse(Alarm { at, fleet }));
        drop(alarms);
        if earliest {
            self.earlier.notify_one();
        }
    }

    /// Rings alarms until it is dropped.
    pub(crate) async fn run(self: Arc<Self>) {
        loop {
            let next = {
                let alarms = self.alarms.lock().expect("nothing panics under the lock");
                alarms.peek().map(|Reverse(first)| first.at)
            };
            match next {
                Some(at) => tokio::select! {
                    () = tokio::time::sleep_until(at.into()) => self.ring(Instant::now()),
                    () = self.earlier.notified() => {}
                },
                None => self.earlier.notified().await,
            }
        }
    }

    fn ring(&self, now: Instant) {
        while let Some(fleet) = self.pop_due(now) {
            if let Some(fleet) = fleet.upgrade() {
                fleet.tick();
            }
        }
    }

    fn pop_due(&self, now: Instant) -> Option<Weak<Fleet>> {
        let mut alarms = self.alarms.lock().expect("nothing panics under the lock");
        if alarms.peek().is_some_and(|Reverse(first)| first.at <= now) {
            alarms.pop().map(|Reverse(alarm)| alarm.fleet)
        } else {
            None
        }
    }
}
