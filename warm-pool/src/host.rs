//! Joins what runs (`functions`) with where it runs (`sandbox`): the spawner as functions need it.
//!
//! It owns nothing: the spawner lives as long as the [`Pool`] made here.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use functions::runtimes::{HostRuntimes, base_files, lambda, stdio};
use sandbox::{
    BaseFile, CgroupTree, HostReport, Resident, ResidentCall, Spawner, SpawnerConfig, Stage, StartError,
    SubordinateIds, Switches, Watch,
};

use sandbox::report::State;

use crate::egress::Cidr;
use crate::log_tap::LogSink;
use crate::pool::{Pool, PoolConfig};
use crate::reclaim::Reclaim;
use crate::watch::Rules;

/// First argument of the process that is the spawner.
pub const SPAWNER_ENTRY: &str = "__spawner";

/// What a host gives to the pool.
pub struct Host {
    /// The state directory; layers are below it, and `run/root` is made as a mount point.
    pub state_dir: PathBuf,
    /// Where limits can be set.
    pub tree: CgroupTree,
    /// The interpreters.
    pub runtimes: HostRuntimes,
    /// Where functions' output goes.
    pub logs: Arc<dyn LogSink>,
    /// When the memory of instances that nobody calls is given back.
    pub reclaim: Reclaim,
    /// Layers of the confinement that are off: none, but in the abuse suite.
    pub switches: Switches,
    /// What is watched, and what is done about it.
    pub rules: Rules,
    /// Ranges of addresses that functions may reach although they are not public.
    pub egress_allow: Vec<Cidr>,
}

/// The pool can't be started on this host.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The mount point can't be made.
    #[error("{path} can't be made", path = path.display())]
    MountPoint {
        /// Where.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The spawner did not come up.
    #[error(transparent)]
    Spawner(#[from] StartError),
}

impl Host {
    /// Starts the spawner and a pool over it. Subordinate ids that the user has and that can't be mapped after all (inside
    /// of another container, for example) are done without.
    ///
    /// # Errors
    /// [`HostError`]; nothing runs then.
    pub async fn start(self) -> Result<Started, HostError> {
        let mount_point = self.state_dir.join("run/root");
        std::fs::create_dir_all(&mount_point).map_err(|source| HostError::MountPoint {
            path: mount_point.clone(),
            source,
        })?;
        let files = base_files().into_iter().map(|file| BaseFile {
            path: file.path.into(),
            mode: file.mode,
            contents: String::from_utf8_lossy(file.contents).into_owned(),
        });
        let config = SpawnerConfig {
            entry: SPAWNER_ENTRY.into(),
            program: None,
            mount_point,
            layers: self.state_dir.join("layers/sha256"),
            files: files.collect(),
            tree: self.tree,
            subordinate: sandbox::report::subordinate_ids(),
            switches: self.switches,
            watch: self.rules.watch(),
        };
        let mut subordinate = config.subordinate;
        let spawner = match Spawner::start(config.clone()).await {
            Err(StartError::Stage(failure)) if failure.stage == Stage::IdMap && subordinate.take().is_some() => {
                tracing::warn!(%failure, "subordinate ids can't be mapped here; all functions share one user id");
                Spawner::start(SpawnerConfig { subordinate, ..config }).await?
            }
            other => other?,
        };
        let pool = Pool::start(PoolConfig {
            spawner,
            runtimes: self.runtimes,
            logs: self.logs,
            reclaim: self.reclaim,
            rules: self.rules,
            egress_allow: self.egress_allow,
        });
        Ok(Started { pool, subordinate })
    }
}

/// A pool that runs, and what its sandboxes got.
pub struct Started {
    /// The pool.
    pub pool: Pool,
    /// The user ids of the host that tell functions apart; `None` when they share one.
    pub subordinate: Option<SubordinateIds>,
}

/// Makes one sandbox in a directory of its own, and adds what came of it to `report`: for a look at a host without a server.
pub async fn try_out(subordinate: Option<SubordinateIds>, report: &mut HostReport) {
    let dir = match tempfile::tempdir() {
        Ok(dir) => dir,
        Err(error) => {
            report.push(
                "sandbox",
                State::Missing,
                error.to_string(),
                "a temporary directory",
                None,
            );
            return;
        }
    };
    let config = SpawnerConfig {
        entry: SPAWNER_ENTRY.into(),
        program: None,
        mount_point: dir.path().join("root"),
        layers: dir.path().join("layers"),
        files: Vec::new(),
        tree: CgroupTree::default(),
        subordinate,
        switches: Switches::default(),
        watch: Watch::default(),
    };
    // What can't be made here fails again at its own step, with that step's name.
    let _made = [&config.mount_point, &config.layers].map(std::fs::create_dir);
    sandbox::trial::add(config, report).await;
}

/// Runs as the spawner until its parent is gone; the result is the exit code. `arguments` are those behind
/// [`SPAWNER_ENTRY`]. Must be called before any thread exists.
pub fn spawner_main(arguments: &[String]) -> i32 {
    let residents = [
        Resident {
            name: stdio::RESIDENT,
            serve: serve_stdio,
        },
        Resident {
            name: lambda::RESIDENT,
            serve: serve_lambda,
        },
    ];
    sandbox::spawner::main(SPAWNER_ENTRY, arguments, &residents)
}

fn serve_stdio(call: ResidentCall) -> i32 {
    let ResidentCall { lanes, argv, env, cwd } = call;
    stdio::serve(stdio::Resident {
        lanes,
        argv,
        env,
        cwd: cwd.into(),
    })
}

fn serve_lambda(call: ResidentCall) -> i32 {
    let ResidentCall { argv, env, .. } = call;
    lambda::resident::serve(lambda::resident::Resident { argv, env })
}
