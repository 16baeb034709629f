//! The peers: other ways to start a program in a box, and other servers of the same handler, as far as they are installed.
//!
//! Nothing is installed without being asked: only a directory given with `--peers-dir` gets a virtual environment with the
//! Python servers. A peer that is not there is reported with the way to have it; it never gets a number.
//!
//! A bench holds the servers from its start to its drop, and all files in a directory of its own.

mod found;
mod servers;
mod starts;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::child::{ChildError, Env};
use crate::client::ClientError;
use crate::pacer::Pacer;
use crate::report::{MissingPeer, PeerReport};

use servers::{Load, ServerPeer};
use starts::StartPeer;

/// How the peers are measured.
#[derive(Debug, Clone)]
pub(crate) struct Manner {
    /// Before each start.
    pub(crate) pause: Duration,
    /// Of the throughput.
    pub(crate) connections: u32,
    /// Of servers that have workers.
    pub(crate) workers: u32,
    /// Where a virtual environment with the Python servers is or is to be made.
    pub(crate) dir: Option<PathBuf>,
}

/// Why the peers can't be measured at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeersError {
    /// There is no place for their files.
    #[error("no directory for the files of the peers: {0}")]
    Scratch(#[from] std::io::Error),
}

/// Why one peer has no numbers.
#[derive(Debug, thiserror::Error)]
enum PeerError {
    /// It is not installed.
    #[error("{0} is not installed")]
    Absent(&'static str),
    /// A step of its preparation, or it itself, failed.
    #[error(transparent)]
    Child(#[from] ChildError),
    /// A file of it.
    #[error("its files: {0}")]
    File(#[from] std::io::Error),
    /// No client of it.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A server that does not listen.
    #[error("it did not listen within {0:?}")]
    Silent(Duration),
    /// A call failed.
    #[error("a call of it failed: {0}")]
    Call(String),
    /// Something that this machine lacks.
    #[error("{0}")]
    Lacks(&'static str),
}

/// All peers.
#[derive(Debug)]
pub(crate) struct PeerBench {
    starts: Vec<StartPeer>,
    servers: Vec<ServerPeer>,
    missing: Vec<MissingPeer>,
    broken: Vec<String>,
    pause: Duration,
    // Dropped last, after the servers that have files in it.
    _scratch: tempfile::TempDir,
}

impl PeerBench {
    /// Finds what is installed, prepares it and starts the servers.
    pub(crate) async fn start(manner: &Manner) -> Result<Self, PeersError> {
        let scratch = tempfile::Builder::new().prefix("loadtest-peers-").tempdir()?;
        let mut bench = Self {
            starts: Vec::new(),
            servers: Vec::new(),
            missing: Vec::new(),
            broken: Vec::new(),
            pause: manner.pause,
            _scratch: scratch,
        };
        let dir = bench._scratch.path().to_owned();
        for recipe in starts::RECIPES {
            match recipe.prepare(&dir).await {
                Ok(peer) => bench.starts.push(peer),
                Err(error) => bench.lacks(recipe.name, &error, recipe.install),
            }
        }
        let python = found::python_servers(manner.dir.as_deref()).await;
        for recipe in servers::RECIPES {
            match recipe.start(&dir, &python, manner).await {
                Ok(peer) => bench.servers.push(peer),
                Err(error) => bench.lacks(recipe.name, &error, recipe.install),
            }
        }
        Ok(bench)
    }

    fn lacks(&mut self, name: &str, error: &PeerError, install: &str) {
        if !matches!(error, PeerError::Absent(_)) {
            self.broken.push(format!("{name}: {error}"));
        }
        self.missing.push(MissingPeer {
            name: name.to_owned(),
            reason: error.to_string(),
            install: install.to_owned(),
        });
    }

    /// Starts every program `count` times. A peer that fails is not tried again.
    pub(crate) async fn starts_round(&mut self, count: u32) -> std::io::Result<()> {
        let mut pacer = Pacer::new()?;
        let mut gone = Vec::new();
        for (at, peer) in self.starts.iter_mut().enumerate() {
            for _ in 0..count {
                if !self.pause.is_zero() {
                    pacer.until(std::time::Instant::now() + self.pause).await?;
                }
                if let Err(error) = peer.once() {
                    gone.push((at, error));
                    break;
                }
            }
            peer.end_round();
        }
        for (at, error) in gone.into_iter().rev() {
            let peer = self.starts.remove(at);
            self.lacks(peer.name, &error, peer.install);
        }
        Ok(())
    }

    /// Calls every server: one connection for a part of `slice`, all of them for the rest.
    pub(crate) async fn servers_round(&mut self, slice: Duration) {
        for peer in &mut self.servers {
            peer.round(Load {
                alone: slice / 4,
                together: slice - slice / 4,
            })
            .await;
        }
    }

    /// Whether there is nothing to measure.
    pub(crate) fn is_empty(&self) -> bool {
        self.starts.is_empty() && self.servers.is_empty()
    }

    /// What was measured, and what was not.
    pub(crate) fn report(&self) -> (Vec<PeerReport>, Vec<MissingPeer>) {
        let starts = self.starts.iter().filter_map(StartPeer::report);
        let servers = self.servers.iter().filter_map(ServerPeer::report);
        (starts.chain(servers).collect(), self.missing.clone())
    }

    /// Those that are there and failed.
    pub(crate) fn broken(&self) -> &[String] {
        &self.broken
    }
}

/// The environment in which the peers run: theirs is part of what people run.
const ENV: Env = Env::Inherited;

fn write(path: &Path, text: &str) -> Result<(), PeerError> {
    Ok(std::fs::write(path, text)?)
}
