//! From the commands of a shelf to deeds: prepared under the lock, done when it is free.

use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{Fleet, Member, Outcome, State, scale_of};
use crate::driver::bring_up::Output;
use crate::driver::life::{Birth, live};
use crate::instance::Instance;
use crate::lease::Lease;
use crate::log_tap::Source;
use crate::shelf::{Command, KillCause};

/// What is done after the lock is free again.
enum Action {
    Deliver(oneshot::Sender<Outcome>, Box<Outcome>),
    /// A lease for a caller that left at the last moment: dropping it gives it back.
    Return(Box<Lease>),
    Start(Box<Birth>),
    Freeze(Arc<Instance>, u64),
    Reclaim(Arc<Instance>, u64),
    Kill {
        instance: Option<Arc<Instance>>,
        cancel: CancellationToken,
        cause: KillCause,
    },
}

impl Fleet {
    /// The second half of every event.
    pub(super) fn act_on(&self, mut state: MutexGuard<'_, State>, commands: Vec<Command>) {
        let actions: Vec<Action> = commands
            .into_iter()
            .filter_map(|command| self.action(&mut state, command))
            .collect();
        let alarm = state.new_alarm();
        let quiet = state.closing && state.shelf.in_flight() == 0;
        let empty = state.shelf.is_empty();
        drop(state);
        for action in actions {
            self.act(action);
        }
        if alarm.is_none() && !quiet && !empty {
            return;
        }
        if let Some(driver) = self.driver.upgrade() {
            if let Some(at) = alarm {
                driver.timer.set(at, self.me.clone());
            }
            if quiet {
                driver.quiet.notify_one();
            }
            if empty {
                driver.drop_if_empty(&self.record.name);
            }
        }
    }

    fn action(&self, state: &mut State, command: Command) -> Option<Action> {
        match command {
            Command::Grant { waiter, grant } => {
                let now = Instant::now();
                let waiting = state.waiting.remove(&waiter);
                let waited = waiting.as_ref().map_or(Duration::ZERO, |waiting| now - waiting.since);
                let fleet = self.me.upgrade()?;
                let lease = fleet.lease(state, grant, waited, now);
                self.record.queue.observe(lease.phases.queue.as_secs_f64());
                Some(match waiting {
                    Some(waiting) => Action::Deliver(waiting.caller, Box::new(Ok(lease))),
                    None => Action::Return(Box::new(lease)),
                })
            }
            Command::Refuse {
                waiter,
                revision,
                refusal,
            } => {
                let error = state.refusal(revision, refusal);
                let waiting = state.waiting.remove(&waiter)?;
                Some(Action::Deliver(waiting.caller, Box::new(Err(error))))
            }
            Command::Start {
                instance,
                revision,
                purpose,
                reason,
            } => {
                let driver = self.driver.upgrade()?;
                let revision = state.revisions.iter().find(|known| known.number == revision)?.clone();
                let (cancel, gone) = (self.stop.child_token(), CancellationToken::new());
                let member = Member {
                    cancel: cancel.clone(),
                    gone: gone.clone(),
                    live: None,
                    kept: false,
                };
                state.members.insert(instance, member);
                let output = Output {
                    source: Source {
                        function: revision.name.clone(),
                        revision: revision.number,
                        instance,
                        attributes: scale_of(&revision).concurrency == 1,
                    },
                    sink: driver.sink.clone(),
                    dropped: self.record.log_dropped.clone(),
                };
                Some(Action::Start(Box::new(Birth {
                    fleet: self.me.clone(),
                    launcher: driver.launcher.clone(),
                    id: instance,
                    revision,
                    purpose,
                    reason,
                    output,
                    cancel,
                    gone: gone.drop_guard(),
                })))
            }
            Command::Freeze { instance, turn } => {
                let live = state.members.get(&instance)?.live.as_ref()?;
                Some(Action::Freeze(live.instance.clone(), turn))
            }
            Command::Reclaim { instance, turn } => {
                let live = state.members.get(&instance)?.live.as_ref()?;
                Some(Action::Reclaim(live.instance.clone(), turn))
            }
            Command::Kill { instance, cause } => {
                let member = state.members.get(&instance)?;
                let cancel = member.cancel.clone();
                let instance = member.live.as_ref().map(|live| live.instance.clone());
                Some(Action::Kill {
                    instance,
                    cancel,
                    cause,
                })
            }
        }
    }

    /// Has it killed when its time in quarantine is over.
    fn quarantine(&self, instance: Arc<Instance>) {
        // Whoever finds it dead later asks for the cause, so that has to stand first.
        let _earlier = instance.killed.set(KillCause::Quarantined);
        let (Some(fleet), Some(driver)) = (self.me.upgrade(), self.driver.upgrade()) else {
            return instance.body.kill();
        };
        let quarantine = driver.quarantine.clone();
        driver.runtime.spawn(async move {
            quarantine.keep(&instance).await;
            instance.body.kill();
            // As long as it is kept, so is what would kill it when it goes.
            drop(fleet);
        });
    }

    fn act(&self, action: Action) {
        match action {
            // When the caller has left, the outcome comes back and a lease in it goes home by being dropped.
            Action::Deliver(caller, mut outcome) => {
                if let Ok(lease) = outcome.as_mut() {
                    lease.thaw();
                }
                drop(caller.send(*outcome));
            }
            Action::Return(mut lease) => lease.thaw(),
            Action::Start(birth) => {
                if let Some(driver) = self.driver.upgrade() {
                    driver.runtime.spawn(live(*birth));
                }
            }
            Action::Freeze(instance, turn) => {
                let (Some(fleet), Some(driver)) = (self.me.upgrade(), self.driver.upgrade()) else {
                    return;
                };
                // It may have to wait for the kernel, which makes and removes cgroups one after the other.
                driver.runtime.spawn_blocking(move || match instance.freeze(turn) {
                    Ok(true) => {}
                    Ok(false) => fleet.lock().shelf.freezes_nobody(),
                    Err(error) => {
                        tracing::debug!(function = %fleet.record.name, %error, "an instance could not be frozen");
                        fleet.lock().shelf.not_frozen(instance.id, turn);
                    }
                });
            }
            Action::Reclaim(instance, turn) => {
                let (Some(fleet), Some(driver)) = (self.me.upgrade(), self.driver.upgrade()) else {
                    return;
                };
                let reclaimer = driver.reclaimer.clone();
                driver.runtime.spawn(async move {
                    let id = instance.id;
                    match reclaimer.reclaim(instance, turn).await {
                        Some(bytes) => fleet.record.reclaimed.inc_by(bytes),
                        None => fleet.lock().shelf.not_reclaimed(id, turn),
                    }
                });
            }
            Action::Kill {
                instance,
                cancel,
                cause,
            } => {
                match instance {
                    Some(instance) if cause == KillCause::Quarantined => self.quarantine(instance),
                    Some(instance) => instance.kill(cause),
                    // What is still starting is called off.
                    None => cancel.cancel(),
                }
            }
        }
    }
}
