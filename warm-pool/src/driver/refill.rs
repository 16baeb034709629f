//! Keeps slots standing ahead of the starts that will want them.
//!
//! ```text
//!  start --take--> a slot that stands, else a launch from nothing
//!            \--> the refill task is woken, which builds until as many stand as the policy wants
//! ```
//!
//! The task ends when the last handle is dropped, and the slots with it.

use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use sandbox::{GroupName, Limits, Plan, Shape, Slot, Spawner};
use tokio::sync::Notify;

use super::stock::{Stands, Stock};
use crate::policy::slots_ahead;

/// How often the number is looked at without anybody having taken one.
const LOOK: Duration = Duration::from_secs(5);
/// The pause after a slot could not be built.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// See the module's head.
pub(super) struct Refill {
    stock: Mutex<Stock<Slot>>,
    taken: Arc<Notify>,
}

impl Stands for Slot {
    fn stands(&self) -> bool {
        Slot::stands(self)
    }
}

impl Refill {
    /// Starts the task that builds.
    pub(super) fn start(spawner: Spawner) -> Arc<Refill> {
        let refill = Arc::new(Refill {
            stock: Mutex::new(Stock::new(slots_ahead)),
            taken: Arc::default(),
        });
        tokio::spawn(keep(Arc::downgrade(&refill), spawner));
        refill
    }

    /// A slot that stands and that `plan` can be bound to.
    pub(super) fn take(&self, plan: &Plan) -> Option<Slot> {
        if !Slot::fits(plan) {
            return None;
        }
        let slot = self.lock().take(Instant::now());
        self.taken.notify_one();
        slot
    }

    /// How many stand.
    pub(super) fn standing(&self) -> usize {
        self.lock().standing()
    }

    fn lock(&self) -> MutexGuard<'_, Stock<Slot>> {
        self.stock.lock().expect("nothing panics under the lock")
    }
}

/// What slots are built with: the defaults of a function, so that most binds change nothing.
pub(super) fn shape() -> Shape {
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
            let taken = handle.taken.clone();
            drop(handle);
            // Either way the numbers are looked at anew.
            let _passed = tokio::time::timeout(LOOK, taken.notified()).await;
            continue;
        }
        let pause = handle.lock().pause(Instant::now());
        drop(handle);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
            continue;
        }
        let began = Instant::now();
        match spawner.prepare(&shape).await {
            Ok(slot) => {
                let Some(handle) = refill.upgrade() else { return };
                handle.lock().add(slot, Instant::now(), began.elapsed());
            }
            Err(error) => {
                tracing::warn!(%error, "no slot could be built ahead");
                tokio::time::sleep(AFTER_FAILURE).await;
            }
        }
    }
}
