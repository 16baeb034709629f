//! What follows a 101: bytes both ways, until both sides have closed, the deadline passes or the server is cut off.
//!
//! At the deadline both sides are told that nothing more comes, and what they still send is read: a socket that is closed with bytes unread is
//! reset, and a reset may overtake what was sent before it.

use std::time::Duration;

use http::HeaderValue;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use warm_pool::Poison;

use super::Held;
use crate::deadline::{Deadline, Passed};
use crate::exchange::Failed;
use crate::server::Duplex;

/// How long both sides may take to close after the deadline.
const FAREWELL: Duration = Duration::from_secs(2);

/// A function that switched protocols. The lease is held until the tunnel ends; dropping it closes the function's side.
pub(crate) struct Tunnel {
    held: Held,
    upgrade: OnUpgrade,
    protocol: HeaderValue,
    deadline: Deadline,
}

impl Tunnel {
    pub(super) fn new(held: Held, upgrade: OnUpgrade, protocol: HeaderValue, deadline: Deadline) -> Self {
        Self {
            held,
            upgrade,
            protocol,
            deadline,
        }
    }

    /// What it is switched to.
    pub(crate) fn protocol(&self) -> HeaderValue {
        self.protocol.clone()
    }

    /// Joins the caller's connection with the function's.
    pub(crate) async fn run(self, mut caller: Box<dyn Duplex>) -> Result<(), Failed> {
        let Self {
            held,
            upgrade,
            deadline,
            ..
        } = self;
        let function = match deadline.bound(upgrade).await {
            Ok(Ok(function)) => function,
            Ok(Err(error)) => {
                tracing::debug!(%error, "a server switched protocols and closed");
                held.abandon(Poison::ClientGone);
                return Ok(());
            }
            Err(Passed) => {
                held.abandon(Poison::ClientGone);
                return Err(Failed::TunnelTimeout);
            }
        };
        let mut function = TokioIo::new(function);
        let joined = tokio::io::copy_bidirectional(&mut caller, &mut function);
        match deadline.bound(joined).await {
            Ok(Ok(_bytes)) => {
                held.finish();
                Ok(())
            }
            // Either side may have cut its own: there is nobody left to be told.
            Ok(Err(error)) => {
                tracing::debug!(%error, "a tunnel broke");
                held.abandon(Poison::ClientGone);
                Ok(())
            }
            Err(Passed) => {
                let both = async { tokio::join!(leave(&mut caller), leave(&mut function)) };
                let _closed = tokio::time::timeout(FAREWELL, both).await;
                held.abandon(Poison::ClientGone);
                Err(Failed::TunnelTimeout)
            }
        }
    }
}

/// Says that nothing more comes, and reads until the other side says the same.
async fn leave(side: &mut (impl Duplex + ?Sized)) {
    let mut scratch = vec![0; 8 * 1024];
    if side.shutdown().await.is_ok() {
        while let Ok(1..) = side.read(&mut scratch).await {}
    }
}
