//! A program that runs in a slot before its code is known.
//!
//! ```text
//!  Slot --park--> runs, confined, without code --bind--> a running sandbox
//!                   \____ exit, drop, spawner lost ____> gone
//! ```
//!
//! The program is an interpreter and what it brings along, never code of a function. It is as confined as it will ever
//! be; what binding adds is a host name, the layers at `/function` and the limits of their owner. Pid 1 keeps the right
//! to mount, and the store in its reach, until then: an empty directory covers it, and the program is told its function only when
//! the store is gone. It is nobody's until it is bound, once, and it never comes back.

use std::num::NonZeroU16;
use std::os::fd::OwnedFd;

use nix::unistd::read;

use crate::plan::{Limits, Plan};
use crate::sandbox::{LaunchError, Obituary, Sandbox};
use crate::slot::Slot;

/// A program that waits for its code. Dropping it kills everything in its slot.
#[derive(Debug)]
pub struct Parked {
    sandbox: Sandbox,
    limits: Limits,
    lanes: u8,
    listen: Option<NonZeroU16>,
}

impl Parked {
    pub(crate) fn new(sandbox: Sandbox, plan: &Plan) -> Self {
        Self {
            sandbox,
            limits: plan.limits,
            lanes: plan.lanes,
            listen: plan.listen,
        }
    }

    /// Whether it still runs, as far as is known.
    pub fn stands(&self) -> bool {
        !self.sandbox.has_ended()
    }

    /// Waits until it has ended and nothing of it is left.
    pub async fn gone(&self) -> Obituary {
        self.sandbox.gone().await
    }

    /// The host's ends of its lanes, in order, to see what the program says while it waits. They stay its own.
    pub fn lanes(&self) -> &[OwnedFd] {
        self.sandbox.lanes()
    }

    /// What it printed so far, up to a page of it. That is taken away.
    pub fn printed(&mut self) -> String {
        let mut page = vec![0; 4096];
        let length = self.sandbox.take_log().and_then(|log| read(&log, &mut page).ok());
        String::from_utf8_lossy(&page[..length.unwrap_or(0)]).into_owned()
    }

    /// Whether `plan` can be bound to it. Its root is read-only and its filter is attached, its lanes and its listener are open, outlets are not made any more, and a process that runs
    /// keeps its limit of file sizes, which follows from its memory. That program, arguments and environment are what the owner of `plan`
    /// expects is for the caller to know.
    pub fn fits(&self, plan: &Plan) -> bool {
        Slot::fits(plan)
            && plan.lanes == self.lanes
            && plan.listen == self.listen
            && plan.outlets.is_empty()
            && plan.limits.memory == self.limits.memory
    }

    /// Gives it the code, the host name and the limits of `plan`, and waits until it has them. The program is not told: that
    /// is for the caller to do, over a lane.
    ///
    /// Dropping the future kills it.
    ///
    /// # Errors
    /// [`LaunchError`], as for a launch from nothing; everything of it is gone then.
    pub async fn bind(mut self, plan: &Plan) -> Result<Sandbox, LaunchError> {
        plan.check()?;
        if plan.limits != self.limits {
            self.sandbox.limit(plan)?;
        }
        self.sandbox.show(plan)?;
        self.sandbox.started().await?;
        Ok(self.sandbox)
    }
}
