//! The one task that judges what happens to instances, and does what the rules ask for.

use std::sync::Weak;
use std::time::Duration;

use sandbox::Sightings;

use super::Driver;
use crate::shelf::KillCause;
use crate::watch::{Action, Happening, Told, Watcher};

/// How often what nobody has named is looked at.
const LOOK: Duration = Duration::from_secs(5);

/// Judges until the driver is gone. Without `sightings` only what the host itself knows is judged.
pub(super) async fn judge(driver: Weak<Driver>, sightings: Option<Sightings>) {
    let Some(watcher) = driver.upgrade().map(|driver| driver.watcher.clone()) else {
        return;
    };
    let Some(mut told) = watcher.take_told() else { return };
    let mut judge = watcher.judge();
    let mut sightings = sightings;
    let mut look = tokio::time::interval(LOOK);
    loop {
        let happenings = tokio::select! {
            told = told.recv() => match told {
                Some(Told::Happened(happening)) => vec![happening],
                Some(Told::Removed(function)) => {
                    judge.forget(&function);
                    watcher.end_series(&function);
                    continue;
                }
                None => return,
            },
            sighting = next(sightings.as_ref()) => match sighting {
                Some(sighting) => watcher.happenings(sighting),
                None => {
                    tracing::error!("nothing is seen of what runs in sandboxes any more: their socket can't be read");
                    sightings = None;
                    continue;
                }
            },
            () = watcher.named.notified() => watcher.named_since(),
            _ = look.tick() => watcher.named_since(),
        };
        for happening in happenings {
            // A function that was removed has no series, and none may begin anew.
            if !driver
                .upgrade()
                .is_some_and(|driver| driver.remembers(&happening.function))
            {
                continue;
            }
            watcher.judged(&mut judge, &happening, |action| {
                act(&driver, &watcher, &happening, action)
            });
        }
    }
}

/// The next sighting; `None` when there will be none. Without a socket it waits for ever.
async fn next(sightings: Option<&Sightings>) -> Option<sandbox::Sighting> {
    match sightings {
        Some(sightings) => sightings.next().await.ok(),
        None => std::future::pending().await,
    }
}

/// Does what a rule asks for; which instance it was, and what was done.
fn act(
    driver: &Weak<Driver>,
    watcher: &Watcher,
    happening: &Happening,
    action: Action,
) -> (Option<String>, &'static str) {
    let Some(sandbox) = happening.sandbox else {
        return (None, if action == Action::Alert { "told" } else { "gone" });
    };
    let fleets = driver.upgrade().map(|driver| driver.find_all(&happening.function));
    let found = fleets
        .iter()
        .flatten()
        .find_map(|fleet| Some((fleet, fleet.instance_in(sandbox)?)));
    let name = found.as_ref().map(|(_, instance)| instance.boot_id.to_string());
    let cause = match action {
        Action::Alert => return (name, "told"),
        Action::Kill => KillCause::Condemned,
        Action::Quarantine => KillCause::Quarantined,
    };
    match found {
        Some((fleet, instance)) => {
            let done = match fleet.condemn(&instance, cause) {
                true if cause == KillCause::Quarantined => "quarantined",
                true => "killed",
                false => "gone",
            };
            (name, done)
        }
        // It is still starting, or it is a template: there is nothing in it to be kept.
        None => match watcher.sandbox(sandbox) {
            Some(sandbox) => {
                sandbox.kill();
                (None, "killed")
            }
            None => (None, "gone"),
        },
    }
}
