//! A connection that becomes something else than HTTP after a reply of status 101.
//!
//! Whoever answers puts a [`Takeover`] into the reply's extensions; the connection calls it with its socket once the reply is out. Dropped
//! uncalled, because the connection broke before that, it drops what it would have called.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncWrite};

/// A caller's connection, with whatever it sent already.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Duplex for S {}

type Job = Box<dyn FnOnce(Box<dyn Duplex>) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// See the module's head. Clones are one, as extensions ask for; it is called once.
#[derive(Clone)]
pub(crate) struct Takeover(Arc<Mutex<Option<Job>>>);

impl Takeover {
    /// Takes what is to become of the connection.
    pub(crate) fn new<F, R>(job: F) -> Self
    where
        F: FnOnce(Box<dyn Duplex>) -> R + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let job: Job = Box::new(|connection| Box::pin(job(connection)));
        Self(Arc::new(Mutex::new(Some(job))))
    }

    pub(super) async fn run(self, connection: Box<dyn Duplex>) {
        let job = self.0.lock().expect("nothing panics under the lock").take();
        if let Some(job) = job {
            job(connection).await;
        }
    }
}
