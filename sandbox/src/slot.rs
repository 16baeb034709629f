//! A slot built ahead: everything of a sandbox but the code.
//!
//! ```text
//!  prepare -> stands (its worker is confined and waits) --bind--> a running sandbox
//!                 |                       \_____________--park--> a program that waits for its code (see `parked`)
//!                 \________ drop, spawner lost ________________> gone
//! ```
//!
//! It is nobody's until it is bound, once, and it never comes back: what ran foreign code goes to nobody else.

use crate::parked::Parked;
use crate::plan::{Plan, Rootfs, Shape};
use crate::sandbox::{LaunchError, Sandbox};

/// A slot that stands. Dropping it takes everything of it away.
#[derive(Debug)]
pub struct Slot {
    sandbox: Sandbox,
    shape: Shape,
}

impl Slot {
    pub(crate) fn new(sandbox: Sandbox, shape: Shape) -> Self {
        Self { sandbox, shape }
    }

    /// Whether it still stands, as far as is known.
    pub fn stands(&self) -> bool {
        !self.sandbox.has_ended()
    }

    /// Whether `plan` can be bound to such a slot at all: a writable root is stacked and restrictions are attached when a slot is
    /// built.
    pub fn fits(plan: &Plan) -> bool {
        plan.rootfs == Rootfs::ReadOnly && plan.restrictions.is_empty()
    }

    /// Binds it to code and waits until that runs. The limits of `plan` stand before it is told what to run.
    ///
    /// Dropping the future kills the slot.
    ///
    /// # Errors
    /// [`LaunchError`], as for a launch from nothing; the slot is gone then.
    pub async fn bind(mut self, plan: &Plan) -> Result<Sandbox, LaunchError> {
        plan.check()?;
        if plan.limits != self.shape.limits || plan.own_pids() != crate::plan::OWN_PIDS {
            self.sandbox.limit(plan)?;
        }
        self.sandbox.bind(plan)?;
        self.sandbox.started().await?;
        Ok(self.sandbox)
    }

    /// Executes the program of `plan` in it, which must know no foreign code, and waits until it runs. The code comes later:
    /// `plan` has no layers, and its working directory is not among them.
    ///
    /// Dropping the future kills the slot.
    ///
    /// # Errors
    /// [`LaunchError`], as for a launch from nothing; the slot is gone then.
    pub async fn park(mut self, plan: &Plan) -> Result<Parked, LaunchError> {
        plan.check()?;
        self.sandbox.limit(plan)?;
        self.sandbox.park(plan)?;
        self.sandbox.started().await?;
        Ok(Parked::new(self.sandbox, plan))
    }
}
