//! The life of the spawner itself.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use nix::sys::resource::{Resource, getrlimit};
use sandbox::{LaunchError, Spawner, Stage, StartError};

use crate::setting::{House, alone, children, config, launch, read_all};

/// Waits until a child of this process is gone, reaped included.
async fn reaped(pid: i32) {
    while children(std::process::id().cast_signed())
        .iter()
        .any(|(child, _)| *child == pid)
    {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_last_handle_takes_the_process_and_all_sandboxes_along() {
    let house = House::new().await;
    let mut sandbox = launch(&house, &house.plan(&["/bin/sleep", "1000"])).await;
    let log = sandbox.take_log().unwrap();
    let pid = house.spawner.pid().unwrap();
    drop(house.spawner);
    sandbox.gone().await;
    assert_eq!(read_all(log), "");
    reaped(pid).await;
}

#[tokio::test]
async fn a_handle_without_sandboxes_ends_too() {
    let house = House::new().await;
    let pid = house.spawner.pid().unwrap();
    drop(house.spawner);
    reaped(pid).await;
}

#[tokio::test]
async fn a_spawner_that_does_not_come_up_is_reaped() {
    let _alone = alone().await;
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("root")).unwrap();
    // Spawners of other tests may still be on their way out: their runtimes are gone.
    let before = children(std::process::id().cast_signed());
    match Spawner::start(config(dir.path())).await.unwrap_err() {
        StartError::Stage(failure) => assert_eq!((failure.stage, failure.errno), (Stage::BaseRoot, libc::ENOENT)),
        other => panic!("{other}"),
    }
    let after = children(std::process::id().cast_signed());
    let new = after
        .iter()
        .filter(|(pid, _)| before.iter().all(|(known, _)| known != pid));
    assert_eq!(new.count(), 0, "{after:?}");
}

#[tokio::test]
async fn its_two_processes_may_be_heard_in_any_order() {
    let _alone = alone().await;
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = dir.path().join("program");
    let script = r#"#!/usr/bin/python3
import json, os, socket
control = socket.socket(fileno=3)
pid = os.fork()
if pid == 0:
    control.recv(1)
    os._exit(0)
control.send(b'"Ready"')
control.send(json.dumps({"Started": {"pid": pid}}).encode())
"#;
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let config = sandbox::SpawnerConfig {
        program: Some(program),
        ..config(dir.path())
    };
    assert!(Spawner::start(config).await.unwrap().is_up());
}

/// Lowers a limit of the spawner, which those whom it makes inherit.
fn limit(house: &House, resource: rustix::process::Resource, current: u64, maximum: u64) {
    let limit = rustix::process::Rlimit {
        current: Some(current),
        maximum: Some(maximum),
    };
    let pid = rustix::process::Pid::from_raw(house.spawner.pid().unwrap());
    rustix::process::prlimit(pid, resource, limit).unwrap();
}

#[tokio::test]
async fn a_host_with_lower_limits_than_ours_is_served() {
    let house = House::new().await;
    limit(&house, rustix::process::Resource::Memlock, 0, 0);
    limit(&house, rustix::process::Resource::Fsize, 1 << 20, 1 << 20);
    limit(&house, rustix::process::Resource::Nofile, 512, 512);
    let (text, _) = house.sh("ulimit -n; ulimit -l").await;
    assert_eq!(text, "512\n0\n");
}

#[tokio::test]
async fn without_descriptors_the_spawner_refuses_and_lives_on() {
    let house = House::new().await;
    let neighbour = launch(&house, &house.plan(&["/bin/sleep", "1000"])).await;
    let pid = house.spawner.pid();
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let plan = house.plan(&["/bin/sleep", "1000"]);
    // From too few for anything to more than it needs, so that each step is the one that fails once.
    for number in 3..40 {
        limit(&house, rustix::process::Resource::Nofile, number, hard);
        match house.spawner.launch(&plan).await {
            Ok(_) | Err(LaunchError::Stage { .. } | LaunchError::Killed(_)) => {}
            Err(other) => panic!("{number}: {other}"),
        }
        assert_eq!(house.spawner.pid(), pid, "{number}: the spawner did not survive");
    }
    limit(&house, rustix::process::Resource::Nofile, hard, hard);
    assert_eq!(house.sh("echo fine").await.0, "fine\n");
    neighbour.kill();
    neighbour.gone().await;
}
