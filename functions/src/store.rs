//! Where bundles and revisions live on disk, and how a deploy is all or nothing.
//!
//! ```text
//! state_dir/            0700, one owner, one process at a time
//!   lock                held as long as the store is open; the process id of its holder
//!   fn.db               SQLite, WAL: functions, revisions, layers, and what Lambda's API keeps of them
//!   blobs/sha256/HEX    each bundle as it was uploaded
//!   layers/sha256/HEX/  each bundle unpacked, read-only
//!   tmp/                what is not finished; emptied when the store is opened
//! ```
//!
//! A bundle is written below `tmp`, synced, and renamed to its place; a deploy is one transaction after
//! that. So a crash at any instant leaves the old revision live or the new one. What a crash leaves
//! besides, no revision names, and the next open removes it.
//!
//! One mutex covers the database and the renames. It is never held while a bundle arrives, is unpacked,
//! synced or deleted. The live revisions are held in memory too: [`Store::live`] touches no disk.
//!
//! A bundle that was added, or that [`Store::has_bundle`] said is there, is promised: it is kept until the
//! deploy it was promised for, or until [`Store::release`], even if no revision names it. A promise of which neither comes ends when the
//! store is opened next.
//!
//! Everything here blocks. Dropping the store closes the database and frees the lock.

mod bundles;
mod directory;
mod durable;
mod error;
mod layers;
mod lock;
mod published;
mod registry;
mod schema;
mod temp;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use jiff::Timestamp;
use rusqlite::Connection;

use crate::bundle::Limits;
use crate::published::Labels;
use crate::{Digest, FunctionName, Revision, RevisionNumber, Settings};
use bundles::Bundles;
use directory::Layout;
use lock::StateLock;
use temp::TempDir;

pub use bundles::StoredBundle;
pub use error::StoreError;
pub use published::PublishedError;

/// The bundles and revisions below one state directory. Share it with an [`Arc`].
pub struct Store {
    layout: Layout,
    bundles: Bundles,
    limits: Limits,
    /// The live revision of every function, as the database has it.
    live: RwLock<BTreeMap<FunctionName, Arc<Revision>>>,
    inner: Mutex<Inner>,
    /// Last, so that it is freed when everything else is closed.
    _lock: StateLock,
}

/// What the mutex covers.
struct Inner {
    database: Connection,
    /// How many deploys each bundle is promised for.
    promised: HashMap<Digest, u32>,
}

/// What was removed with a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// How many revisions it had.
    pub revisions: u64,
    /// The bundles that are gone with them, because nothing else named them.
    pub bundles: Vec<Digest>,
}

impl Store {
    /// Opens the store at `state_dir`, which is made if it is not there, and removes what no revision names.
    ///
    /// # Errors
    /// [`StoreError`] has a kind for each way in which a directory is not ours to use: another owner, other
    /// writers, another process, a newer version, a database that is not ours or damaged, a full disk.
    pub fn open(state_dir: &Path) -> Result<Store, StoreError> {
        Store::open_within(state_dir, Limits::default())
    }

    /// Like [`open`](Store::open), with other limits for bundles.
    ///
    /// # Errors
    /// Like [`open`](Store::open).
    pub fn open_within(state_dir: &Path, limits: Limits) -> Result<Store, StoreError> {
        let layout = Layout::prepare(state_dir)?;
        let lock = StateLock::take(&layout.lock())?;
        let database = schema::open(&layout.database())?;
        durable::sync_directory(layout.state_dir())?;
        let bundles = Bundles::open(&layout)?;

        let live = registry::live(&database)?;
        let named = registry::named_bundles(&database)?;
        let store = Store {
            layout,
            bundles,
            limits,
            live: RwLock::new(
                live.into_iter()
                    .map(|revision| (revision.name.clone(), Arc::new(revision)))
                    .collect(),
            ),
            inner: Mutex::new(Inner {
                database,
                promised: HashMap::new(),
            }),
            _lock: lock,
        };
        store.bundles.sweep(&named)?;
        store.restore(&named)?;
        Ok(store)
    }

    /// The directory that [`open`](Store::open) was given.
    pub fn state_dir(&self) -> &Path {
        self.layout.state_dir()
    }

    /// A directory for files that live as long as one deploy; emptied at every start.
    pub fn scratch_dir(&self) -> PathBuf {
        self.layout.temp()
    }

    /// Where the files of a bundle are, read-only. They are there as long as a revision names the bundle.
    pub fn layer(&self, bundle: &Digest) -> PathBuf {
        self.bundles.layer(bundle)
    }

    /// Receives, checks, unpacks and stores a bundle, and promises it to one deploy.
    ///
    /// Equal bundles are stored once. On an error nothing of it is left.
    ///
    /// # Errors
    /// [`StoreError::Bundle`] if the bundle is refused or the reader fails, [`StoreError::DiskFull`],
    /// [`StoreError::Io`].
    pub fn add_bundle(&self, reader: impl Read) -> Result<StoredBundle, StoreError> {
        let received = self.bundles.receive(reader, &self.limits)?;
        let mut inner = self.inner();
        let stored = self.bundles.install(received)?;
        *inner.promised.entry(stored.digest).or_default() += 1;
        Ok(stored)
    }

    /// Whether a bundle is stored. If it is, it is promised to one deploy, so that whoever asked need not
    /// send it.
    pub fn has_bundle(&self, bundle: &Digest) -> bool {
        let mut inner = self.inner();
        let held = self.bundles.holds(bundle);
        if held {
            *inner.promised.entry(*bundle).or_default() += 1;
        }
        held
    }

    /// Takes back one promise of a bundle that no deploy took up. The bundle goes if nothing names it and nobody else was promised it.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`]. The bundle is left to the next open then.
    pub fn release(&self, bundle: &Digest) -> Result<(), StoreError> {
        let mut inner = self.inner();
        inner.take_up(bundle);
        let condemned = self.condemn_unneeded(&inner, bundle);
        // Deleted without the mutex.
        drop(inner);
        condemned.map(drop)
    }

    /// A revision as [`deploy`](Store::deploy) would make it now, but not stored. Its number is a guess: a
    /// deploy that comes first takes it.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn draft(&self, name: &FunctionName, bundle: Digest, settings: Settings) -> Result<Revision, StoreError> {
        let number = registry::next_number(&self.inner().database, name)?;
        Ok(Revision {
            name: name.clone(),
            number,
            bundle,
            settings,
            created: Timestamp::now(),
        })
    }

    /// Makes a new revision of `name` and makes it live, in one transaction. Takes up one promise of the
    /// bundle.
    ///
    /// # Errors
    /// [`StoreError::NoBundle`] if the bundle is not stored, [`StoreError::DiskFull`],
    /// [`StoreError::Database`]. The live revision is the old one then.
    pub fn deploy(&self, name: &FunctionName, bundle: Digest, settings: Settings) -> Result<Arc<Revision>, StoreError> {
        self.deploy_labelled(name, bundle, settings, None)
    }

    /// Like [`deploy`](Store::deploy), with what a client of Lambda's API said about the revision.
    ///
    /// # Errors
    /// Like [`deploy`](Store::deploy).
    pub fn deploy_labelled(
        &self,
        name: &FunctionName,
        bundle: Digest,
        settings: Settings,
        labels: Option<&Labels>,
    ) -> Result<Arc<Revision>, StoreError> {
        let mut inner = self.inner();
        if !self.bundles.holds(&bundle) {
            return Err(StoreError::NoBundle { digest: bundle });
        }
        let created = Timestamp::now();
        let revision = registry::deploy(&mut inner.database, name, bundle, settings, created, labels)?;
        inner.take_up(&bundle);
        let revision = Arc::new(revision);
        // Still under the mutex, so that the order here is the order of the numbers.
        self.live_mut(|live| live.insert(name.clone(), Arc::clone(&revision)));
        Ok(revision)
    }

    /// The live revision of every function, by name.
    pub fn list(&self) -> Vec<Arc<Revision>> {
        self.live
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    }

    /// The live revision of `name`. Touches no disk.
    pub fn live(&self, name: &FunctionName) -> Option<Arc<Revision>> {
        self.live
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .cloned()
    }

    /// One revision of `name`.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub fn get(&self, name: &FunctionName, number: RevisionNumber) -> Result<Option<Arc<Revision>>, StoreError> {
        if let Some(live) = self.live(name).filter(|live| live.number == number) {
            return Ok(Some(live));
        }
        Ok(registry::get(&self.inner().database, name, number)?.map(Arc::new))
    }

    /// All revisions of `name`, oldest first. None if there is no such function.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub fn revisions(&self, name: &FunctionName) -> Result<Vec<Revision>, StoreError> {
        registry::revisions(&self.inner().database, name)
    }

    /// Removes a function with all its revisions, then the bundles that nothing else names or was promised.
    /// Nothing may run from those bundles any more.
    ///
    /// A bundle that cannot be deleted is logged and left to the next open; the function is gone all the
    /// same.
    ///
    /// # Errors
    /// [`StoreError::NoFunction`], [`StoreError::DiskFull`], [`StoreError::Database`]. Nothing is removed
    /// then.
    pub fn remove(&self, name: &FunctionName) -> Result<Removed, StoreError> {
        let mut inner = self.inner();
        let removed = registry::remove(&mut inner.database, name)?;
        self.live_mut(|live| live.remove(name));
        let unnamed = removed
            .unnamed
            .into_iter()
            .filter(|bundle| !inner.promised.contains_key(bundle));
        // Out of their places under the mutex, deleted without it.
        let (bundles, condemned): (Vec<_>, Vec<_>) = unnamed
            .filter_map(|bundle| Some((bundle, self.bundles.condemn(&bundle)?)))
            .unzip();
        drop(inner);
        drop(condemned);
        Ok(Removed {
            revisions: removed.revisions,
            bundles,
        })
    }

    /// Unpacks bundles again whose files are gone but whose archive is still there.
    fn restore(&self, named: &HashSet<Digest>) -> Result<(), StoreError> {
        for bundle in named.iter().filter(|bundle| !self.bundles.layer(bundle).is_dir()) {
            let blob = self.bundles.blob(bundle);
            let Ok(archive) = File::open(&blob) else {
                tracing::error!(%bundle, "the bundle of a revision is gone; calls of it will fail until it is deployed again");
                continue;
            };
            match self.add_bundle(archive) {
                Ok(stored) if stored.digest == *bundle => tracing::warn!(%bundle, "unpacked a bundle again"),
                Ok(_) => tracing::error!(%bundle, "the stored archive of a bundle is damaged; deploy it again"),
                Err(StoreError::Bundle(error)) => {
                    tracing::error!(%bundle, %error, "the stored archive of a bundle is damaged; deploy it again");
                }
                Err(error) => return Err(error),
            }
        }
        self.inner().promised.clear();
        Ok(())
    }

    /// Takes a bundle out of its place that nothing names and nobody was promised. Its files are deleted when what is returned is dropped.
    fn condemn_unneeded(&self, inner: &Inner, bundle: &Digest) -> Result<Option<TempDir>, StoreError> {
        let needed = inner.promised.contains_key(bundle) || registry::named_bundles(&inner.database)?.contains(bundle);
        Ok((!needed).then(|| self.bundles.condemn(bundle)).flatten())
    }

    /// A panic while it was held cannot have left a transaction half done, so a poisoned mutex is taken.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn live_mut<T>(&self, change: impl FnOnce(&mut BTreeMap<FunctionName, Arc<Revision>>) -> T) -> T {
        change(&mut self.live.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Inner {
    fn take_up(&mut self, bundle: &Digest) {
        if let Some(count) = self.promised.get_mut(bundle) {
            *count -= 1;
            if *count == 0 {
                self.promised.remove(bundle);
            }
        }
    }
}

#[cfg(test)]
mod tests;
