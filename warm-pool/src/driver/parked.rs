//! Keeps Node processes parked ahead of the functions that will run in them.
//!
//! ```text
//!  start --bind--> a process that said PARKED and has the function's code, else the caller executes one
//!            \--> the task is woken, which parks until as many stand as the policy wants
//! ```
//!
//! None is parked before the first start that one could serve, nor after there was none for long. A process is nobody's until it
//! is bound, once. What it printed before stays in the pipe of its log, for whoever it becomes.
//!
//! The task ends when the last handle is dropped, and the processes with it.

use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use functions::runtimes::HostRuntimes;
use functions::runtimes::parked::{MEMORY, parked};
use sandbox::{GroupName, LaunchError, Parked, Plan, Program, Restrictions, Rootfs, Sandbox, Slot, Spawner};
use tokio::sync::Notify;

use super::refill::shape;
use super::stock::{Stands, Stock};
use crate::lane::{Lane, LaneError};
use crate::policy::{LIFE_OF_A_PARKED, PARKED_KEPT_FOR, parked_ahead};

/// How often the number is looked at without anybody having taken one.
const LOOK: Duration = Duration::from_secs(5);
/// How long after a start another is parked: the start that took one loads its handler meanwhile, and has the processor first.
const GRACE: Duration = Duration::from_millis(25);
/// The pause after a process could not be parked.
const AFTER_FAILURE: Duration = Duration::from_secs(5);
/// How long one may take to say PARKED.
const PATIENCE: Duration = Duration::from_secs(30);

/// See the module's head.
pub(super) struct Parking {
    stock: Mutex<Stock<Parked>>,
    taken: Arc<Notify>,
}

/// Why a process is not parked.
#[derive(Debug, thiserror::Error)]
enum ParkError {
    #[error(transparent)]
    Launch(#[from] LaunchError),
    #[error("its lane can't be read")]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Lane(#[from] LaneError),
    #[error("it is not ready after {PATIENCE:?}")]
    Late,
}

impl Stands for Parked {
    fn stands(&self) -> bool {
        Parked::stands(self)
    }
}

impl Parking {
    /// Starts the task that parks, if this host has a Node.
    pub(super) fn start(spawner: Spawner, runtimes: &HostRuntimes) -> Arc<Parking> {
        let parking = Arc::new(Parking {
            stock: Mutex::new(
                Stock::new(parked_ahead)
                    .only_while_wanted(PARKED_KEPT_FOR)
                    .living_for(LIFE_OF_A_PARKED),
            ),
            taken: Arc::default(),
        });
        if let Some(plan) = plan(runtimes) {
            tokio::spawn(keep(Arc::downgrade(&parking), spawner, plan));
        }
        parking
    }

    /// A parked process with the code and the limits of `plan`, which still waits for LOAD. `None` when none stands, when `plan`
    /// can't be bound to one, or when that failed: no code of the function has run then, so it is not to blame.
    pub(super) async fn bind(&self, plan: &Plan) -> Option<Sandbox> {
        // Those that can never be served don't count as wanted.
        if !Slot::fits(plan) {
            return None;
        }
        let parked = self.lock().take(Instant::now());
        self.taken.notify_one();
        let parked = parked.filter(|parked| parked.fits(plan))?;
        match parked.bind(plan).await {
            Ok(sandbox) => Some(sandbox),
            Err(error) => {
                tracing::debug!(%error, "a parked process was lost; the program is executed");
                None
            }
        }
    }

    /// How many stand.
    pub(super) fn standing(&self) -> usize {
        self.lock().standing()
    }

    fn lock(&self) -> MutexGuard<'_, Stock<Parked>> {
        self.stock.lock().expect("nothing panics under the lock")
    }
}

/// What a parked process runs in: the defaults of a function, without code.
fn plan(runtimes: &HostRuntimes) -> Option<Plan> {
    let launch = parked(runtimes)?;
    let shape = shape();
    Some(Plan {
        group: GroupName::new(crate::plan::GROUP).expect("the name is valid"),
        hostname: "parked".to_owned(),
        limits: sandbox::Limits {
            memory: MEMORY.as_u64(),
            ..shape.limits
        },
        tmp_bytes: shape.tmp_bytes,
        rootfs: Rootfs::ReadOnly,
        restrictions: Restrictions::default(),
        layers: Vec::new(),
        program: Program::Exec,
        argv: launch.argv,
        env: launch.env,
        cwd: launch.cwd,
        lanes: 1,
        listen: None,
        outlets: Vec::new(),
        terminable: false,
        watch: sandbox::Watch::default(),
    })
}

async fn keep(parking: Weak<Parking>, spawner: Spawner, plan: Plan) {
    loop {
        // Nothing of the handle is held while waiting, so that the last one can go.
        let Some(handle) = parking.upgrade() else { return };
        let (missing, surplus) = handle.lock().balance(Instant::now());
        drop(surplus);
        if missing == 0 {
            let taken = handle.taken.clone();
            drop(handle);
            // Either way the numbers are looked at anew.
            let _passed = tokio::time::timeout(LOOK, taken.notified()).await;
            continue;
        }
        let quiet = handle.lock().quiet_for(Instant::now()).unwrap_or(GRACE);
        drop(handle);
        if quiet < GRACE {
            tokio::time::sleep(GRACE - quiet).await;
            continue;
        }
        let began = Instant::now();
        match park(&spawner, &plan).await {
            Ok(parked) => {
                let Some(handle) = parking.upgrade() else { return };
                handle.lock().add(parked, Instant::now(), began.elapsed());
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "no Node process could be parked"
                );
                tokio::time::sleep(AFTER_FAILURE).await;
            }
        }
    }
}

async fn park(spawner: &Spawner, plan: &Plan) -> Result<Parked, ParkError> {
    let mut parked = spawner.prepare(&shape()).await?.park(plan).await?;
    let socket = parked.lanes().first().expect("the plan has a lane").try_clone()?;
    let mut lane = Lane::new(socket)?;
    let said = tokio::time::timeout(PATIENCE, lane.parked()).await;
    let said = said
        .map_err(|_| ParkError::Late)
        .and_then(|said| said.map_err(ParkError::Lane));
    if said.is_err() {
        // Nobody else would ever read why.
        let printed = parked.printed();
        tracing::warn!(printed = %functions::printable(&printed), "a Node process ended before it was parked");
    }
    said.map(|()| parked)
}
