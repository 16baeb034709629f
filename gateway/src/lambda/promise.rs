//! A bundle that stays in the store while somebody needs it: until a deploy names it, or as long as it is read.
//!
//! Dropping a promise takes it back, on the blocking pool where there is one, as files may have to be deleted. At the end of the server the next
//! start does that.

use std::sync::Arc;

use functions::{Digest, Store};
use tokio::runtime::Handle;

/// See the module's head.
pub(super) struct Promise {
    store: Arc<Store>,
    bundle: Digest,
    /// No deploy has taken it up.
    open: bool,
}

impl Promise {
    /// That a bundle which is there stays. `None` when it is not there. Blocks.
    pub(super) fn of(store: &Arc<Store>, bundle: Digest) -> Option<Self> {
        store.has_bundle(&bundle).then(|| Self::made(store, bundle))
    }

    /// The promise that came with a bundle when it was added.
    pub(super) fn made(store: &Arc<Store>, bundle: Digest) -> Self {
        Self {
            store: store.clone(),
            bundle,
            open: true,
        }
    }

    /// The bundle.
    pub(super) fn bundle(&self) -> Digest {
        self.bundle
    }

    /// A deploy, or a version of a layer, names the bundle now, and took the promise up.
    pub(super) fn taken_up(mut self) {
        self.open = false;
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        let (store, bundle) = (self.store.clone(), self.bundle);
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || release(&store, bundle))),
            Err(_) => release(&store, bundle),
        }
    }
}

fn release(store: &Store, bundle: Digest) {
    if let Err(error) = store.release(&bundle) {
        tracing::warn!(%bundle, %error, "a bundle that nobody needs is left to the next start");
    }
}
