//! Templates of functions: which revisions have one, and forks of them.
//!
//! ```text
//!   (none) --first start of the revision has come up--> raising --initialised, holds nothing that forks would share--> stands
//!                                              \--failed, or holds what can't be forked--> unfit: executed, and `fn show` says why
//!   stands --not used for long, forgotten, other revision--> (none)
//!   stands --died, or of no use--> (none), and unfit at the third time
//! ```
//!
//! A template that has forked often or is old is replaced by a fresh one: all its forks share the layout of memory and the
//! seed of hashes. Instances keep their cell, and with it the old template, until they are gone.
//!
//! Dropping it ends all templates that no instance keeps.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use std::time::{Duration, Instant};

use functions::runtimes::{HostRuntimes, template};
use functions::{FunctionName, Keep, Revision, RevisionNumber};
use sandbox::{Cell, Plan, Sandbox, Spawner};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::launcher::{Listener, StartClass, Template};
use super::ledger::Ledger;
use super::nursery::{Ending, Nursery, raise};
use crate::log_tap::LogSink;
use crate::plan::plan;
use crate::policy::DEATHS_FORGIVEN;
use crate::watch::{Event, Watcher};

/// See the module's head.
pub(super) struct Cells {
    me: Weak<Cells>,
    pub(super) spawner: Spawner,
    runtimes: HostRuntimes,
    pub(super) sink: Arc<dyn LogSink>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) watcher: Arc<Watcher>,
    /// The filter that each fork adds.
    given_up: Vec<u8>,
    homes: Mutex<HashMap<FunctionName, Home>>,
    listener: OnceLock<Listener>,
}

/// What is known of a function's template.
struct Home {
    revision: RevisionNumber,
    state: State,
    deaths: u32,
    /// When its first template was ready.
    since: Option<Instant>,
    /// Ends the task that raises the template and looks after it.
    _task: DropGuard,
}

enum State {
    Raising,
    Stands(Arc<Nursery>),
    Unfit(String),
}

impl Cells {
    pub(super) fn new(
        spawner: Spawner,
        runtimes: HostRuntimes,
        sink: Arc<dyn LogSink>,
        ledger: Arc<Ledger>,
        watcher: Arc<Watcher>,
    ) -> Arc<Cells> {
        Arc::new_cyclic(|me| Cells {
            me: me.clone(),
            spawner,
            runtimes,
            sink,
            ledger,
            watcher,
            given_up: sandbox::filter::given_up(),
            homes: Mutex::default(),
            listener: OnceLock::new(),
        })
    }

    pub(super) fn announce_to(&self, listener: Listener) {
        // Only the first is told; there is one.
        let _told = self.listener.set(listener);
    }

    /// A fork of the template of `revision`, if one stands.
    pub(super) async fn fork(&self, revision: &Revision, rehearse: bool) -> Option<(Sandbox, Arc<Cell>)> {
        let nursery = self.nursery(revision)?;
        match nursery.fork(rehearse).await {
            Ok(forked) => Some(forked),
            Err(error) => {
                tracing::warn!(function = %revision.name, %error, "no fork could be made; the program is executed");
                None
            }
        }
    }

    fn nursery(&self, revision: &Revision) -> Option<Arc<Nursery>> {
        let homes = self.lock();
        let home = homes.get(&revision.name)?;
        match &home.state {
            State::Stands(nursery) if home.revision == revision.number => Some(nursery.clone()),
            _ => None,
        }
    }

    /// Raises a template of `revision`, if it has none and may have one. Called when a start has come up: while that was under way,
    /// a call may have waited for it, and the template would have taken a processor from it.
    pub(super) fn prepare(&self, revision: &Revision) {
        if revision.settings.scale.keep == Keep::Nothing {
            return;
        }
        let mut homes = self.lock();
        // During a deploy calls of the old revision are not to throw away the template of the new one.
        if homes
            .get(&revision.name)
            .is_none_or(|home| home.revision < revision.number)
        {
            self.settle(&mut homes, revision, 0);
        }
    }

    /// Gives a function a new home, in which a template is raised if its revision can have one.
    fn settle(&self, homes: &mut HashMap<FunctionName, Home>, revision: &Revision, deaths: u32) {
        let planned = template(revision, &self.runtimes, &self.given_up)
            .ok()
            .flatten()
            .and_then(|launch| plan(revision, launch).ok())
            .map(|plan| Plan {
                watch: self.watcher.watch_of(revision),
                ..plan
            });
        let Some(plan) = planned else {
            homes.remove(&revision.name);
            return;
        };
        let stop = CancellationToken::new();
        let state = if deaths >= DEATHS_FORGIVEN {
            State::Unfit(format!("its template failed {deaths} times"))
        } else if let Some(why) = unfit(&plan) {
            State::Unfit(why.to_owned())
        } else {
            let look_after = look_after(self.me.clone(), revision.clone(), plan);
            let cancelled = stop.clone();
            tokio::spawn(async move { cancelled.run_until_cancelled(look_after).await });
            State::Raising
        };
        let home = Home {
            revision: revision.number,
            state,
            deaths,
            since: None,
            _task: stop.drop_guard(),
        };
        homes.insert(revision.name.clone(), home);
    }

    /// Whether a start of `revision` would be a fork.
    pub(super) fn forks(&self, revision: &Revision) -> bool {
        let homes = self.lock();
        let home = homes
            .get(&revision.name)
            .filter(|home| home.revision == revision.number);
        home.is_some_and(|home| matches!(home.state, State::Stands(_)))
    }

    pub(super) fn class(&self, revision: &Revision) -> StartClass {
        let exec = |why| StartClass { name: "exec", why };
        if !matches!(template(revision, &self.runtimes, &[]), Ok(Some(_))) {
            return exec(None);
        }
        if revision.settings.scale.keep == Keep::Nothing {
            return exec(Some("keep = \"nothing\" keeps no template".to_owned()));
        }
        if !revision.settings.network.is_empty() {
            return exec(Some(NEEDS_DOORS.to_owned()));
        }
        let homes = self.lock();
        let home = homes
            .get(&revision.name)
            .filter(|home| home.revision == revision.number);
        match home.map(|home| &home.state) {
            Some(State::Stands(_)) => StartClass {
                name: "fork",
                why: None,
            },
            Some(State::Raising) => exec(Some("its template is being initialised".to_owned())),
            Some(State::Unfit(why)) => exec(Some(why.clone())),
            None => exec(Some("its template is initialised at its first call".to_owned())),
        }
    }

    /// Templates that stand.
    pub(super) fn standing(&self) -> usize {
        let stands = |home: &&Home| matches!(home.state, State::Stands(_));
        self.lock().values().filter(stands).count()
    }

    /// Throws the template of a function away. Its instances stay.
    pub(super) fn forget(&self, function: &FunctionName) {
        let home = self.lock().remove(function);
        // Dropped when the lock is free: that ends processes.
        drop(home);
    }

    /// The same, with what each is worth.
    pub(super) fn templates(&self) -> Vec<Template> {
        let standing: Vec<_> = {
            let homes = self.lock();
            let standing = homes.iter().filter_map(|(name, home)| match &home.state {
                State::Stands(nursery) => Some((name.clone(), home.revision, home.since, nursery.clone())),
                State::Raising | State::Unfit(_) => None,
            });
            standing.collect()
        };
        let template = |(function, revision, since, nursery): (_, _, Option<Instant>, Arc<Nursery>)| Template {
            function,
            revision,
            age: since.map_or(Duration::ZERO, |since| since.elapsed()),
            memory: nursery.memory(),
            saves: nursery.raised_in(),
        };
        standing.into_iter().map(template).collect()
    }

    /// Throws a template away, unless another one has taken its place.
    pub(super) fn let_go(&self, template: &Template) {
        let home = {
            let mut homes = self.lock();
            match homes.get(&template.function) {
                Some(home) if home.revision == template.revision => homes.remove(&template.function),
                _ => None,
            }
        };
        // Dropped when the lock is free: that ends processes.
        drop(home);
    }

    /// Takes what came of the template of a revision. `false` when its home is not there any more.
    fn put(&self, revision: &Revision, state: State) -> bool {
        let mut drift = None;
        let old = {
            let mut homes = self.lock();
            match homes.get_mut(&revision.name) {
                Some(home) if home.revision == revision.number => {
                    match &state {
                        State::Stands(_) => {
                            home.since.get_or_insert_with(Instant::now);
                        }
                        // One of the same revision stood before.
                        State::Unfit(why) if home.since.is_some() => drift = Some(why.clone()),
                        State::Unfit(_) | State::Raising => {}
                    }
                    Some(std::mem::replace(&mut home.state, state))
                }
                _ => None,
            }
        };
        let there = old.is_some();
        drop(old);
        if let Some(why) = drift {
            self.watcher.tell(revision, None, Event::Template(why));
        }
        if there && let Some(listener) = self.listener.get() {
            listener(&revision.name);
        }
        there
    }

    fn died(&self, revision: &Revision) {
        let mut homes = self.lock();
        let deaths = match homes.get(&revision.name) {
            Some(home) if home.revision == revision.number => home.deaths + 1,
            _ => return,
        };
        self.watcher.tell(
            revision,
            None,
            Event::Template("it ended, or answered no more".to_owned()),
        );
        // The old home is this very task, which ends by returning.
        self.settle(&mut homes, revision, deaths);
        drop(homes);
        if let Some(listener) = self.listener.get() {
            listener(&revision.name);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<FunctionName, Home>> {
        self.homes.lock().expect("nothing panics under the lock")
    }
}

/// Why a function that may connect to something is not forked.
const NEEDS_DOORS: &str = "network.allow needs doors, which are made before a program is executed";

/// Why no template of a plan can be made at all.
fn unfit(plan: &Plan) -> Option<&'static str> {
    if plan.rootfs == sandbox::Rootfs::Writable {
        return Some("rootfs = \"writable\" stacks a root for each instance");
    }
    if !plan.outlets.is_empty() {
        return Some(NEEDS_DOORS);
    }
    (!Cell::fits(plan)).then_some("its concurrency is above 32")
}

/// Raises a template, looks after it, and raises the next one when it has done its time.
async fn look_after(cells: Weak<Cells>, revision: Revision, plan: Plan) {
    loop {
        let raised = match cells.upgrade() {
            Some(cells) => raise(&cells, &revision, &plan).await,
            None => return,
        };
        let nursery = match raised {
            Ok(nursery) => Arc::new(nursery),
            Err(why) => {
                tracing::info!(function = %revision.name, revision = %revision.number, why, "no template; its program is executed for each start");
                if let Some(cells) = cells.upgrade() {
                    cells.put(&revision, State::Unfit(why));
                }
                return;
            }
        };
        match cells.upgrade() {
            Some(cells) if cells.put(&revision, State::Stands(nursery.clone())) => {}
            _ => return,
        }
        match nursery.keep().await {
            Ending::DoneItsTime => {}
            Ending::Died => {
                tracing::warn!(function = %revision.name, revision = %revision.number, "a template is of no use any more");
                if let Some(cells) = cells.upgrade() {
                    cells.died(&revision);
                }
                return;
            }
        }
    }
}
