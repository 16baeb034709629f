//! A cell: the namespaces of one function, the template in them, and slots into which the template forks.
//!
//! ```text
//!  Spawner::cell -> the template is executed --its own word--> initialised
//!                      Cell::slot -> stands --CellSlot::fork--> a running sandbox
//! ```
//!
//! The template is foreign code. It reads its orders, one packet of JSON each, from descriptor 3:
//!
//! | packet | beside it | meaning |
//! |---|---|---|
//! | `{"slot","pid","lanes","born_in"}` | pid, mnt, net, ipc, uts, cgroup namespace; log; lanes; entrances of the leaf | a slot stands |
//! | `{"fork","rehearse"}` | | fork into that slot: with this pid in the cell and 2 in the slot, into the leaf, into the namespaces |
//! | `{"drop"}` | | that slot is gone, close what came with it |
//!
//! What it writes there is read by [`Cell::word`], as it is. Nothing that it says about processes is believed: a slot ends
//! when the cell's pid 1 says so.
//!
//! Dropping a [`Cell`] kills all of it, with everything that was forked in it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use nix::sys::socket::{MsgFlags, recv};
use serde::Serialize;
use tokio::io::Interest;

use crate::child::cell::Question;
use crate::packet;
use crate::plan::{Plan, PlanError, Rootfs};
use crate::sandbox::{LaunchError, Sandbox, no_descriptors, nonblocking};
use crate::spawner::Spawner;
use crate::sys::readiness;

pub use crate::child::cell::Holdings;

/// The most bytes that a template may say at once.
const LONGEST_WORD: usize = 64 << 10;
/// The most lanes of a sandbox that is forked: its descriptors travel in one packet.
const MOST_LANES: u8 = 32;

/// A cell whose template is executed. See the module's head.
#[derive(Debug)]
pub struct Cell {
    spawner: Spawner,
    plan: Plan,
    /// Pid 1 of the cell and the template, with their leaf and log.
    base: Arc<Sandbox>,
    log: Option<OwnedFd>,
    orders: Arc<OwnedFd>,
}

/// A slot of a cell that stands. Dropping it takes everything of it away.
#[derive(Debug)]
pub struct CellSlot {
    /// Until it is forked into.
    sandbox: Option<Sandbox>,
    orders: Arc<OwnedFd>,
}

/// What a template is told to do.
#[derive(Serialize)]
#[serde(untagged)]
enum Order {
    Fork { fork: u64, rehearse: bool },
    Drop { drop: u64 },
}

impl Cell {
    /// Whether a sandbox of `plan` can be forked at all: it has a read-only root, a program, no listener, no outlets, and not too many
    /// lanes.
    pub fn fits(plan: &Plan) -> bool {
        plan.rootfs == Rootfs::ReadOnly
            && plan.program == crate::plan::Program::Exec
            && plan.lanes <= MOST_LANES
            && plan.listen.is_none()
            && plan.outlets.is_empty()
    }

    pub(crate) fn new(spawner: Spawner, plan: Plan, mut base: Sandbox, orders: OwnedFd) -> Result<Self, LaunchError> {
        nonblocking(&orders).map_err(no_descriptors)?;
        base.reach().lacks_all();
        let orders = Arc::new(orders);
        Ok(Self {
            spawner,
            plan,
            log: base.take_log(),
            base: Arc::new(base),
            orders,
        })
    }

    /// Number of the cell, unique within the life of the server.
    pub fn id(&self) -> u64 {
        self.base.id()
    }

    /// The cgroup that the leaves of the template and of all slots stand in.
    pub fn group(&self) -> &str {
        self.plan.group.as_str()
    }

    /// The cell with its template, as a sandbox: its log, its use of memory, its end.
    pub fn base(&self) -> &Arc<Sandbox> {
        &self.base
    }

    /// The readable end of the pipe that the template's output goes to, nonblocking; `None` at the second call.
    pub fn take_log(&mut self) -> Option<OwnedFd> {
        self.log.take()
    }

    /// The next packet that the template says; `None` when the cell has ended. Cancel safe.
    pub async fn word(&self) -> Option<Vec<u8>> {
        let orders = readiness::watch(Arc::clone(&self.orders), Interest::READABLE).ok()?;
        let mut buffer = vec![0; LONGEST_WORD];
        let read = orders.async_io(Interest::READABLE, |fd| {
            let length = recv(std::os::fd::AsRawFd::as_raw_fd(&**fd), &mut buffer, MsgFlags::empty());
            length.map_err(io::Error::from)
        });
        tokio::select! {
            read = read => {
                let length = read.ok().filter(|length| *length > 0)?;
                buffer.truncate(length);
                Some(buffer)
            }
            // This process holds the other end too, so that it never ends by itself.
            _ = self.base.gone() => None,
        }
    }

    /// What the template holds at this moment.
    ///
    /// # Errors
    /// [`LaunchError`] when the cell has ended.
    pub async fn inspect(&self) -> Result<Holdings, LaunchError> {
        self.base.ask(&Question::Inspect)?;
        self.base.holdings().await
    }

    /// Builds a slot and waits until it stands and the template was told of it.
    ///
    /// Dropping the future takes away what was built.
    ///
    /// # Errors
    /// As [`Spawner::launch`].
    pub async fn slot(&self) -> Result<CellSlot, LaunchError> {
        let sandbox = self.spawner.build_in_cell(self.base.id(), &self.plan).await?;
        sandbox.ready().await?;
        Ok(CellSlot {
            sandbox: Some(sandbox),
            orders: Arc::clone(&self.orders),
        })
    }
}

impl CellSlot {
    /// Whether it still stands, as far as is known.
    pub fn stands(&self) -> bool {
        self.sandbox.as_ref().is_some_and(|sandbox| !sandbox.has_ended())
    }

    /// Orders the fork. The sandbox is running from the host's view: what the fork says first comes on its lanes. With
    /// `rehearse` the fork is not awaited by a call, and may spend time on what makes its first call faster.
    ///
    /// # Errors
    /// When the order can't be sent, because the template is gone for example; the slot is gone then.
    pub fn fork(mut self, rehearse: bool) -> Result<Sandbox, LaunchError> {
        let sandbox = self.sandbox.take().expect("it is taken here alone");
        let fork = sandbox.id();
        packet::send(self.orders.as_fd(), &Order::Fork { fork, rehearse }, &[]).map_err(no_descriptors)?;
        Ok(sandbox)
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        // Others may still read its accounts.
        self.base.kill();
    }
}

impl Drop for CellSlot {
    fn drop(&mut self) {
        if let Some(sandbox) = self.sandbox.take() {
            let drop = sandbox.id();
            // A template that does not read it any more goes with what it holds.
            let _unread = packet::send(self.orders.as_fd(), &Order::Drop { drop }, &[]);
        }
    }
}

impl Spawner {
    /// Builds a cell, with what `plan` says executed as its template, and waits until that is done. The template has the
    /// limits of the plan, and each slot of the cell has them anew. Building a slot and forking into it costs memory that the kernel
    /// goes on counting for the template, so its limit is higher by that for `slots`, the most that will stand at one time.
    ///
    /// Dropping the future kills what was built.
    ///
    /// # Errors
    /// As [`Spawner::launch`]; [`PlanError::NoTemplate`] for a plan that [`Cell::fits`] says no to.
    pub async fn cell(&self, plan: &Plan, slots: u32) -> Result<Cell, LaunchError> {
        plan.check()?;
        if !Cell::fits(plan) {
            return Err(PlanError::NoTemplate.into());
        }
        let (orders, theirs) = packet::pair().map_err(no_descriptors)?;
        let (plan, mut base) = self
            .build_cell(plan.clone(), slots, theirs.as_fd(), orders.as_fd())
            .await?;
        drop(theirs);
        base.started().await?;
        Cell::new(self.clone(), plan, base, orders)
    }
}
