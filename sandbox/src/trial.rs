//! The proof of the report: one sandbox, really made. Some hosts let a namespace be made and refuse what it is for.

use std::fs;

use nix::unistd::Uid;

use crate::report::{HostReport, State};
use crate::sandbox::LaunchError;
use crate::stage::StageError;
use crate::{Exit, GroupName, Limits, Plan, Program, Restrictions, Rootfs, Spawner, SpawnerConfig, StartError};

const NAME: &str = "sandbox";
const MEANING: &str = "a program runs in namespaces, a root and filters of its own";

/// Starts a spawner as `config` says, runs `/bin/true` in a sandbox, and adds what came of it to `report`.
pub async fn add(config: SpawnerConfig, report: &mut HostReport) {
    let (state, found, fix) = match run(config).await {
        Ok(took) => (State::Ok, took, None),
        Err(Failure::Root) => {
            let fix =
                "run fn doctor as the user that fn serve becomes (--user), or ask while the server runs".to_owned();
            (
                State::Weaker,
                "not tried: root makes no sandboxes".to_owned(),
                Some(fix),
            )
        }
        Err(Failure::Stage(failure)) => (State::Missing, failure.to_string(), Some(fix_for(&failure))),
        Err(Failure::Other(found)) => (State::Missing, found, None),
    };
    report.push(NAME, state, found, MEANING, fix);
}

enum Failure {
    Root,
    Stage(StageError),
    Other(String),
}

async fn run(config: SpawnerConfig) -> Result<String, Failure> {
    if Uid::effective().is_root() {
        return Err(Failure::Root);
    }
    let spawner = Spawner::start(config).await.map_err(|error| match error {
        StartError::Stage(failure) => Failure::Stage(failure),
        other => Failure::Other(other.to_string()),
    })?;
    let plan = Plan {
        group: GroupName::new("trial").map_err(|error| Failure::Other(error.to_string()))?,
        hostname: "trial".into(),
        limits: Limits {
            memory: 64 << 20,
            cpu_millis: 1000,
            pids: 16,
        },
        tmp_bytes: 1 << 20,
        rootfs: Rootfs::ReadOnly,
        restrictions: Restrictions::default(),
        layers: Vec::new(),
        program: Program::Exec,
        argv: vec!["/bin/true".into()],
        env: Vec::new(),
        cwd: "/".into(),
        lanes: 1,
        listen: None,
        outlets: Vec::new(),
        terminable: false,
        watch: crate::sighting::Watch::default(),
    };
    let sandbox = spawner.launch(&plan).await.map_err(|error| match error {
        LaunchError::Stage { failure, .. } => Failure::Stage(failure),
        other => Failure::Other(other.to_string()),
    })?;
    match sandbox.gone().await.exit {
        Exit::Code(0) => Ok("/bin/true ran in one".into()),
        other => Err(Failure::Other(format!("/bin/true ended with {other:?}"))),
    }
}

/// The settings by which hosts forbid what a sandbox needs.
fn fix_for(failure: &StageError) -> String {
    let setting = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    if setting("/proc/sys/kernel/unprivileged_userns_clone") == "0" {
        return "sudo sysctl -w kernel.unprivileged_userns_clone=1".into();
    }
    if setting("/proc/sys/user/max_user_namespaces") == "0" {
        return "sudo sysctl -w user.max_user_namespaces=15000".into();
    }
    if setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1" {
        return "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or give fn an AppArmor profile that allows userns"
            .into();
    }
    format!("allow {}", failure.stage.meaning())
}
