//! F_http: the same client as for the functions against a server that does nothing.

use std::time::{Duration, Instant};

use crate::child::{ChildError, EchoServer};
use crate::client::{Attempt, Call, Client, ClientError, Target};
use crate::pacer::Pacer;
use crate::scenarios::open_loop;

const CONNECTIONS: u32 = 64;
const TIMEOUT: Duration = Duration::from_secs(10);
/// Calls before the first sample, so that the connection and the code of both sides are warm.
const WARM_UP: u32 = 20;

/// Why F_http has no samples.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    /// The echo server is this same program, so this should never be seen.
    #[error("the echo server: {0}")]
    Echo(#[from] ChildError),
    /// No client for it.
    #[error("the client of the echo server: {0}")]
    Client(#[from] ClientError),
    /// The bare server failed a call.
    #[error("a call to the echo server failed: {0}")]
    Call(String),
    /// The timer.
    #[error("the timer failed: {0}")]
    Timer(#[from] std::io::Error),
}

/// An echo server in a process of its own, and a client of it.
#[derive(Debug)]
pub(super) struct HttpFloor {
    client: Client,
    call: Call,
    _server: EchoServer,
}

impl HttpFloor {
    pub(super) async fn start() -> Result<Self, HttpError> {
        let server = EchoServer::start().await?;
        let target: Target = server
            .url()
            .parse()
            .map_err(|error| HttpError::Call(format!("{error}")))?;
        let client = Client::new(&target, CONNECTIONS, TIMEOUT).await?;
        let call = Call::new(http::Uri::from_static("/"), None);
        let floor = Self {
            client,
            call,
            _server: server,
        };
        floor.closed(WARM_UP, Duration::ZERO).await?;
        Ok(floor)
    }

    /// One call after the other, each after `pause`.
    pub(super) async fn closed(&self, count: u32, pause: Duration) -> Result<Vec<Duration>, HttpError> {
        let mut pacer = Pacer::new()?;
        let mut samples = Vec::new();
        for _ in 0..count {
            if !pause.is_zero() {
                pacer.until(Instant::now() + pause).await?;
            }
            samples.push(latency(self.client.call(&self.call, Instant::now()).await)?);
        }
        Ok(samples)
    }

    /// By a schedule.
    pub(super) async fn open(&self, offsets: &[Duration]) -> Result<Vec<Duration>, HttpError> {
        let mut attempts = Vec::new();
        open_loop(&self.client, &self.call, offsets, |attempt| attempts.push(attempt)).await?;
        attempts.into_iter().map(latency).collect()
    }
}

fn latency(attempt: Attempt) -> Result<Duration, HttpError> {
    attempt
        .outcome
        .map(|reply| reply.latency)
        .map_err(|failure| HttpError::Call(failure.detail))
}
