//! Keeps slots standing ahead of the starts that will want them.
//!
//! ```text
//!  start --take--> a slot that stands, else a launch from nothing
//!            \--> the refill task is woken, which builds until as many stand as the policy wants
//! ```
//!
//! The task ends when the last handle is dropped, and the slots with it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use sandbox::{GroupName, Limits, Plan, Shape, Slot, Spawner};
use tokio::sync::Notify;

use crate::policy::{ARRIVALS_SEEN_FOR, slots_ahead};

/// How often the number is looked at without anybody having taken one.
const LOOK: Duration = Duration::from_secs(5);
/// The pause after a slot could not be built.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// See the module's head.
pub(super) struct Refill {
    shelf: Mutex<Shelf>,
    taken: Notify,
}

struct Shelf {
    standing: Vec<Slot>,
    /// When slots were wanted, lately.
    wanted: VecDeque<Instant>,
    /// How long one takes to build, as an average that forgets.
    build_time: Duration,
}

impl Refill {
    /// Starts the task that builds.
    pub(super) fn start(spawner: Spawner) -> Arc<Refill> {
        let refill = Arc::new(Refill {
            shelf: Mutex::new(Shelf {
                standing: Vec::new(),
                wanted: VecDeque::new(),
                build_time: Duration::from_millis(5),
            }),
            taken: Notify::new(),
        });
        tokio::spawn(keep(Arc::downgrade(&refill), spawner));
        refill
    }

    /// A slot that stands and that `plan` can be bound to.
    pub(super) fn take(&self, plan: &Plan) -> Option<Slot> {
        if !Slot::fits(plan) {
            return None;
        }
        let slot = {
            let mut shelf = self.lock();
            shelf.wanted.push_back(Instant::now());
            // The youngest first: what it touched is still in the caches.
            std::iter::from_fn(|| shelf.standing.pop()).find(Slot::stands)
        };
        self.taken.notify_one();
        slot
    }

    /// How many stand.
    pub(super) fn standing(&self) -> usize {
        self.lock().standing.len()
    }

    fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().expect("nothing panics under the lock")
    }
}

/// What slots are built with: the defaults of a function, so that most binds change nothing.
fn shape() -> Shape {
    Shape {
        group: GroupName::new(crate::plan::GROUP).expect("the name is valid"),
        limits: Limits {
            memory: 256 << 20,
            cpu_millis: 1000,
            pids: 128,
        },
        tmp_bytes: 64 << 20,
    }
}

async fn keep(refill: Weak<Refill>, spawner: Spawner) {
    let shape = shape();
    loop {
        // Nothing of the handle is held while waiting, so that the last one can go.
        let Some(handle) = refill.upgrade() else { return };
        let (missing, surplus) = handle.lock().balance(Instant::now());
        drop(surplus);
        if missing == 0 {
            let taken = handle.taken.notified();
            // Either way the numbers are looked at anew.
            let _passed = tokio::time::timeout(LOOK, taken).await;
            continue;
        }
        drop(handle);
        let began = Instant::now();
        match spawner.prepare(&shape).await {
            Ok(slot) => {
                let Some(handle) = refill.upgrade() else { return };
                handle.lock().add(slot, began.elapsed());
            }
            Err(error) => {
                tracing::warn!(%error, "no slot could be built ahead");
                tokio::time::sleep(AFTER_FAILURE).await;
            }
        }
    }
}

impl Shelf {
    /// How many are missing, and those that are too many or have fallen.
    fn balance(&mut self, now: Instant) -> (usize, Vec<Slot>) {
        while self.wanted.front().is_some_and(|at| now - *at > ARRIVALS_SEEN_FOR) {
            self.wanted.pop_front();
        }
        let (standing, mut surplus): (Vec<_>, Vec<_>) = self.standing.drain(..).partition(Slot::stands);
        self.standing = standing;
        let wanted = slots_ahead(self.wanted.len(), self.build_time);
        if self.standing.len() > wanted {
            surplus.extend(self.standing.drain(wanted..));
        }
        (wanted.saturating_sub(self.standing.len()), surplus)
    }

    fn add(&mut self, slot: Slot, took: Duration) {
        self.build_time = (self.build_time * 7 + took) / 8;
        self.standing.push(slot);
    }
}
