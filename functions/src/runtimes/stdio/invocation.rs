//! One invocation of the program: the request on its way in, the reply on its way out.
//!
//! ```text
//!              first output           2 ms, more output
//!   Silent ---------------------> Held -----------------> Streaming
//!     |                            |                          |
//!     `------------ the program has ended, its pipe is drained'----> END, or ERROR if it ended badly
//! ```
//!
//! While the reply is silent or held, a program that fails is a clean ERROR. Once HEAD is out, ERROR aborts the stream.
//! Dropping an invocation drops the pipes but leaves the program alone.

use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use rustix::io::{Errno, ioctl_fionread, read, write};

use super::lane::{Lane, LaneError};
use super::program::{Program, exit_failure, pipe_signal};
use crate::BootId;
use crate::wire::{End, Failure, Head, InstanceFrame};

/// How long the first output waits for company or for the program's end before the reply begins.
const HOLD: Duration = Duration::from_millis(2);

/// Request bytes waiting for the program beyond which nothing more is read from the host.
const STDIN_BACKLOG: usize = 256 * 1024;

/// An invocation that has not been answered.
#[derive(Debug)]
pub(super) struct Invocation {
    pub(super) seq: u32,
    boot_id: BootId,
    program: Program,
    /// What the reply says of its type.
    content_type: Option<String>,
    started: Instant,
    stdin: VecDeque<Bytes>,
    stdin_bytes: usize,
    request_ended: bool,
    reply: Reply,
    cancelled: bool,
    exit: Option<Exit>,
}

#[derive(Debug)]
enum Reply {
    Silent,
    Held { first: Bytes, until: Instant },
    Streaming,
}

/// The program has ended and left this many bytes in its pipe. More may come from processes it left behind, but they
/// don't belong to the reply.
#[derive(Debug)]
struct Exit {
    status: ExitStatus,
    left: u64,
}

impl Invocation {
    pub(super) fn new(seq: u32, boot_id: BootId, program: Program, content_type: Option<String>) -> Invocation {
        Invocation {
            seq,
            boot_id,
            program,
            content_type,
            started: Instant::now(),
            stdin: VecDeque::new(),
            stdin_bytes: 0,
            request_ended: false,
            reply: Reply::Silent,
            cancelled: false,
            exit: None,
        }
    }

    /// Whether more of the request may be read from the host.
    pub(super) fn has_room(&self) -> bool {
        self.stdin_bytes < STDIN_BACKLOG
    }

    /// The pipe to poll for writing, while something waits for it.
    pub(super) fn stdin_fd(&self) -> Option<BorrowedFd<'_>> {
        use std::os::fd::AsFd as _;
        self.program
            .stdin
            .as_ref()
            .filter(|_| !self.stdin.is_empty())
            .map(|fd| fd.as_fd())
    }

    /// The pipe to poll for reading.
    pub(super) fn stdout_fd(&self) -> Option<BorrowedFd<'_>> {
        use std::os::fd::AsFd as _;
        self.program.stdout.as_ref().map(|fd| fd.as_fd())
    }

    /// The descriptor that tells of the program's end, until it was told.
    pub(super) fn exit_fd(&self) -> Option<BorrowedFd<'_>> {
        self.exit.is_none().then(|| self.program.pidfd())
    }

    /// When [`Invocation::release`] is due.
    pub(super) fn held_until(&self) -> Option<Instant> {
        match self.reply {
            Reply::Held { until, .. } => Some(until),
            Reply::Silent | Reply::Streaming => None,
        }
    }

    /// Takes a piece of the request. What comes after the program closed its input is dropped: not reading all of it is
    /// the program's right.
    pub(super) fn request_body(&mut self, bytes: Bytes) {
        if self.program.stdin.is_some() && !bytes.is_empty() {
            self.stdin_bytes += bytes.len();
            self.stdin.push_back(bytes);
        }
        self.feed();
    }

    /// The request is complete.
    pub(super) fn request_end(&mut self) {
        self.request_ended = true;
        self.feed();
    }

    /// Writes to the program what its pipe takes.
    pub(super) fn feed(&mut self) {
        while let (Some(fd), Some(bytes)) = (&self.program.stdin, self.stdin.front_mut()) {
            match write(fd, bytes) {
                Ok(count) => {
                    bytes.advance(count);
                    self.stdin_bytes -= count;
                    if bytes.is_empty() {
                        self.stdin.pop_front();
                    }
                }
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                Err(errno) => {
                    if errno == Errno::PIPE {
                        // The signal that came with the error is blocked; unless it is taken it waits for the next
                        // program's start.
                        let _ = pipe_signal().wait();
                    }
                    self.close_stdin();
                    return;
                }
            }
        }
        if self.request_ended {
            self.close_stdin();
        }
    }

    fn close_stdin(&mut self) {
        self.program.stdin = None;
        self.stdin.clear();
        self.stdin_bytes = 0;
    }

    /// Reads once from the program.
    pub(super) fn drain(&mut self, lane: &mut Lane, scratch: &mut [u8]) -> Result<(), LaneError> {
        let Some(fd) = &self.program.stdout else { return Ok(()) };
        let limit = match &self.exit {
            Some(exit) => usize::try_from(exit.left).unwrap_or(usize::MAX).min(scratch.len()),
            None => scratch.len(),
        };
        match read(fd, &mut scratch[..limit]) {
            Ok(0) => self.program.stdout = None,
            Ok(count) => {
                if let Some(exit) = &mut self.exit {
                    exit.left -= count as u64;
                }
                self.output(lane, Bytes::copy_from_slice(&scratch[..count]))?;
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(errno) => return Err(LaneError::Io(errno.into())),
        }
        Ok(())
    }

    fn output(&mut self, lane: &mut Lane, bytes: Bytes) -> Result<(), LaneError> {
        if let Reply::Silent = self.reply {
            self.reply = Reply::Held {
                first: bytes,
                until: Instant::now() + HOLD,
            };
            return Ok(());
        }
        self.release(lane)?;
        lane.queue(&InstanceFrame::Body(bytes), self.seq)
    }

    /// Begins the reply if it has not begun: HEAD, and what was held.
    pub(super) fn release(&mut self, lane: &mut Lane) -> Result<(), LaneError> {
        let held = std::mem::replace(&mut self.reply, Reply::Streaming);
        if !matches!(held, Reply::Streaming) {
            let head = Head {
                boot_id: self.boot_id,
                status: 200,
                headers: self
                    .content_type
                    .take()
                    .map(|text| ("content-type".to_owned(), text))
                    .into_iter()
                    .collect(),
                cookies: Vec::new(),
                bare: true,
            };
            lane.queue(&InstanceFrame::Head(head), self.seq)?;
        }
        match held {
            Reply::Held { first, .. } => lane.queue(&InstanceFrame::Body(first), self.seq),
            Reply::Silent | Reply::Streaming => Ok(()),
        }
    }

    /// The host wants no answer any more: the program is killed, and the invocation ends as soon as it is gone.
    pub(super) fn cancel(&mut self) {
        self.cancelled = true;
        self.kill();
    }

    /// Kills the program, unless it has ended.
    pub(super) fn kill(&self) {
        if self.exit.is_none() {
            self.program.kill();
        }
    }

    /// The program has ended.
    pub(super) fn ended(&mut self) -> io::Result<()> {
        let status = self.program.reap()?;
        let left = match &self.program.stdout {
            Some(fd) => ioctl_fionread(fd)?,
            None => 0,
        };
        self.close_stdin();
        self.exit = Some(Exit { status, left });
        Ok(())
    }

    /// Whether the program has ended and all it wrote was read.
    pub(super) fn is_over(&self) -> bool {
        self.exit
            .as_ref()
            .is_some_and(|exit| exit.left == 0 || self.program.stdout.is_none())
    }

    /// The last frames of an invocation that [is over](Invocation::is_over).
    pub(super) fn finish(mut self, lane: &mut Lane) -> Result<(), LaneError> {
        let handler_us = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let failure = if self.cancelled {
            Some(Failure {
                error_message: "the invocation was cancelled".to_owned(),
                error_type: "Runtime.Cancelled".to_owned(),
                stack_trace: Vec::new(),
            })
        } else {
            self.exit.as_ref().and_then(|exit| exit_failure(exit.status))
        };
        match failure {
            Some(failure) => lane.queue(
                &InstanceFrame::Error {
                    boot_id: self.boot_id,
                    failure,
                },
                self.seq,
            ),
            None => {
                self.release(lane)?;
                lane.queue(&InstanceFrame::End(End { handler_us }), self.seq)
            }
        }
    }
}
