//! What a DNS name means at this moment.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use functions::network::Destination;
use tokio::sync::Semaphore;

use crate::driver::launcher::Later;

/// Lookups of all functions at a time. Each holds one of the runtime's 512 threads for blocking work, and the rest of the server wants some too.
const MOST_LOOKUPS: usize = 256;

/// Looks names up.
pub(super) trait Resolve: Send + Sync {
    /// The addresses of a destination, with its port, the best first. When the future is dropped the question may still be under way.
    fn resolve<'a>(&'a self, destination: &'a Destination) -> Later<'a, io::Result<Vec<SocketAddr>>>;
}

/// As every program of this machine does it: by its C library.
pub(super) struct SystemResolver {
    turns: Arc<Semaphore>,
}

impl Default for SystemResolver {
    fn default() -> SystemResolver {
        SystemResolver {
            turns: Arc::new(Semaphore::new(MOST_LOOKUPS)),
        }
    }
}

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, destination: &'a Destination) -> Later<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move {
            let (host, port) = (destination.host().to_owned(), destination.port().get());
            if host.ends_with(".localhost") {
                // This machine by definition, and no question for a name server (RFC 6761, 6.3).
                return Ok(vec![
                    (Ipv4Addr::LOCALHOST, port).into(),
                    (Ipv6Addr::LOCALHOST, port).into(),
                ]);
            }
            let turn = self.turns.clone().acquire_owned().await.map_err(io::Error::other)?;
            let looked_up = tokio::task::spawn_blocking(move || {
                // The turn is over with the thread's work, also when nobody waits for it any more.
                let _turn = turn;
                (host.as_str(), port).to_socket_addrs().map(Iterator::collect)
            });
            looked_up.await.map_err(io::Error::other)?
        })
    }
}
