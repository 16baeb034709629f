//! Beginnings and ends.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use sandbox::{Exit, LaunchError, Program, Stage};

use crate::setting::{House, launch, leaves, read_all, wait_for};

#[tokio::test]
async fn exits_and_signals_are_told_apart() {
    let house = House::new().await;
    assert_eq!(house.sh("exit 3").await.1.exit, Exit::Code(3));
    assert_eq!(house.sh("kill -SEGV $$").await.1.exit, Exit::Signal(11));
}

#[tokio::test]
async fn a_missing_program_names_its_stage() {
    let house = House::new().await;
    for (program, errno) in [("/nowhere", libc::ENOENT), ("/etc/passwd", libc::EACCES)] {
        match house.spawner.launch(&house.plan(&[program])).await {
            Err(LaunchError::Stage { failure, .. }) => {
                assert_eq!((failure.stage, failure.errno), (Stage::Exec, errno));
            }
            other => panic!("{other:?}"),
        }
    }
    let mut plan = house.plan(&["/bin/true"]);
    plan.cwd = "/nowhere".into();
    let error = house.spawner.launch(&plan).await.unwrap_err().to_string();
    assert!(
        error.contains("working-directory") && error.contains("No such file"),
        "{error}"
    );
    plan.cwd = "/".into();
    plan.layers = vec![sandbox::LayerName::new("0".repeat(64)).unwrap()];
    let error = house.spawner.launch(&plan).await.unwrap_err().to_string();
    assert!(error.contains("stage layers failed"), "{error}");
}

#[tokio::test]
async fn a_resident_serves_its_lane() {
    let house = House::new().await;
    let mut plan = house.plan(&["/bin/true"]);
    plan.program = Program::Resident("echo".into());
    let mut sandbox = launch(&house, &plan).await;
    let lane = sandbox.take_lanes().pop().unwrap();
    rustix::io::ioctl_fionbio(&lane, false).unwrap();
    let mut lane = UnixStream::from(lane);
    lane.write_all(b"hello").unwrap();
    let mut back = [0; 5];
    lane.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"hello");
    drop(lane);
    assert_eq!(sandbox.gone().await.exit, Exit::Code(0));
    plan.program = Program::Resident("unknown".into());
    assert!(matches!(
        house.spawner.launch(&plan).await,
        Err(LaunchError::Stage { .. })
    ));
}

#[tokio::test]
async fn killing_leaves_nothing_not_even_daemons() {
    let house = House::new().await;
    let plan = house.plan(&[
        "/bin/sh",
        "-c",
        "(setsid sleep 1000 &) ; (setsid sleep 1000 &); echo up; trap '' TERM; while :; do sleep 1000; done",
    ]);
    let mut sandbox = launch(&house, &plan).await;
    let log = sandbox.take_log().unwrap();
    rustix::io::ioctl_fionbio(&log, false).unwrap();
    let mut first = [0; 3];
    std::fs::File::from(log.try_clone().unwrap())
        .read_exact(&mut first)
        .unwrap();
    sandbox.kill();
    sandbox.gone().await;
    // The pipe ends only when the last writer is gone.
    assert_eq!(read_all(log), "");
    for dir in leaves() {
        let left = std::fs::read_dir(&dir)
            .unwrap()
            .filter(|e| e.as_ref().unwrap().path().is_dir());
        assert_eq!(left.count(), 0, "{}", dir.display());
    }
}

#[tokio::test]
async fn dropping_kills() {
    let house = House::new().await;
    let mut sandbox = launch(&house, &house.plan(&["/bin/sleep", "1000"])).await;
    let log = sandbox.take_log().unwrap();
    drop(sandbox);
    assert_eq!(read_all(log), "");
}

#[tokio::test]
async fn a_dead_spawner_takes_all_along_and_is_replaced() {
    let house = House::new().await;
    let mut sandbox = launch(&house, &house.plan(&["/bin/sleep", "1000"])).await;
    let log = sandbox.take_log().unwrap();
    let pid = nix::unistd::Pid::from_raw(house.spawner.pid().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    assert_eq!(sandbox.gone().await.exit, Exit::Unknown);
    assert_eq!(read_all(log), "");
    assert_eq!(house.sh("echo again").await.0, "again\n");
    assert!(house.path().exists());
}

#[tokio::test]
async fn a_frozen_sandbox_stands_still_and_dies_when_killed() {
    let house = House::new().await;
    let mut sandbox = launch(&house, &house.plan(&["/bin/sleep", "1000"])).await;
    if sandbox.freeze().unwrap().is_none() {
        crate::skip!("no unified hierarchy of ours");
    }
    let log = sandbox.take_log().unwrap();
    sandbox.kill();
    sandbox.gone().await;
    assert_eq!(read_all(log), "");
}

#[tokio::test]
async fn many_at_once() {
    let house = House::new().await;
    let starts = (0..50).map(|n| {
        let plan = house.plan(&["/bin/echo", &n.to_string()]);
        let house = &house;
        async move { (n.to_string() + "\n", house.run(&plan).await.0) }
    });
    for (expected, got) in futures_util::future::join_all(starts).await {
        assert_eq!(expected, got);
    }
}

#[tokio::test]
async fn a_program_that_may_be_asked_to_end_is_asked() {
    let house = House::new().await;
    let script = "trap 'exit 7' TERM; echo up; while :; do sleep 1000 & wait $!; done";
    let mut plan = house.plan(&["/bin/sh", "-c", script]);
    plan.terminable = true;
    let mut sandbox = launch(&house, &plan).await;
    let log = sandbox.take_log().unwrap();
    wait_for(&log, "up\n");
    sandbox.terminate();
    assert_eq!(sandbox.gone().await.exit, Exit::Code(7));
    // One that does not listen is still killed.
    let mut plan = house.plan(&["/bin/sh", "-c", "trap '' TERM; echo up; while :; do sleep 1000; done"]);
    plan.terminable = true;
    let mut sandbox = launch(&house, &plan).await;
    wait_for(&sandbox.take_log().unwrap(), "up\n");
    sandbox.terminate();
    // Pid 1 has heard the word once it has made a socket after it.
    sandbox.tcp_socket().await.unwrap();
    assert!(!sandbox.has_ended());
    sandbox.kill();
    sandbox.gone().await;
}

#[tokio::test]
async fn pid_1_holds_one_right_more_for_that_and_no_other() {
    let house = House::new().await;
    for terminable in [false, true] {
        let mut plan = house.plan(&[
            "/bin/sh",
            "-c",
            "grep -E '^(Uid|CapEff|CapPrm|CapBnd|CapAmb|CapInh)' /proc/1/status",
        ]);
        plan.terminable = terminable;
        let (text, _) = house.run(&plan).await;
        let kill = u64::from(terminable) << 5;
        for line in text.lines().filter(|line| line.starts_with("Cap")) {
            let (name, value) = line.split_once(":\t").unwrap();
            let expected = if ["CapEff", "CapPrm", "CapBnd"].contains(&name) {
                kill
            } else {
                0
            };
            assert_eq!(u64::from_str_radix(value, 16).unwrap(), expected, "{line}");
        }
        assert_eq!(text.lines().count(), 6, "{text}");
    }
}
