//! What is seen of what runs in a sandbox, from outside of it.
//!
//! ```text
//!  a process calls execve or connect, or one that is refused
//!     --filter--> it waits --> pid 1 reads what it may, lets it go on (or refuses it)
//!                                  |
//!                                  +-- one socket for all sandboxes, never waited for --> Sightings
//! ```
//!
//! A sighting is a hint and no guard: the path and the address are read from the memory of the process before the kernel reads them, and
//! another thread of it may write something else there meanwhile (seccomp_unotify(2)). What decides is the filter, the network and the
//! mounts, which don't look at this.
//!
//! Pid 1 of a sandbox tells at most [`BURST`] sightings of each kind at once and [`PER_SECOND`] a second after that, and never waits for room: the rest is
//! counted in [`Sighting::missed`], so neither a function that calls in a loop nor a host that does not read stops anything but that function.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::io::Interest;

use crate::filter::policy;
use crate::packet;
use crate::sys::readiness;

/// Sightings of one kind that a sandbox may tell at once.
pub const BURST: u32 = 64;
/// Sightings of one kind that it may tell each second when the burst is used up.
pub const PER_SECOND: u32 = 20;
/// The most bytes of a path that are told; what is longer is cut.
pub const LONGEST: usize = 256;

/// Which calls are told of. By default none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// Programs that are executed.
    pub exec: bool,
    /// Connections that are tried, of any family.
    pub connect: bool,
    /// Calls that the policy names as refused ([`policy::REFUSED`]).
    pub refused: bool,
}

impl Watch {
    /// Whether any is.
    pub fn any(self) -> bool {
        self.exec || self.connect || self.refused
    }

    /// What either wants.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            exec: self.exec || other.exec,
            connect: self.connect || other.connect,
            refused: self.refused || other.refused,
        }
    }
}

/// One call, of one sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// The sandbox, or the cell when it was the template.
    pub sandbox: u64,
    /// What was called.
    pub sight: Sight,
    /// How many were not told since the last one that was.
    pub missed: u64,
}

/// What was called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Sight {
    /// A program is about to be executed. Hostile text of at most [`LONGEST`] bytes; `None` where it could not be read.
    Exec {
        /// As it was asked for, made absolute where it was relative and that could be read.
        path: Option<String>,
    },
    /// A connection is about to be tried.
    Connect {
        /// To what.
        peer: Peer,
    },
    /// A call was refused.
    Refused {
        /// Its number; see [`Sight::call`].
        number: i32,
    },
}

impl Sight {
    /// The name of a refused call.
    pub fn call(number: i32) -> &'static str {
        policy::refused_name(number).unwrap_or("unknown")
    }
}

/// Whom a connection is tried to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Peer {
    /// An address and a port.
    Inet(SocketAddr),
    /// A unix socket: its path, or `@` and its abstract name. Hostile text.
    Unix(String),
    /// Another family, by its number. `AF_UNSPEC` (0) ends a connection.
    Other(u16),
    /// The address could not be read.
    Unread,
}

/// The host's end of the socket that pid 1 of every sandbox writes to.
#[derive(Debug)]
pub struct Sightings {
    socket: Arc<OwnedFd>,
}

impl Sightings {
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self {
            socket: Arc::new(socket),
        }
    }

    /// The next one. Whoever calls it does so in a loop; it never ends while the spawner's handle lives. Cancel safe.
    ///
    /// # Errors
    /// When the socket can't be read any more.
    pub async fn next(&self) -> io::Result<Sighting> {
        let socket = readiness::watch(Arc::clone(&self.socket), Interest::READABLE)?;
        loop {
            let received = socket
                .async_io(Interest::READABLE, |fd| packet::receive::<Sighting>(fd.as_fd()))
                .await;
            match received {
                Ok(Some((sighting, _))) => return Ok(sighting),
                Ok(None) => return Err(io::ErrorKind::UnexpectedEof.into()),
                // Pid 1 says nothing else; were it to, the others are still to be heard.
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {}
                Err(error) => return Err(error),
            }
        }
    }
}
