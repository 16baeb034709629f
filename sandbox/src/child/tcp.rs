//! TCP sockets of a sandbox's network that pid 1 makes and hands outward. It keeps none of them.
//!
//! Nothing here depends on what runs inside: a port that the host chose, or nothing at all, goes in. The memory of such a
//! socket is charged to the sandbox, as its maker stands in the sandbox's leaf.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::num::NonZeroU16;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{self, AddressFamily, SocketFlags, SocketType, bind, socket_with};

use super::rootfs;
use crate::packet;
use crate::plan::Outlet;
use crate::reach::Answer;
use crate::stage::{At, Stage, StageError};

/// Connections that wait until the host accepts them; beyond that the kernel lets them try again.
const BACKLOG: i32 = 128;

/// Listens on 127.0.0.1, see [`listen_at`].
pub(super) fn listen(port: NonZeroU16) -> Result<OwnedFd, StageError> {
    listen_at(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port.get()))
}

/// Listens at each outlet, in their order, and lets the names of them lead there.
pub(super) fn open(outlets: &[Outlet]) -> Result<Vec<OwnedFd>, StageError> {
    if outlets.is_empty() {
        return Ok(Vec::new());
    }
    rootfs::name_hosts(outlets)?;
    let listen = |outlet: &Outlet| listen_at(SocketAddrV4::new(outlet.address, outlet.port.get()));
    outlets.iter().map(listen).collect()
}

/// Listens. Needs the capability to bind where the port is a low one. The address is not shared (`SO_REUSEPORT`), so nobody inside can listen beside the host.
fn listen_at(address: SocketAddrV4) -> Result<OwnedFd, StageError> {
    let listener = unconnected()?;
    bind(&listener, &address).at(Stage::Socket)?;
    net::listen(&listener, BACKLOG).at(Stage::Socket)?;
    Ok(listener)
}

/// Makes a socket for the host and sends it through the one that came beside the wish. The host may have given up, or
/// there was no room for what came: then nobody waits for an answer, or its end is the answer.
pub(super) fn answer(mut beside: Vec<OwnedFd>) {
    let Some(to) = beside.pop() else { return };
    let sent = unconnected()
        .and_then(|socket| packet::send(to.as_fd(), &Answer::Made, &[socket.as_fd()]).at(Stage::Descriptors));
    if let Err(failure) = sent {
        let _gone = packet::send(to.as_fd(), &Answer::Failed(failure), &[]);
    }
}

fn unconnected() -> Result<OwnedFd, StageError> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).at(Stage::Socket)
}
