//! Visits: a process of ours enters a slot for a moment, to connect to a unix socket in it for the host.
//!
//! The spawner only makes it and reaps it, and never waits for it. A slot is not gone while a visitor is in it, and a
//! visitor does not outlive the slot's pid 1: it is killed then. At the end of everything the kernel ends it with the spawner.

use std::os::fd::{AsFd, OwnedFd};

use super::{Process, Running, Spawner};
use crate::child::visitor;
use crate::packet;
use crate::reach::Answer;
use crate::stage::{Stage, StageError};
use crate::sys::clone::{Side, clone3};

/// A process of ours that is in a slot.
pub(super) struct Visitor {
    slot: u64,
    pidfd: OwnedFd,
}

impl Spawner<'_> {
    pub(super) fn visit(&mut self, id: u64, path: String, mut beside: Vec<OwnedFd>) {
        // Without it there was no room here; of a slot that is gone nobody answers. The end of the socket tells both.
        let Some(answer) = beside.pop() else { return };
        let Some(Running {
            process: Process::Slot { pidfd, rootfs },
            ..
        }) = self.running.get(&id)
        else {
            return;
        };
        match clone3(0, None) {
            Ok(Side::Child) => visitor::run(visitor::Start {
                pidfd: pidfd.as_fd(),
                path: &path,
                answer,
                worker_id: self.worker_id(id),
                rootfs: *rootfs,
                filter: &self.filter,
            }),
            Ok(Side::Parent { pid, pidfd }) => {
                self.visitors.insert(pid, Visitor { slot: id, pidfd });
            }
            Err(source) => {
                let failure = StageError {
                    stage: Stage::Visit,
                    errno: source.raw_os_error().unwrap_or(libc::EIO),
                };
                // Whoever gave up hears nothing any more.
                let _gone = packet::send(answer.as_fd(), &Answer::Failed(failure), &[]);
            }
        }
    }

    /// Whether a visitor is in a slot.
    pub(super) fn is_visited(&self, id: u64) -> bool {
        self.visitors.values().any(|visitor| visitor.slot == id)
    }

    /// The slot's pid 1 is gone.
    pub(super) fn send_away(&self, id: u64) {
        for visitor in self.visitors.values().filter(|visitor| visitor.slot == id) {
            // It may have ended by itself in the meantime; its pidfd can't mean anybody else.
            let _ended = rustix::process::pidfd_send_signal(&visitor.pidfd, rustix::process::Signal::KILL);
        }
    }
}
