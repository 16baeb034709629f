//! One socket to the host, without blocking.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bytes::{Buf, BytesMut};
use rustix::io::{Errno, FdFlags, fcntl_setfd, ioctl_fionbio};
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::wire::{Decoder, HostFrame, InstanceFrame, WireError, encode};

/// Output waiting for the host beyond which nothing more is read from the program.
const BACKLOG: usize = 256 * 1024;

/// Why a lane is of no more use.
#[derive(Debug, thiserror::Error)]
pub(super) enum LaneError {
    /// The host has closed it.
    #[error("the host has closed the lane")]
    Closed,
    /// The host sent what is no frame, or a frame out of order.
    #[error("the host broke the protocol")]
    Protocol(#[from] WireError),
    /// The socket failed.
    #[error("the lane failed")]
    Io(#[from] io::Error),
}

/// A lane with what waits on it in both directions.
#[derive(Debug)]
pub(super) struct Lane {
    socket: OwnedFd,
    decoder: Decoder<HostFrame>,
    out: BytesMut,
}

impl Lane {
    /// Takes over the instance's end of a lane. No program inherits it.
    pub(super) fn new(socket: OwnedFd) -> io::Result<Lane> {
        fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
        ioctl_fionbio(&socket, true)?;
        Ok(Lane {
            socket,
            decoder: Decoder::new(),
            out: BytesMut::new(),
        })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Reads once, through `scratch`.
    pub(super) fn fill(&mut self, scratch: &mut [u8]) -> Result<(), LaneError> {
        match recv(&self.socket, &mut *scratch, RecvFlags::empty()) {
            Ok((0, _)) => Err(LaneError::Closed),
            Ok((count, _)) => {
                self.decoder.buffer().extend_from_slice(&scratch[..count]);
                Ok(())
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            Err(Errno::CONNRESET | Errno::PIPE) => Err(LaneError::Closed),
            Err(errno) => Err(LaneError::Io(errno.into())),
        }
    }

    pub(super) fn next_frame(&mut self) -> Result<Option<(u32, HostFrame)>, LaneError> {
        Ok(self.decoder.next_frame()?)
    }

    /// Queues a frame. It leaves with the next [`Lane::flush`].
    pub(super) fn queue(&mut self, frame: &InstanceFrame, seq: u32) -> Result<(), LaneError> {
        Ok(encode(frame, seq, &mut self.out)?)
    }

    /// Writes what the socket takes.
    pub(super) fn flush(&mut self) -> Result<(), LaneError> {
        while !self.out.is_empty() {
            match send(&self.socket, &self.out, SendFlags::NOSIGNAL) {
                Ok(count) => self.out.advance(count),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::PIPE | Errno::CONNRESET) => return Err(LaneError::Closed),
                Err(errno) => return Err(LaneError::Io(errno.into())),
            }
        }
        Ok(())
    }

    /// Whether something waits for the socket to take more.
    pub(super) fn is_waiting(&self) -> bool {
        !self.out.is_empty()
    }

    /// Whether so much waits that the program has to wait as well.
    pub(super) fn is_backed_up(&self) -> bool {
        self.out.len() >= BACKLOG
    }
}
