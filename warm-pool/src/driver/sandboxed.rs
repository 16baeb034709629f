//! The launcher of the product: each revision in a sandbox of its own.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use functions::runtimes::{HostRuntimes, launch};
use functions::{FunctionName, Revision};
use sandbox::{LaunchError, Obituary, Sandbox, Spawner};

use super::launcher::{Confined, Ending, Exit, Later, Launched, Launcher, Stages, Usage};
use crate::fate::{Fate, StartFailure};
use crate::plan::{group, plan};

/// See the module's head.
pub(crate) struct Sandboxed {
    spawner: Spawner,
    runtimes: HostRuntimes,
    tenants: Mutex<Tenants>,
}

/// A number for each function, given when it is started first.
#[derive(Default)]
struct Tenants {
    numbers: HashMap<FunctionName, u32>,
    next: u32,
    /// Removed functions whose cgroup something still stood in.
    leaving: Vec<FunctionName>,
}

impl Sandboxed {
    pub(crate) fn new(spawner: Spawner, runtimes: HostRuntimes) -> Sandboxed {
        Sandboxed {
            spawner,
            runtimes,
            tenants: Mutex::default(),
        }
    }

    fn tenant(&self, function: &FunctionName) -> u32 {
        let mut tenants = self.tenants.lock().expect("nothing panics under the lock");
        if let Some(number) = tenants.numbers.get(function) {
            return *number;
        }
        let number = tenants.next;
        tenants.next = tenants.next.wrapping_add(1);
        // One of that name is back.
        tenants.leaving.retain(|name| name != function);
        tenants.numbers.insert(function.clone(), number);
        number
    }
}

impl Launcher for Sandboxed {
    fn launch<'a>(&'a self, revision: &'a Revision) -> Later<'a, Result<Launched, StartFailure>> {
        Box::pin(async {
            let launch = launch(revision, &self.runtimes).map_err(|error| StartFailure::Plan(error.into()))?;
            let plan = plan(revision, launch, self.tenant(&revision.name))
                .map_err(|error| StartFailure::Plan(error.into()))?;
            let mut sandbox = self.spawner.launch(&plan).await.map_err(failed)?;
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
            Ok(Launched {
                body: Box::new(sandbox),
                lanes,
                log,
                stages,
            })
        })
    }

    fn is_up(&self) -> bool {
        self.spawner.is_up()
    }

    fn cpu(&self, function: &FunctionName) -> Option<Duration> {
        self.spawner.group_cpu(&group(function))
    }

    fn forget(&self, function: &FunctionName) {
        let mut tenants = self.tenants.lock().expect("nothing panics under the lock");
        if tenants.numbers.remove(function).is_some() {
            tenants.leaving.push(function.clone());
        }
        // What its instances still stand in goes with the next function that is removed, or the next start.
        tenants.leaving.retain(|name| !self.spawner.remove_group(&group(name)));
    }
}

fn failed(error: LaunchError) -> StartFailure {
    match error {
        LaunchError::Killed(Obituary { oom_kills: 1.., .. }) => StartFailure::Died(Fate::OutOfMemory),
        LaunchError::Plan(error) => StartFailure::Plan(error.into()),
        error => StartFailure::Sandbox(error.into()),
    }
}

impl Confined for Sandbox {
    fn kill(&self) {
        Sandbox::kill(self);
    }

    fn gone(&self) -> Later<'_, Ending> {
        Box::pin(async {
            let obituary = Sandbox::gone(self).await;
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
        let sandbox::Usage { memory_bytes, pids } = Sandbox::usage(self);
        Usage { memory_bytes, pids }
    }
}
