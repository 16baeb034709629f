//! Looks at the memory of the host now and then, and lets idle instances go when it is short.

use std::sync::Weak;
use std::time::Duration;

use super::Driver;
use crate::policy::{Candidate, GreedyDual, pressure};

/// Time between two looks.
const LOOK: Duration = Duration::from_secs(5);

/// What is kept from look to look.
#[derive(Default)]
struct Watch {
    /// The host has told how its memory is.
    told: bool,
    pressed: bool,
    dual: GreedyDual,
}

/// Looks until the driver is gone, or for good if the host does not tell.
pub(super) async fn watch_memory(driver: Weak<Driver>) {
    let mut watch = Watch::default();
    loop {
        let driver = driver.clone();
        // It reads files of the kernel, some for each instance.
        let look = tokio::task::spawn_blocking(move || watch.look(&driver).then_some(watch));
        match look.await {
            Ok(Some(same)) => watch = same,
            _ => return,
        }
        tokio::time::sleep(LOOK).await;
    }
}

impl Watch {
    /// Whether to look again.
    fn look(&mut self, driver: &Weak<Driver>) -> bool {
        let Some(driver) = driver.upgrade() else { return false };
        let Some(memory) = driver.launcher.memory() else {
            // Who told once may lack a descriptor at this moment.
            return self.told;
        };
        self.told = true;
        let (pressed, wanted) = pressure(memory, self.pressed);
        if pressed != self.pressed {
            tracing::info!(pressed, available = memory.available, "the memory of the host");
        }
        if pressed || self.pressed {
            for fleet in driver.all() {
                fleet.press(pressed);
            }
        }
        self.pressed = pressed;
        if wanted > 0 {
            driver.relieve(&mut self.dual, wanted);
        }
        true
    }
}

impl Driver {
    /// Lets those instances go that are worth the least, until `wanted` bytes are free. Returns their number.
    fn relieve(&self, dual: &mut GreedyDual, wanted: u64) -> usize {
        let mut those = Vec::new();
        let mut candidates = Vec::new();
        for fleet in self.all() {
            let spares = fleet.spares();
            for (id, start, memory) in spares.instances {
                candidates.push(Candidate {
                    function: fleet.record.name.clone(),
                    called: spares.called,
                    frequency: spares.frequency,
                    start,
                    memory,
                });
                those.push((fleet.clone(), id));
            }
        }
        let victims = dual.victims(&candidates, wanted);
        let gone = victims.into_iter().map(|at| {
            let (fleet, id) = &those[at];
            fleet.relieve(&[*id])
        });
        let gone = gone.sum();
        self.metrics.relieved(gone);
        gone
    }
}
