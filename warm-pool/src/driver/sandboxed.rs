//! The launcher of the product: each revision in a sandbox of its own.

use std::sync::Arc;
use std::time::Duration;

use functions::runtimes::{HostRuntimes, launch};
use functions::{FunctionName, Revision};
use sandbox::{LaunchError, Obituary, Plan, Sandbox, Spawner};

use super::launcher::{Confined, Ending, Exit, Later, Launched, Launcher, Stages, Usage};
use super::ledger::Ledger;
use super::refill::Refill;
use crate::fate::{Fate, StartFailure};
use crate::plan::plan;
use crate::start::{Purpose, Start};

/// See the module's head.
pub(crate) struct Sandboxed {
    spawner: Spawner,
    runtimes: HostRuntimes,
    refill: Arc<Refill>,
    ledger: Arc<Ledger>,
}

impl Sandboxed {
    pub(crate) fn new(spawner: Spawner, runtimes: HostRuntimes) -> Sandboxed {
        Sandboxed {
            refill: Refill::start(spawner.clone()),
            spawner,
            runtimes,
            ledger: Arc::default(),
        }
    }

    async fn sandbox(&self, plan: &Plan) -> Result<(Sandbox, Start), LaunchError> {
        if let Some(slot) = self.refill.take(plan) {
            match slot.bind(plan).await {
                Ok(sandbox) => return Ok((sandbox, Start::Pooled)),
                // It fell while it waited, with its spawner for example: nothing ran in it.
                Err(LaunchError::Killed(Obituary { oom_kills: 0, .. }) | LaunchError::SpawnerGone) => {}
                Err(error) => return Err(error),
            }
        }
        Ok((self.spawner.launch(plan).await?, Start::Cold))
    }
}

impl Launcher for Sandboxed {
    fn launch<'a>(&'a self, revision: &'a Revision, _purpose: Purpose) -> Later<'a, Result<Launched, StartFailure>> {
        Box::pin(async {
            let launch = launch(revision, &self.runtimes).map_err(|error| StartFailure::Plan(error.into()))?;
            let plan = plan(revision, launch).map_err(|error| StartFailure::Plan(error.into()))?;
            let (mut sandbox, start) = self.sandbox(&plan).await.map_err(failed)?;
            let lanes = sandbox.take_lanes();
            let log = sandbox.take_log().expect("nobody took the log before");
            let phases = sandbox.phases();
            let stages = Stages {
                leaf: phases.leaf,
                clone: phases.clone,
                rootfs: phases.rootfs,
                confine: phases.confine,
                exec: phases.exec,
            };
            let sandbox = Arc::new(sandbox);
            self.ledger.open(&revision.name, &sandbox);
            let body = Body {
                sandbox,
                function: revision.name.clone(),
                ledger: self.ledger.clone(),
            };
            Ok(Launched {
                body: Box::new(body),
                lanes,
                log,
                start,
                stages,
            })
        })
    }

    fn is_up(&self) -> bool {
        self.spawner.is_up()
    }

    fn cpu(&self, function: &FunctionName) -> Option<Duration> {
        self.ledger.total(function)
    }

    fn slots_standing(&self) -> usize {
        self.refill.standing()
    }

    fn forget(&self, function: &FunctionName) {
        self.ledger.close(function);
    }
}

/// A sandbox with whose function it is.
struct Body {
    sandbox: Arc<Sandbox>,
    function: FunctionName,
    ledger: Arc<Ledger>,
}

fn failed(error: LaunchError) -> StartFailure {
    match error {
        LaunchError::Killed(Obituary { oom_kills: 1.., .. }) => StartFailure::Died(Fate::OutOfMemory),
        LaunchError::Plan(error) => StartFailure::Plan(error.into()),
        error => StartFailure::Sandbox(error.into()),
    }
}

impl Confined for Body {
    fn kill(&self) {
        self.sandbox.kill();
    }

    fn gone(&self) -> Later<'_, Ending> {
        Box::pin(async {
            let obituary = self.sandbox.gone().await;
            self.ledger.settle(&self.function, self.sandbox.id(), obituary.cpu);
            let exit = match obituary.exit {
                sandbox::Exit::Code(code) => Exit::Code(code),
                sandbox::Exit::Signal(signal) => Exit::Signal(signal),
                sandbox::Exit::Unknown => Exit::Unknown,
            };
            Ending {
                exit,
                oom_kills: obituary.oom_kills,
            }
        })
    }

    fn usage(&self) -> Usage {
        let sandbox::Usage { memory_bytes, pids, .. } = self.sandbox.usage();
        Usage { memory_bytes, pids }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        // Nobody waited for its end: what is read now is the most that will be known.
        let cpu = self.sandbox.usage().cpu.unwrap_or_default();
        self.ledger.settle(&self.function, self.sandbox.id(), cpu);
    }
}
