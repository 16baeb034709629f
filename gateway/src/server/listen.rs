//! Opens the sockets that are listened on, and accepts.
//!
//! A socket file that nobody answers on is left from a server that was killed, and is replaced; one that somebody answers on is not. The file goes
//! away when the [`Listener`] is dropped.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};

/// Connections that the kernel keeps for us between two accepts.
const BACKLOG: u32 = 1024;

/// Why a socket can't be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody else listens on the port.
    #[error("port {} of {} is taken; choose another with --listen {}:PORT, or let the system choose with port 0", .0.port(), .0.ip(), host(.0))]
    PortTaken(SocketAddr),
    /// The port needs a privilege that this process does not have.
    #[error("port {} needs a privilege; choose one from 1024 up with --listen {}:PORT", .0.port(), host(.0))]
    PortForbidden(SocketAddr),
    /// Another server answers on the socket file.
    #[error("another server answers on {}; stop it, or choose another file with --admin-socket PATH", .0.display())]
    SocketInUse(PathBuf),
    /// The path is something else than a socket, and is left alone.
    #[error("{} exists and is no socket; choose another file with --admin-socket PATH", .0.display())]
    NotASocket(PathBuf),
    /// The path is longer than the kernel allows for a socket.
    #[error("{} is longer than the 107 bytes of a socket's path; choose a shorter one with --admin-socket PATH", .0.display())]
    PathTooLong(PathBuf),
    /// The address can't be listened on for another reason.
    #[error("{address} can't be listened on")]
    Address {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The socket file can't be made for another reason.
    #[error("the socket {} can't be made", path.display())]
    Socket {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// An address as one would type it before a port.
fn host(address: &SocketAddr) -> String {
    match address.ip() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A TCP peer.
    Tcp(SocketAddr),
    /// A process of this machine, over the unix socket.
    Local,
}

impl Peer {
    /// The address that a function gets to see; 127.0.0.1 for a local process.
    pub fn ip(&self) -> IpAddr {
        match self {
            Self::Tcp(address) => address.ip().to_canonical(),
            Self::Local => IpAddr::from([127, 0, 0, 1]),
        }
    }
}

/// A socket that is listened on.
#[derive(Debug)]
pub struct Listener(Kind);

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

/// An accepted connection.
pub(super) enum Accepted {
    Tcp(TcpStream, Peer),
    Unix(UnixStream),
}

impl Listener {
    /// Listens on a TCP address; port 0 lets the system choose.
    pub fn tcp(address: SocketAddr) -> Result<Self, BindError> {
        let open = || {
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            // Without it a restart within a minute finds the port taken by its own closed connections.
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            socket.listen(BACKLOG)
        };
        match open() {
            Ok(listener) => Ok(Self(Kind::Tcp(listener))),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(BindError::PortTaken(address)),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(BindError::PortForbidden(address)),
            Err(source) => Err(BindError::Address { address, source }),
        }
    }

    /// Listens on a unix socket of mode 0600. A file left by a killed server is replaced.
    pub fn unix(path: &Path) -> Result<Self, BindError> {
        let failed = |source| BindError::Socket { path: path.to_owned(), source };
        if path.as_os_str().len() > 107 {
            return Err(BindError::PathTooLong(path.to_owned()));
        }
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => return Err(BindError::NotASocket(path.to_owned())),
            Ok(_) => match std::os::unix::net::UnixStream::connect(path) {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(failed)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Ok(_) | Err(_) => return Err(BindError::SocketInUse(path.to_owned())),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        // The socket must never be open to others, not even between bind and chmod: it is made under a name of its own, gets
        // its mode, and only then the name that clients use.
        let hidden = path.with_extension(format!("{}.tmp", std::process::id()));
        let make = || {
            match fs::remove_file(&hidden) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let listener = UnixListener::bind(&hidden)?;
            fs::set_permissions(&hidden, fs::Permissions::from_mode(0o600))?;
            fs::rename(&hidden, path)?;
            Ok(listener)
        };
        make().map(|listener| Self(Kind::Unix(listener, path.to_owned()))).map_err(failed)
    }

    /// The TCP address that is listened on, with the port that the system chose; `None` for a unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.0 {
            Kind::Tcp(listener) => listener.local_addr().ok(),
            Kind::Unix(..) => None,
        }
    }

    /// The next connection. Errors of a single accept (the peer is gone already, no file descriptor left) are waited out here.
    pub(super) async fn accept(&self) -> Accepted {
        loop {
            let accepted = match &self.0 {
                Kind::Tcp(listener) => listener.accept().await.map(|(stream, address)| {
                    // A reply is written in one piece; waiting for more to send only delays it.
                    let _ = stream.set_nodelay(true);
                    Accepted::Tcp(stream, Peer::Tcp(address))
                }),
                Kind::Unix(listener, _) => listener.accept().await.map(|(stream, _)| Accepted::Unix(stream)),
            };
            match accepted {
                Ok(accepted) => return accepted,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    tracing::warn!(%error, "a connection can't be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Kind::Unix(_, path) = &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_says_what_to_do() {
        let first = Listener::tcp(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = first.address().unwrap();
        let error = Listener::tcp(address).unwrap_err();
        assert!(matches!(error, BindError::PortTaken(_)));
        let text = error.to_string();
        assert!(text.contains(&address.port().to_string()) && text.contains("--listen 127.0.0.1:PORT"), "{text}");
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "the standard library leaves the file");
        let live = Listener::unix(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(Listener::unix(&path), Err(BindError::SocketInUse(_))));
        drop(live);
        assert!(!path.exists());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        fs::write(&path, "precious").unwrap();
        assert!(matches!(Listener::unix(&path), Err(BindError::NotASocket(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        let long = dir.path().join("x".repeat(120));
        assert!(matches!(Listener::unix(&long), Err(BindError::PathTooLong(_))));
    }
}
