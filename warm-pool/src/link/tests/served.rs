//! A process whose server is a task of the test.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::DuplexStream;

use crate::driver::launcher::{Confined, Door, Ending, Exit, Later, Stream, Usage};

/// See the module's head. Its server gets each connection with its number, from 0.
pub(in crate::link) struct Served {
    connections: AtomicUsize,
    serve: Box<dyn Fn(usize, DuplexStream) + Send + Sync>,
}

impl Served {
    pub(in crate::link) fn new(serve: impl Fn(usize, DuplexStream) + Send + Sync + 'static) -> Self {
        Self {
            connections: AtomicUsize::new(0),
            serve: Box::new(serve),
        }
    }

    /// Connections that were made to it.
    pub(in crate::link) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Confined for Served {
    fn kill(&self) {}

    fn gone(&self) -> Later<'_, Ending> {
        Box::pin(async {
            Ending {
                exit: Exit::Unknown,
                oom_kills: 0,
                pids_hits: 0,
            }
        })
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }

    fn connect<'a>(&'a self, _door: &'a Door) -> Later<'a, io::Result<Box<dyn Stream>>> {
        Box::pin(async {
            let (ours, theirs) = tokio::io::duplex(64 << 10);
            (self.serve)(self.connections.fetch_add(1, Ordering::SeqCst), theirs);
            Ok(Box::new(ours) as Box<dyn Stream>)
        })
    }
}
