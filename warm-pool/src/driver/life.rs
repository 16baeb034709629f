//! One task for the whole life of an instance: start, ready, gone.
//!
//! The task is the only one that waits for the end of its process, and it reports every step to the fleet exactly once. It holds
//! no fleet alive: when the fleet goes, or the pool, it kills its process.

use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Instant;

use functions::Revision;
use tokio::sync::{Notify, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::bring_up::{Failed, Output, Ready, bring_up};
use super::launcher::{Confined, Ending, Exit, Launcher};
use crate::fate::{Fate, StartFailure};
use crate::fleet::Fleet;
use crate::instance::Instance;
use crate::shelf::{InstanceId, KillCause};
use crate::start::{ColdReason, Purpose};

/// What a life begins with.
pub(crate) struct Birth {
    pub(crate) fleet: Weak<Fleet>,
    pub(crate) launcher: Arc<dyn Launcher>,
    pub(crate) id: InstanceId,
    pub(crate) revision: Arc<Revision>,
    pub(crate) purpose: Purpose,
    pub(crate) reason: ColdReason,
    pub(crate) output: Output,
    /// Ends this life.
    pub(crate) cancel: CancellationToken,
    /// Tells whoever evicts that nothing is left, also when the task is dropped with its runtime.
    pub(crate) gone: DropGuard,
}

/// Lives. Dropping the future kills the process.
pub(crate) async fn live(birth: Birth) {
    let Birth {
        fleet,
        launcher,
        id,
        revision,
        purpose,
        reason,
        output,
        cancel,
        gone,
    } = birth;
    match bring_up(launcher.as_ref(), &revision, purpose, output, &cancel).await {
        Ok(ready) => {
            let Ready {
                body,
                channels,
                server,
                log,
                startup,
                greeting,
            } = ready;
            let instance = Arc::new(Instance {
                id,
                revision,
                boot_id: greeting.boot_id,
                runtime: greeting.runtime,
                reason,
                startup,
                ready_at: Instant::now(),
                log,
                body,
                frost: Mutex::default(),
                server,
                given_up: Mutex::default(),
                silent: AtomicU32::default(),
                killed: OnceLock::new(),
                leaving: Notify::new(),
                fate: watch::Sender::new(None),
            });
            let accepted = fleet
                .upgrade()
                .is_some_and(|fleet| fleet.started(instance.clone(), channels));
            match accepted {
                true => launcher.came_up(&instance.revision),
                false => cancel.cancel(),
            }
            let ending = tokio::select! {
                ending = instance.body.gone() => ending,
                () = instance.took_leave() => {
                    instance.body.kill();
                    instance.body.gone().await
                }
                () = cancel.cancelled() => {
                    // There is no pool any more for which it could end in peace.
                    let _ = instance.killed.set(KillCause::Retired);
                    instance.body.kill();
                    instance.body.gone().await
                }
            };
            let fate = Fate::of(&ending, instance.killed.get().copied());
            // After this nobody waits for the end of an instance that the shelf still counts as living.
            if let Some(fleet) = fleet.upgrade() {
                fleet.gone(id, &instance.revision, fate, Some(&ending));
            }
            instance.fate.send_replace(Some(fate));
        }
        Err(Failed { failure, body }) => {
            let died_of_memory = matches!(failure, StartFailure::Died(Fate::OutOfMemory));
            if let Some(fleet) = fleet.upgrade() {
                fleet.start_failed(id, &revision, failure);
            }
            // A launch that ran out of memory leaves no body that could count its kill.
            let cut_off = body.is_none() && died_of_memory;
            let ending = bury(body).await.or(cut_off.then_some(Ending {
                exit: Exit::Unknown,
                oom_kills: 1,
                pids_hits: 0,
            }));
            if let Some(fleet) = fleet.upgrade() {
                fleet.gone(id, &revision, Fate::Unknown, ending.as_ref());
            }
        }
    }
    drop(gone);
}

async fn bury(body: Option<Box<dyn Confined>>) -> Option<Ending> {
    let body = body?;
    body.kill();
    Some(body.gone().await)
}
