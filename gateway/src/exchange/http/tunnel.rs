//! What follows a 101: bytes both ways, until both sides have closed, the deadline passes or the server is cut off.

use http::HeaderValue;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use warm_pool::Poison;

use super::Held;
use crate::deadline::{Deadline, Passed};
use crate::exchange::Failed;
use crate::server::Duplex;

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
        let joined = async {
            let function = upgrade.await.map_err(std::io::Error::other)?;
            tokio::io::copy_bidirectional(&mut caller, &mut TokioIo::new(function)).await
        };
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
                held.abandon(Poison::ClientGone);
                Err(Failed::Timeout)
            }
        }
    }
}
