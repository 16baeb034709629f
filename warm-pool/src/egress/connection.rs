//! One connection: from a destination to a socket at an address that was judged, and the bytes that pass.

use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use functions::network::Destination;
use prometheus::IntCounter;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::address::{Cidr, may_reach};
use super::resolve::Resolve;
use crate::metrics::Connection;

/// How long it may take until a connection stands, its lookup included.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a connection may stand without a byte in either direction.
const IDLE: Duration = Duration::from_secs(600);
/// The most addresses of a name that are tried.
const MOST_ADDRESSES: usize = 8;
/// Bytes that are held of one direction of a connection, beside what the kernel holds.
const BUFFER: usize = 16 * 1024;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// The instance has as many as it may have.
    #[error("the instance has as many connections as it may have at a time")]
    Full,
    /// The name means nothing, or nobody answers for it.
    #[error("the name can't be looked up: {0}")]
    Unresolved(io::Error),
    /// Each address is one that functions may not be led to; the first of them.
    #[error("{0} is no public address; `fn serve --egress-allow` lets functions reach it")]
    Refused(std::net::IpAddr),
    /// Nobody accepted.
    #[error("it can't be connected to: {0}")]
    Unreachable(io::Error),
    /// It took too long.
    #[error("it did not answer within ten seconds")]
    TimedOut,
}

impl Refusal {
    pub(super) fn outcome(&self) -> Connection {
        match self {
            Refusal::Full => Connection::Full,
            Refusal::Unresolved(_) => Connection::Unresolved,
            Refusal::Refused(_) => Connection::Refused,
            Refusal::Unreachable(_) => Connection::Unreachable,
            Refusal::TimedOut => Connection::TimedOut,
        }
    }
}

/// Looks a destination up, judges what it means, and connects to the first address that is fine and accepts. A name is looked up once, so that
/// what is connected to is what was judged.
pub(super) async fn connect(
    destination: &Destination,
    resolver: &dyn Resolve,
    lookups: &Semaphore,
    allowed: &[Cidr],
) -> Result<TcpStream, Refusal> {
    let deadline = Instant::now() + CONNECT;
    let late = |_| Refusal::TimedOut;
    let addresses = {
        let _turn = timeout_at(deadline, lookups.acquire()).await.map_err(late)?;
        let looked_up = timeout_at(deadline, resolver.resolve(destination))
            .await
            .map_err(late)?;
        looked_up.map_err(Refusal::Unresolved)?
    };
    let fine = judged(&addresses, allowed)?;
    let mut last = Refusal::TimedOut;
    for (tried, address) in fine.iter().enumerate() {
        // One that keeps silent leaves time for the others.
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(fine.len() - tried).unwrap_or(u32::MAX);
        last = match timeout_at(Instant::now() + share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => Refusal::Unreachable(error),
            Err(_late) => Refusal::TimedOut,
        };
    }
    Err(last)
}

/// Those that a function may be led to, of which there is at least one.
fn judged(addresses: &[SocketAddr], allowed: &[Cidr]) -> Result<Vec<SocketAddr>, Refusal> {
    let Some(first) = addresses.first() else {
        return Err(Refusal::Unresolved(io::Error::other("the name has no address")));
    };
    let fine = addresses.iter().filter(|address| may_reach(address.ip(), allowed));
    let fine: Vec<_> = fine.copied().take(MOST_ADDRESSES).collect();
    match fine.is_empty() {
        true => Err(Refusal::Refused(first.ip())),
        false => Ok(fine),
    }
}

/// The two sides of a connection.
pub(super) struct Ends {
    pub(super) inside: TcpStream,
    pub(super) outside: TcpStream,
}

/// Passes bytes both ways until both sides have ended, one of them broke, or nothing passed for a while. A side that only says that it is done is still
/// answered; after a break both sides see a break. Counts what was sent outward, and what was received.
pub(super) async fn pass(mut ends: Ends, sent: &IntCounter, received: &IntCounter) {
    let Ends { inside, outside } = &mut ends;
    // What is small here was small there, and waited for nothing.
    let _quick = (inside.set_nodelay(true), outside.set_nodelay(true));
    let (inside_reads, inside_writes) = inside.split();
    let (outside_reads, outside_writes) = outside.split();
    let last = Mutex::new(Instant::now());
    let both = async {
        tokio::try_join!(
            one_way(inside_reads, outside_writes, sent, &last),
            one_way(outside_reads, inside_writes, received, &last),
        )
    };
    let whole = tokio::select! {
        ended = both => ended.is_ok(),
        () = idle(&last) => false,
    };
    if !whole {
        let _reset = (ends.inside.set_zero_linger(), ends.outside.set_zero_linger());
    }
}

async fn one_way(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    counter: &IntCounter,
    last: &Mutex<Instant>,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..length]).await?;
        counter.inc_by(length as u64);
        *last.lock().expect("nothing panics under the lock") = Instant::now();
    }
}

/// Waits until nothing has passed for as long as may be.
async fn idle(last: &Mutex<Instant>) {
    loop {
        let until = *last.lock().expect("nothing panics under the lock") + IDLE;
        if until <= Instant::now() {
            return;
        }
        sleep_until(until).await;
    }
}
