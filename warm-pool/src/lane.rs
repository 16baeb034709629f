//! One lane of an instance: a stream socket that carries one exchange at a time.
//!
//! A lane owns its socket, the bytes that still have to go out and the bytes that came in but are not a whole frame yet. It
//! never decides how long to wait and never kills anything.
//!
//! ```text
//!            begin()                    END | ERROR came, finish()
//!   Clean ------------> Open(seq) ------------------------------------> Clean
//!                         |
//!                         | protocol error, end of stream
//!                         v
//!                       Broken
//! ```
//!
//! Cancel safety: every method can be dropped and called again. What was pushed stays queued and is written by the next
//! [`Lane::flush`] or [`Lane::next`]; what was read stays buffered. A lane that is dropped closes the socket.

mod outgoing;
#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use functions::wire::{
    Decoder, Frame, HostFrame, InstanceFrame, Invoke, Kind, Load, MAX_PAYLOAD, ReplyOrder, WireError,
};
use tokio::net::UnixStream;
use tokio_util::io::poll_read_buf;

use self::outgoing::Outgoing;

/// Room for a small reply, so that head, body and end of it arrive with one read.
const READ_AHEAD: usize = 8 << 10;

/// Why an exchange can't go on. After any of these the lease has to be poisoned; dropping it does that.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LaneError {
    /// The instance closed the lane or ended. [`Lease::obituary`](crate::Lease::obituary) tells how.
    #[error("the instance closed its lane")]
    Closed,
    /// The instance sent something that the wire format does not allow.
    #[error("the instance broke the protocol")]
    Protocol(#[from] WireError),
    /// The socket failed.
    #[error("the lane's socket failed")]
    Io(#[source] io::Error),
    /// [`Lane::finish`] came before the end of the reply, or before everything was sent.
    #[error("the exchange is not finished")]
    Unfinished,
}

/// See the module's head.
#[derive(Debug)]
pub struct Lane {
    socket: UnixStream,
    decoder: Decoder<InstanceFrame>,
    outgoing: Outgoing,
    seq: u32,
    state: State,
}

#[derive(Debug)]
enum State {
    Clean,
    Open(ReplyOrder),
    Broken,
}

impl Lane {
    /// Takes over a non-blocking stream socket. Needs a tokio runtime.
    pub(crate) fn new(socket: OwnedFd) -> io::Result<Lane> {
        let socket = UnixStream::from_std(socket.into())?;
        Ok(Lane {
            socket,
            decoder: Decoder::new(),
            outgoing: Outgoing::default(),
            seq: 0,
            state: State::Clean,
        })
    }

    /// Starts an exchange and returns its sequence number. The lane is dirty until [`Lane::finish`].
    ///
    /// Starting a second one before the first is finished breaks the lane.
    pub fn begin(&mut self) -> u32 {
        self.seq = self.seq.wrapping_add(1).max(1);
        self.state = if self.is_clean() {
            State::Open(ReplyOrder::new(self.seq))
        } else {
            State::Broken
        };
        self.seq
    }

    /// Queues INVOKE.
    ///
    /// # Errors
    /// [`LaneError::Protocol`] when the frame would be over 1 MiB, which only its `env` can make it.
    pub fn push_invoke(&mut self, invoke: Invoke) -> Result<(), LaneError> {
        let payload = HostFrame::Invoke(invoke).payload()?;
        self.push(Kind::Invoke, payload)
    }

    /// Queues a piece of the event or request body without copying it, cut into frames as needed. An empty piece adds nothing.
    ///
    /// # Errors
    /// None while an exchange is open.
    pub fn push_body(&mut self, mut body: Bytes) -> Result<(), LaneError> {
        while !body.is_empty() {
            let frame = body.split_to(body.len().min(MAX_PAYLOAD));
            self.push(Kind::RequestBody, frame)?;
        }
        Ok(())
    }

    /// Queues END: the event or request body is complete.
    ///
    /// # Errors
    /// None while an exchange is open.
    pub fn push_end(&mut self) -> Result<(), LaneError> {
        self.push(Kind::RequestEnd, Bytes::new())
    }

    /// Queues CANCEL. Only `stdio` instances obey it.
    ///
    /// # Errors
    /// None while an exchange is open.
    pub fn push_cancel(&mut self) -> Result<(), LaneError> {
        self.push(Kind::Cancel, Bytes::new())
    }

    /// Queues a whole buffered call: INVOKE, the event, END.
    ///
    /// # Errors
    /// Those of [`Lane::push_invoke`].
    pub fn push_call(&mut self, invoke: Invoke, event: Bytes) -> Result<(), LaneError> {
        self.push_invoke(invoke)?;
        self.push_body(event)?;
        self.push_end()
    }

    fn push(&mut self, kind: Kind, payload: Bytes) -> Result<(), LaneError> {
        if !matches!(self.state, State::Open(_)) {
            return Err(LaneError::Unfinished);
        }
        self.outgoing.push(kind, self.seq, payload)?;
        Ok(())
    }

    /// Bytes that are queued and not yet written: a streaming caller waits for [`Lane::flush`] when there are many.
    pub fn queued_bytes(&self) -> usize {
        self.outgoing.len()
    }

    /// Writes what is queued.
    ///
    /// # Errors
    /// [`LaneError::Closed`] when the other side is gone, [`LaneError::Io`].
    pub async fn flush(&mut self) -> Result<(), LaneError> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// As [`Lane::flush`]. May be polled in the same task as [`Lane::poll_next`].
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LaneError>> {
        self.outgoing
            .poll_write(&mut self.socket, cx)
            .map_err(|error| self.fail(error))
    }

    /// The next frame of the reply. Writes what is queued while it waits.
    ///
    /// # Errors
    /// [`LaneError::Protocol`] for a frame of another exchange, one out of order or a malformed one; [`LaneError::Closed`] when
    /// the stream ends; [`LaneError::Io`].
    pub async fn next(&mut self) -> Result<InstanceFrame, LaneError> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// As [`Lane::next`].
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<InstanceFrame, LaneError>> {
        // An instance that has closed its side may have left a reply behind, so a failed write is no reason not to read.
        if !self.outgoing.is_empty()
            && let Poll::Ready(Err(_)) = self.outgoing.poll_write(&mut self.socket, cx)
        {
            self.outgoing.give_up();
        }
        let frame = match ready!(self.poll_frame(cx)) {
            Ok((seq, frame)) => match &mut self.state {
                State::Open(order) => order.accept(seq, &frame).map(|()| frame).map_err(LaneError::Protocol),
                State::Clean | State::Broken => Err(LaneError::Unfinished),
            },
            Err(error) => Err(error),
        };
        if frame.is_err() {
            self.state = State::Broken;
        }
        Poll::Ready(frame)
    }

    /// Ends the exchange: the lane is clean again, and the lease goes home when it is dropped.
    ///
    /// # Errors
    /// [`LaneError::Unfinished`] when the reply has not ended, when bytes follow its end, or when not everything was sent. The lane
    /// stays as it is.
    pub fn finish(&mut self) -> Result<(), LaneError> {
        match &self.state {
            State::Open(order) if order.is_done() && self.decoder.is_empty() && self.outgoing.is_settled() => {
                self.state = State::Clean;
                Ok(())
            }
            State::Clean => Ok(()),
            State::Open(_) | State::Broken => Err(LaneError::Unfinished),
        }
    }

    /// Whether no exchange is open and nothing is left of the last one.
    pub fn is_clean(&self) -> bool {
        matches!(self.state, State::Clean)
    }

    /// Waits until a process that is nobody's says PARKED. The lane can be dropped then, and another be made of the same socket:
    /// no byte is lost.
    pub(crate) async fn parked(&mut self) -> Result<(), LaneError> {
        let (_, frame) = poll_fn(|cx| self.poll_frame(cx)).await?;
        match frame {
            // What follows would have been read ahead, and nothing may before LOAD.
            InstanceFrame::Parked if self.decoder.is_empty() => Ok(()),
            other => Err(self.fail(LaneError::Protocol(WireError::OutOfOrder(other.kind())))),
        }
    }

    /// Tells such a process whose it is.
    pub(crate) async fn load(&mut self, load: Load) -> Result<(), LaneError> {
        let payload = HostFrame::Load(load).payload()?;
        self.outgoing.push(Kind::Load, 0, payload)?;
        self.flush().await
    }

    /// The first frame of an instance: READY or INIT_ERROR.
    pub(crate) async fn greeting(&mut self) -> Result<InstanceFrame, LaneError> {
        let (_, frame) = poll_fn(|cx| self.poll_frame(cx)).await?;
        match frame {
            // The codec lets these two have no sequence number but 0.
            InstanceFrame::Ready(_) | InstanceFrame::InitError(_) => Ok(frame),
            other => Err(self.fail(LaneError::Protocol(WireError::OutOfOrder(other.kind())))),
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<(u32, InstanceFrame), LaneError>> {
        loop {
            if let Some(frame) = self.decoder.next_frame().map_err(|error| self.fail(error.into()))? {
                return Poll::Ready(Ok(frame));
            }
            let buffer = self.decoder.buffer();
            buffer.reserve(READ_AHEAD);
            match ready!(poll_read_buf(Pin::new(&mut self.socket), cx, buffer)) {
                Ok(0) => return Poll::Ready(Err(self.fail(LaneError::Closed))),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(self.fail(LaneError::from(error)))),
            }
        }
    }

    fn fail(&mut self, error: LaneError) -> LaneError {
        self.state = State::Broken;
        error
    }
}

impl From<io::Error> for LaneError {
    fn from(error: io::Error) -> LaneError {
        match error.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => LaneError::Closed,
            _ => LaneError::Io(error),
        }
    }
}
