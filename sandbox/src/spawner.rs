//! The process that all sandboxes are born from, and the host's handle to it.
//!
//! ```text
//!  fn serve (tokio, many threads)                       the only parent of sandboxes
//!  ┌───────────────┐  SEQPACKET: build, kill ->   ┌──────────────────────────────────┐
//!  │ Spawner       │ <─────────────────────────── │ outer, then serve: pid 1 of an   │
//!  │  (this file)  │     <- refused, gone         │ outer user and pid namespace     │
//!  └──────┬────────┘                              └───────────┬──────────────────────┘
//!         │ one control socket for each sandbox               │ clone3
//!         └────────────────────────────────────────────> pid 1 of each sandbox
//! ```
//!
//! The handle restarts the process when it dies; every sandbox of the dead one is reported gone. Dropping the last
//! handle ends the process and with it all sandboxes.

mod base;
mod outer;
pub(crate) mod process;
pub(crate) mod protocol;
mod serve;

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::unistd::Pid;
use tokio::sync::watch;

use self::process::{Connection, Parent};
pub use self::protocol::{BaseFile, SubordinateIds};
use self::protocol::{FromSpawner, ToSpawner};
use crate::cgroup::CgroupTree;
use crate::cgroup::leaf::Leaf;
use crate::child::Resident;
use crate::packet;
use crate::plan::{GroupName, Plan, Shape, SlotPlan};
use crate::sandbox::{LaunchError, Obituary, Sandbox, SlotState, nonblocking};
use crate::sighting::{Sightings, Watch};
use crate::slot::Slot;
use crate::stage::{At, Stage, StageError};
use crate::switches::{Layer, Switches};

const INNER: &str = "inner";
const OUTER: &str = "outer";
/// How long a start waits for a spawner that is being restarted.
const PATIENCE: Duration = Duration::from_secs(5);
/// Memory that goes on counting for a cell's own leaf when a slot was built in it and its template forked into that: the pages that both touched
/// before they were in the slot's leaf, and the kernel's part of a process and its namespaces. Measured: 0.7 MiB for a template of 7 MiB, and the
/// larger a template is the more page tables are copied.
const LEFT_BY_A_SLOT: u64 = 2 << 20;
/// Longest pause between attempts to restart a spawner.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The part of our binary that is the spawner: `arguments` are those behind the name of the hidden sub-command, whose
/// name is `entry`. Must be called before any thread exists. The result is the exit code.
pub fn main(entry: &str, arguments: &[String], residents: &[Resident]) -> i32 {
    // No signal of its own ends pid 1 of a pid namespace, so a panic's abort would spin for ever: exit instead.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::exit(70)
    }));
    let Ok(control) = crate::sys::descriptors::inherited(protocol::CONTROL) else {
        return 2;
    };
    let outcome = process::read_config().and_then(|config| match arguments.first().map(String::as_str) {
        Some(OUTER) => outer::run(&config, &control, entry),
        _ => crate::sys::descriptors::inherited(protocol::SIGHTINGS)
            .at(Stage::Descriptors)
            .and_then(|sightings| serve::run(config, control.as_fd(), sightings.as_fd(), residents)),
    });
    match outcome {
        Ok(()) => 0,
        Err(failure) => {
            // With the host gone nobody is left to be told.
            let _gone = packet::send(control.as_fd(), &FromSpawner::Failed(failure), &[]);
            1
        }
    }
}

/// What a spawner needs to know.
#[derive(Debug, Clone)]
pub struct SpawnerConfig {
    /// Name of the hidden sub-command of this binary that calls [`main`].
    pub entry: String,
    /// The binary, where it is not the running one (tests).
    pub program: Option<std::path::PathBuf>,
    /// An existing directory of ours, used as a mount point inside the spawner's namespace.
    pub mount_point: std::path::PathBuf,
    /// Directory of the layers, each named by its digest.
    pub layers: std::path::PathBuf,
    /// Read-only files that every sandbox sees.
    pub files: Vec<BaseFile>,
    /// Where limits are set.
    pub tree: CgroupTree,
    /// Subordinate ids, where the user has them.
    pub subordinate: Option<SubordinateIds>,
    /// Layers that are off: none, but in the abuse suite.
    pub switches: Switches,
    /// What any plan may have watched: all programs are stopped at these calls until pid 1 of their sandbox was told.
    pub watch: Watch,
}

/// The spawner did not come up.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Our own binary could not be started.
    #[error("the spawner process could not be started")]
    Process(#[source] std::io::Error),
    /// A step of it failed.
    #[error("the spawner did not come up")]
    Stage(#[from] StageError),
    /// Sandboxes of root would be the host's root.
    #[error("the spawner is never started as root: become an unprivileged user first")]
    Root,
    /// It ended without a word.
    #[error("the spawner ended before it was ready")]
    Silent,
}

/// Handle to the spawner process; clones share it.
#[derive(Debug, Clone)]
pub struct Spawner {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    tree: CgroupTree,
    /// The spawner that serves now; `None` while one is being started.
    current: watch::Receiver<Option<Arc<Connection>>>,
    slots: Arc<Slots>,
    next: AtomicU64,
    /// What the sandboxes see, until somebody takes it.
    sightings: Mutex<Option<Sightings>>,
    /// Makes leaf names differ from those of an earlier run whose leaves would not go.
    run: u32,
}

/// All sandboxes of which something is left, by their ids.
#[derive(Debug, Default)]
struct Slots(Mutex<HashMap<u64, Arc<SlotState>>>);

impl Slots {
    fn insert(&self, id: u64, state: Arc<SlotState>) -> Entered<'_> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id, state);
        Entered { slots: self, id }
    }

    fn take(&self, id: u64) -> Option<Arc<SlotState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id)
    }

    fn take_all(&self) -> HashMap<u64, Arc<SlotState>> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A sandbox of which the spawner was not told yet, so that it will never say that it is gone: the drop takes it out.
struct Entered<'a> {
    slots: &'a Slots,
    id: u64,
}

impl Entered<'_> {
    /// The spawner was told.
    fn stay(self) {
        std::mem::forget(self);
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.slots.take(self.id);
    }
}

impl Spawner {
    /// Starts the process and waits until it can build sandboxes. What an earlier run left in the cgroups is removed.
    ///
    /// # Errors
    /// [`StartError`], when user namespaces are forbidden or a mount is refused, for example.
    pub async fn start(mut config: SpawnerConfig) -> Result<Self, StartError> {
        if nix::unistd::Uid::effective().is_root() {
            return Err(StartError::Root);
        }
        leave_out(&mut config.tree, config.switches);
        let (ours, theirs) = packet::pair().map_err(StartError::Process)?;
        // Neither end is ever waited at: the one is polled, and pid 1 of a sandbox drops what there is no room for.
        for end in [&ours, &theirs] {
            nonblocking(end).map_err(StartError::Process)?;
        }
        let parent = Parent::start(&config, theirs).map_err(StartError::Process)?;
        let tree = config.tree;
        clear(&tree).await;
        let first = parent.connect().await?;
        let (publish, current) = watch::channel(Some(Arc::new(first)));
        let slots = Arc::new(Slots::default());
        tokio::spawn(supervise(tree.clone(), Arc::clone(&slots), parent, publish));
        let shared = Shared {
            tree,
            current,
            slots,
            next: AtomicU64::new(1),
            sightings: Mutex::new(Some(Sightings::new(ours))),
            run: std::process::id(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Builds a sandbox and waits until its program is executed or its resident serves.
    ///
    /// Dropping the future kills what was built.
    ///
    /// # Errors
    /// [`LaunchError`] says which step failed and why; nothing of the sandbox is left then, or soon will be.
    pub async fn launch(&self, plan: &Plan) -> Result<Sandbox, LaunchError> {
        plan.check()?;
        let mut sandbox = self.build(plan.slot()).await?;
        sandbox.bind(plan)?;
        sandbox.started().await?;
        Ok(sandbox)
    }

    /// Builds a slot and waits until it stands.
    ///
    /// Dropping the future takes away what was built.
    ///
    /// # Errors
    /// As [`Spawner::launch`].
    pub async fn prepare(&self, shape: &Shape) -> Result<Slot, LaunchError> {
        let sandbox = self.build(shape.slot()).await?;
        sandbox.ready().await?;
        Ok(Slot::new(sandbox, shape.clone()))
    }

    /// Has a slot built; it does not stand yet.
    async fn build(&self, plan: SlotPlan) -> Result<Sandbox, LaunchError> {
        let (id, leaf) = self.next();
        let (sandbox, control, connection) = self.blank(id, &plan.group, &leaf).await?;
        let build = ToSpawner::Build { id, leaf, plan };
        self.tell(&sandbox, &connection, &build, &[control.as_fd()]).await?;
        Ok(sandbox)
    }

    /// Has a cell built, in a group of its own; its template is not executed yet. `slots` will stand in it at most; `orders` and
    /// `announce` are both ends of its socket.
    pub(crate) async fn build_cell(
        &self,
        mut plan: Plan,
        slots: u32,
        orders: BorrowedFd<'_>,
        announce: BorrowedFd<'_>,
    ) -> Result<(Plan, Sandbox), LaunchError> {
        let (id, leaf) = self.next();
        plan.group = GroupName::new(format!("cell-{:x}-{id}", self.shared.run))?;
        let (mut sandbox, control, connection) = self.blank(id, &plan.group, &leaf).await?;
        let log = sandbox.open_log()?;
        let mut own = plan.slot();
        own.limits.memory += LEFT_BY_A_SLOT * u64::from(slots);
        let build = ToSpawner::Cell {
            id,
            leaf,
            plan: own,
            bind: Box::new(plan.bind()),
        };
        let fds = [control.as_fd(), orders, announce, log.as_fd()];
        self.tell(&sandbox, &connection, &build, &fds).await?;
        Ok((plan, sandbox))
    }

    /// Has a slot built in a cell, with the channels of the sandbox that it will be; it does not stand yet.
    pub(crate) async fn build_in_cell(&self, cell: u64, plan: &Plan) -> Result<Sandbox, LaunchError> {
        let (id, leaf) = self.next();
        let (mut sandbox, control, connection) = self.blank(id, &plan.group, &leaf).await?;
        sandbox.reach().lacks_connections();
        let inside = sandbox.open_channels(plan.lanes)?;
        let build = ToSpawner::SlotInCell {
            id,
            cell,
            leaf,
            plan: plan.slot(),
            hostname: plan.hostname.clone(),
        };
        let mut fds = vec![control.as_fd()];
        fds.extend(inside.iter().map(AsFd::as_fd));
        self.tell(&sandbox, &connection, &build, &fds).await?;
        Ok(sandbox)
    }

    /// The next number, and the name of the leaf that goes with it.
    fn next(&self) -> (u64, String) {
        let id = self.shared.next.fetch_add(1, Ordering::Relaxed);
        (id, format!("s{:x}-{id}", self.shared.run))
    }

    /// A sandbox that nobody was told of, and the end of its control socket that goes into it.
    async fn blank(
        &self,
        id: u64,
        group: &GroupName,
        leaf: &str,
    ) -> Result<(Sandbox, OwnedFd, Arc<Connection>), LaunchError> {
        let connection = self.connection().await.ok_or(LaunchError::SpawnerGone)?;
        let leaf = Leaf::named(&self.shared.tree, group, leaf);
        let (sandbox, control) = Sandbox::new(id, leaf, Arc::clone(&connection))?;
        Ok((sandbox, control, connection))
    }

    async fn tell(
        &self,
        sandbox: &Sandbox,
        connection: &Connection,
        build: &ToSpawner,
        fds: &[BorrowedFd<'_>],
    ) -> Result<(), LaunchError> {
        let entered = self.shared.slots.insert(sandbox.id(), sandbox.state());
        match connection.send(build, fds).await {
            Ok(()) => {
                entered.stay();
                Ok(())
            }
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Err(LaunchError::SpawnerGone),
            Err(error) => Err(LaunchError::Descriptors(Arc::new(error))),
        }
    }

    /// What is seen of what runs in the sandboxes of this spawner and of those that follow it; `None` at the second call. Who does not take it
    /// does without: what was told stays unread.
    pub fn take_sightings(&self) -> Option<Sightings> {
        self.shared
            .sightings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// Whether a spawner serves at this moment.
    pub fn is_up(&self) -> bool {
        self.shared.current.borrow().is_some()
    }

    /// Pid of the spawner on the host, for tests and diagnosis.
    pub fn pid(&self) -> Option<i32> {
        self.shared.current.borrow().as_ref().map(|connection| connection.pid())
    }

    async fn connection(&self) -> Option<Arc<Connection>> {
        let mut current = self.shared.current.clone();
        let found = tokio::time::timeout(PATIENCE, current.wait_for(Option::is_some))
            .await
            .ok()?
            .ok()?;
        found.clone()
    }
}

/// A limit that is off is one that this host can't set.
fn leave_out(tree: &mut CgroupTree, switches: Switches) {
    for (layer, limit) in [
        (Layer::MemoryLimit, &mut tree.memory),
        (Layer::PidsLimit, &mut tree.pids),
        (Layer::CpuLimit, &mut tree.cpu),
    ] {
        if switches.off(layer) {
            *limit = None;
        }
    }
}

/// Removes leftover groups; the processes in them may still be dying.
async fn clear(tree: &CgroupTree) {
    for _ in 0..250 {
        match tree.sweep() {
            Ok(0) => return,
            Ok(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(error) => {
                tracing::warn!(%error, "leftover cgroups can't be looked at");
                return;
            }
        }
    }
    tracing::warn!("some cgroups of an earlier run are still in use and were left");
}

/// Passes on what the spawner says, and starts a new one whenever it ends, until the last handle is dropped. Then it ends
/// the spawner too.
async fn supervise(
    tree: CgroupTree,
    slots: Arc<Slots>,
    parent: Parent,
    publish: watch::Sender<Option<Arc<Connection>>>,
) {
    loop {
        let Some(connection) = publish.borrow().clone() else {
            return;
        };
        tokio::select! {
            () = listen(&slots, &connection) => {}
            () = connection.say_unsaid() => {}
            // Every handle holds a receiver.
            () = publish.closed() => {}
        }
        publish.send_replace(None);
        let pid = Pid::from_raw(connection.pid());
        if publish.is_closed() {
            // Its end of the socket ends, upon which it takes its cgroups away and goes by itself.
            connection.close();
            parent.see_off(pid).await;
        } else {
            parent.bury(pid).await;
        }
        for slot in slots.take_all().into_values() {
            slot.end(Obituary::default());
        }
        if publish.is_closed() {
            return;
        }
        tracing::error!("the spawner ended; every sandbox went with it, a new one is started");
        let mut pause = Duration::from_millis(20);
        loop {
            clear(&tree).await;
            match parent.connect().await {
                Ok(next) => {
                    publish.send_replace(Some(Arc::new(next)));
                    break;
                }
                Err(error) => tracing::error!(%error, "the spawner could not be restarted"),
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = publish.closed() => return,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// Returns when the connection ends.
async fn listen(slots: &Slots, connection: &Connection) {
    while let Ok(Some(message)) = connection.receive().await {
        match message {
            FromSpawner::Refused { id, failure, detail } => {
                if let Some(slot) = slots.take(id) {
                    slot.refuse(failure, detail);
                }
            }
            FromSpawner::Gone { id, account, exit } => {
                if let Some(slot) = slots.take(id) {
                    slot.end(Obituary::of(account, exit));
                }
            }
            other => tracing::warn!(?other, "the spawner said something unexpected"),
        }
    }
}
