//! What changes a function: deploys, removals, versions. One at a time, in one order: store, table, pool.
//!
//! Owns the lock under which they happen. A change runs in a task of its own ([`whole`]), so a client that leaves in the middle leaves it whole.

use std::sync::Arc;

use functions::published::Labels;
use functions::store::StoreError;
use functions::{Digest, FunctionName, Revision, Settings};
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::JoinError;
use warm_pool::EvictScope;

use crate::gateway::Gateway;
use crate::lambda::{kept_of, rules_of_urls};

/// The lock. Holding its guard is the right to change functions.
#[derive(Debug, Default)]
pub(crate) struct Changes(Mutex<()>);

/// The right to change functions until it is dropped.
pub(crate) struct Turn<'a> {
    gateway: &'a Arc<Gateway>,
    _order: MutexGuard<'a, ()>,
}

/// Why a change did not happen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChangeError {
    /// The store refused or failed; nothing is changed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The work ended in a panic.
    #[error("the change did not come to its end")]
    Panicked(#[from] JoinError),
}

/// Runs a change to its end even when the client leaves.
pub(crate) async fn whole<T, E>(change: impl Future<Output = Result<T, E>> + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: From<ChangeError> + Send + 'static,
{
    match tokio::spawn(change).await {
        Ok(done) => done,
        Err(error) => Err(ChangeError::from(error).into()),
    }
}

impl Changes {
    /// Waits for the right to change functions.
    pub(crate) async fn turn<'a>(&'a self, gateway: &'a Arc<Gateway>) -> Turn<'a> {
        Turn {
            gateway,
            _order: self.0.lock().await,
        }
    }
}

impl Turn<'_> {
    /// Makes a revision durable, then live, then known to the pool.
    pub(crate) async fn deploy(
        &self,
        name: FunctionName,
        bundle: Digest,
        settings: Settings,
        labels: Option<Labels>,
    ) -> Result<Arc<Revision>, ChangeError> {
        let store = self.gateway.store.clone();
        let deployed =
            tokio::task::spawn_blocking(move || store.deploy_labelled(&name, bundle, settings, labels.as_ref()));
        let revision = deployed.await??;
        self.gateway.live.set(revision.clone());
        self.gateway.pool.provision(&revision);
        Ok(revision)
    }

    /// Removes a function that is there: first nobody finds it, then nothing runs of it, then its files go.
    pub(crate) async fn remove(&self, name: &FunctionName) -> Result<(), ChangeError> {
        let gateway = self.gateway;
        gateway.live.remove(name);
        gateway.pool.retire(name, None);
        gateway.pool.evict(name, EvictScope::All).await;
        let (store, removing) = (gateway.store.clone(), name.clone());
        let removed = tokio::task::spawn_blocking(move || store.remove(&removing)).await?;
        if let Err(error) = removed {
            // Still in the store, so it is still a function.
            if let Some(revision) = gateway.store.live(name) {
                gateway.live.set(revision);
                self.republish(name).await?;
            }
            return Err(error.into());
        }
        gateway.telemetry.forget(name);
        if let Err(error) = gateway.logs.remove(name.clone()).await {
            tracing::warn!(%error, function = %name, "the log of a removed function is left");
        }
        Ok(())
    }

    /// Brings the table of versions, aliases and what belongs to them, and the instances that are kept for them, to what the store has.
    pub(crate) async fn republish(&self, name: &FunctionName) -> Result<(), ChangeError> {
        let (store, read) = (self.gateway.store.clone(), name.clone());
        let reading = tokio::task::spawn_blocking(move || {
            let published = store.published(&read)?;
            let kept = kept_of(&store, &read, &published)?;
            Ok::<_, StoreError>((published, rules_of_urls(&store, &read)?, kept))
        });
        let (published, urls, kept) = reading.await??;
        self.gateway.live.publish(name.clone(), published);
        self.gateway.live.set_urls(name.clone(), urls);
        if let Some(live) = self.gateway.live.get(name) {
            self.gateway.pool.keep(&live, &kept);
        }
        Ok(())
    }
}
