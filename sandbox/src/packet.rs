//! Messages over a SEQPACKET socketpair: one packet is one JSON value, with descriptors beside it.
//!
//! A value that does not fit into one packet travels as a memfd, which is the packet's last descriptor then.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Seek, Write};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg, socketpair,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The most bytes of one packet; what is larger goes into a memfd.
const LARGEST: usize = 60 * 1024;
/// What a packet says instead of a value when the value is in a memfd.
const IN_MEMFD: &[u8] = b"memfd";

/// Two connected ends, close-on-exec, blocking.
///
/// # Errors
/// `EMFILE` at the limit of descriptors.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )?)
}

/// A value in the form in which it is sent.
pub(crate) struct Packet {
    bytes: Vec<u8>,
    memfd: Option<OwnedFd>,
}

impl Packet {
    /// # Errors
    /// When no memfd can be made.
    pub(crate) fn of<T: Serialize>(value: &T) -> io::Result<Self> {
        let bytes = serde_json::to_vec(value)?;
        if bytes.len() <= LARGEST {
            return Ok(Self { bytes, memfd: None });
        }
        let mut file = File::from(memfd_create(c"packet", MFdFlags::MFD_CLOEXEC)?);
        file.write_all(&bytes)?;
        Ok(Self {
            bytes: IN_MEMFD.to_vec(),
            memfd: Some(file.into()),
        })
    }

    /// Sends it with `fds` beside it. The peer's end that is gone answers `EPIPE`, without a signal.
    ///
    /// # Errors
    /// `EPIPE`, or `EAGAIN` on a nonblocking socket whose queue is full.
    pub(crate) fn send(&self, socket: BorrowedFd<'_>, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut numbers: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        numbers.extend(self.memfd.as_ref().map(AsRawFd::as_raw_fd));
        let rights = [ControlMessage::ScmRights(&numbers)];
        let rights = if numbers.is_empty() { &rights[..0] } else { &rights[..] };
        loop {
            match sendmsg::<()>(
                socket.as_raw_fd(),
                &[IoSlice::new(&self.bytes)],
                rights,
                MsgFlags::MSG_NOSIGNAL,
                None,
            ) {
                Err(nix::Error::EINTR) => {}
                // What a peer that went had not read is told once, by another name.
                Err(nix::Error::ECONNRESET) => return Err(io::ErrorKind::BrokenPipe.into()),
                Err(errno) => return Err(errno.into()),
                Ok(_) => return Ok(()),
            }
        }
    }
}

/// Sends one value.
///
/// # Errors
/// As [`Packet::of`] and [`Packet::send`].
pub(crate) fn send<T: Serialize>(socket: BorrowedFd<'_>, value: &T, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    Packet::of(value)?.send(socket, fds)
}

/// Receives one value; `None` when the peer is gone. There are no descriptors beside it when there was no room for all of
/// them in the table of this process: who expects some has to look.
///
/// # Errors
/// `EAGAIN` on a nonblocking socket without a packet, `InvalidData` for a packet that is not a `T`.
pub(crate) fn receive<T: DeserializeOwned>(socket: BorrowedFd<'_>) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut buffer = vec![0u8; LARGEST + 1];
    let mut space = nix::cmsg_space!([RawFd; crate::sys::descriptors::MOST]);
    let (length, mut fds) = loop {
        let mut slices = [IoSliceMut::new(&mut buffer)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let message = match recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut space), flags) {
            // That the peer went and had not read all is told once, before what it said itself.
            Err(nix::Error::EINTR | nix::Error::ECONNRESET) => continue,
            other => other?,
        };
        if message.flags.contains(MsgFlags::MSG_TRUNC) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "packet too large"));
        }
        let mut fds = Vec::new();
        // Cut off: the table of this process is full. Some may have come; whoever is handed less than all can't use them.
        if !message.flags.contains(MsgFlags::MSG_CTRUNC) {
            for control in message.cmsgs()? {
                if let ControlMessageOwned::ScmRights(numbers) = control {
                    fds.extend(numbers.into_iter().map(crate::sys::descriptors::received));
                }
            }
        }
        break (message.bytes, fds);
    };
    if length == 0 {
        return Ok(None);
    }
    if &buffer[..length] == IN_MEMFD {
        let mut file = File::from(fds.pop().ok_or(io::ErrorKind::InvalidData)?);
        buffer.clear();
        file.rewind()?;
        let length = file.read_to_end(&mut buffer)?;
        return Ok(Some((serde_json::from_slice(&buffer[..length])?, fds)));
    }
    Ok(Some((serde_json::from_slice(&buffer[..length])?, fds)))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn values_and_descriptors_arrive_together() {
        let (a, b) = pair().unwrap();
        let (extra, _other) = pair().unwrap();
        send(a.as_fd(), &vec![1, 2, 3], &[extra.as_fd()]).unwrap();
        let (value, fds) = receive::<Vec<u32>>(b.as_fd()).unwrap().unwrap();
        assert_eq!((value, fds.len()), (vec![1, 2, 3], 1));
    }

    #[test]
    fn a_value_larger_than_a_packet_arrives_whole() {
        let (a, b) = pair().unwrap();
        let long = "x".repeat(300_000);
        send(a.as_fd(), &long, &[]).unwrap();
        let (value, fds) = receive::<String>(b.as_fd()).unwrap().unwrap();
        assert_eq!((value.len(), fds.len()), (300_000, 0));
    }

    #[test]
    fn a_peer_that_is_gone_is_the_end_and_no_signal() {
        let (a, b) = pair().unwrap();
        drop(a);
        assert!(receive::<u32>(b.as_fd()).unwrap().is_none());
        assert_eq!(send(b.as_fd(), &1, &[]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_peer_that_went_without_reading_is_the_same_end() {
        let (a, b) = pair().unwrap();
        send(b.as_fd(), &1, &[]).unwrap();
        drop(a);
        assert_eq!(send(b.as_fd(), &1, &[]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn what_a_peer_said_before_it_went_is_heard_also_when_it_had_not_read_all() {
        let (a, b) = pair().unwrap();
        send(b.as_fd(), &1, &[]).unwrap();
        send(a.as_fd(), &2, &[]).unwrap();
        drop(a);
        assert_eq!(receive::<u32>(b.as_fd()).unwrap().unwrap().0, 2);
        assert!(receive::<u32>(b.as_fd()).unwrap().is_none());
        assert!(receive::<u32>(b.as_fd()).unwrap().is_none());
    }

    #[test]
    fn garbage_is_an_error() {
        let (a, b) = pair().unwrap();
        send(a.as_fd(), &"text", &[]).unwrap();
        assert_eq!(
            receive::<u32>(b.as_fd()).unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
    }
}
