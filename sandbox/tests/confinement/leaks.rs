//! Nothing is left behind, however a sandbox ends.

use std::fs;

use futures_util::FutureExt;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sandbox::{Exit, LaunchError};

use crate::setting::{House, children, launch, leaves, limits_are_enforced, read_all, unified_group, wait_for};

/// Descriptors of this process, mounts, sandboxes that are children of the spawner, and leaves.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    descriptors: usize,
    mounts: usize,
    processes: usize,
    leaves: usize,
}

fn held(house: &House) -> Held {
    let entries = |path: &std::path::Path| {
        fs::read_dir(path).map_or(0, |entries| entries.flatten().filter(|e| e.path().is_dir()).count())
    };
    Held {
        descriptors: fs::read_dir("/proc/self/fd").unwrap().count(),
        mounts: fs::read_to_string("/proc/self/mounts").unwrap().lines().count(),
        processes: children(house.spawner.pid().unwrap()).len(),
        leaves: leaves().iter().map(|dir| entries(dir)).sum(),
    }
}

/// Descriptors of the spawner, counted by what it can still make: its table in /proc is not ours to read.
fn spawner_pidfds(house: &House) -> Option<String> {
    fs::read_to_string(format!("/proc/{}/status", house.spawner.pid().unwrap()))
        .unwrap()
        .lines()
        .find(|line| line.starts_with("FDSize"))
        .map(str::to_owned)
}

#[tokio::test]
async fn two_hundred_lives_leave_nothing() {
    let house = House::new().await;
    let plan = house.plan(&["/bin/true"]);
    let missing = house.plan(&["/nowhere"]);
    house.run(&plan).await;
    let before = (held(&house), spawner_pidfds(&house));
    for _ in 0..50 {
        // To the end; killed; dropped in the middle of its start; failed.
        house.run(&plan).await;
        let sandbox = launch(&house, &house.plan(&["/bin/sleep", "1000"])).await;
        sandbox.kill();
        sandbox.gone().await;
        drop(house.spawner.launch(&plan).now_or_never());
        house.spawner.launch(&missing).await.unwrap_err();
    }
    // What was dropped goes in its own time, and before what is asked for later.
    settled(&house, &before.0).await;
    assert_eq!((held(&house), spawner_pidfds(&house)), before);
}

/// Runs sandboxes until nothing but `expected` is held, which each end gives the spawner the time for.
async fn settled(house: &House, expected: &Held) {
    for _ in 0..100 {
        if held(house) == *expected {
            return;
        }
        house.sh("true").await;
    }
}

#[tokio::test]
async fn launches_given_up_while_the_spawner_stands_still_leave_nothing() {
    let house = House::new().await;
    house.sh("true").await;
    let before = held(&house);
    let spawner = Pid::from_raw(house.spawner.pid().unwrap());
    kill(spawner, Signal::SIGSTOP).unwrap();
    {
        // More than its socket takes.
        let plan = house.plan(&["/bin/true"]);
        let mut starts: Vec<_> = (0..500).map(|_| Box::pin(house.spawner.launch(&plan))).collect();
        for start in &mut starts {
            assert!(start.now_or_never().is_none());
            // A task that never yields is made to wait by tokio, before its messages are sent.
            tokio::task::yield_now().await;
        }
    }
    kill(spawner, Signal::SIGCONT).unwrap();
    settled(&house, &before).await;
    assert_eq!(held(&house), before);
}

#[tokio::test]
async fn a_kill_reaches_a_frozen_sandbox_although_the_queue_is_full() {
    let house = House::new().await;
    let mut frozen = launch(&house, &house.plan(&["/bin/sleep", "1000"])).await;
    if frozen.freeze().unwrap().is_none() {
        crate::skip!("no unified hierarchy of ours");
    }
    let log = frozen.take_log().unwrap();
    let spawner = Pid::from_raw(house.spawner.pid().unwrap());
    kill(spawner, Signal::SIGSTOP).unwrap();
    let plan = house.plan(&["/bin/true"]);
    let mut starts: Vec<_> = (0..500).map(|_| Box::pin(house.spawner.launch(&plan))).collect();
    for start in &mut starts {
        assert!(start.now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    frozen.kill();
    kill(spawner, Signal::SIGCONT).unwrap();
    drop(starts);
    tokio::time::timeout(std::time::Duration::from_secs(30), frozen.gone())
        .await
        .expect("the kill was lost");
    assert_eq!(read_all(log), "");
}

#[tokio::test]
async fn a_start_that_hangs_can_be_given_up() {
    let house = House::new().await;
    let Some(group) = unified_group() else {
        crate::skip!("no unified hierarchy of ours");
    };
    house.sh("true").await;
    let before = held(&house);
    // What is born in a frozen group stands still before its first step.
    fs::write(group.join("cgroup.freeze"), "1").unwrap();
    let plan = house.plan(&["/bin/true"]);
    let mut start = Box::pin(house.spawner.launch(&plan));
    let pid = house.spawner.pid().unwrap();
    while children(pid).is_empty() {
        assert!((&mut start).now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    drop(start);
    while held(&house) != before {
        tokio::task::yield_now().await;
    }
    fs::write(group.join("cgroup.freeze"), "0").unwrap();
}

#[tokio::test]
async fn one_that_stops_itself_can_be_killed() {
    let house = House::new().await;
    let mut sandbox = launch(
        &house,
        &house.plan(&["/bin/sh", "-c", "echo up; kill -STOP $$; echo woke"]),
    )
    .await;
    let log = sandbox.take_log().unwrap();
    wait_for(&log, "up\n");
    sandbox.kill();
    sandbox.gone().await;
    assert_eq!(read_all(log), "");
}

#[tokio::test]
async fn a_fork_bomb_harms_nobody_else() {
    if !limits_are_enforced() {
        return;
    }
    let house = House::new().await;
    let bomb = "import os\nprint('up', flush=True)\nwhile True:\n  try: os.fork()\n  except OSError: pass";
    let mut bomb = launch(&house, &house.plan(&["/usr/bin/python3", "-c", bomb])).await;
    let log = bomb.take_log().unwrap();
    wait_for(&log, "up\n");
    for _ in 0..5 {
        assert_eq!(house.sh("echo fine").await.0, "fine\n");
    }
    bomb.kill();
    assert!(bomb.gone().await.pids_hits > 0);
    assert_eq!(children(house.spawner.pid().unwrap()), []);
}

#[tokio::test]
async fn any_signal_that_ends_a_process_is_told() {
    let house = House::new().await;
    assert_eq!(house.sh("kill -40 $$").await.1.exit, Exit::Signal(40));
    // An orphan's end is nobody's concern.
    let script = "sh -c '(sleep 1000 & echo $! > /tmp/pid) &' ; while ! [ -s /tmp/pid ]; do :; done; kill -40 $(cat /tmp/pid); while [ -d /proc/$(cat /tmp/pid) ]; do :; done; echo alive";
    let (text, end) = house.sh(script).await;
    assert_eq!((text.as_str(), end.exit), ("alive\n", Exit::Code(0)));
}

#[tokio::test]
async fn the_memory_of_a_dead_sandbox_comes_back() {
    if !limits_are_enforced() {
        return;
    }
    let house = House::new().await;
    // Ten times what one may hold, in files that nobody removes.
    for _ in 0..10 {
        let mut plan = house.plan(&["/bin/sh", "-c", "head -c 30000000 /dev/zero > /tmp/x && echo full"]);
        plan.tmp_bytes = 32 << 20;
        assert_eq!(house.run(&plan).await.0, "full\n");
    }
    match house.spawner.launch(&house.plan(&["/bin/true"])).await {
        Ok(sandbox) => assert_eq!(sandbox.gone().await.oom_kills, 0),
        Err(LaunchError::Killed(end)) => panic!("{end:?}"),
        Err(other) => panic!("{other}"),
    }
}

/// Keys that count against the user of this process.
fn keys() -> usize {
    let uid = nix::unistd::getuid().to_string();
    let users = fs::read_to_string("/proc/key-users").unwrap_or_default();
    let of = |line: &str| {
        let (user, rest) = line.trim().split_once(':')?;
        let counted = rest.split_whitespace().nth(2)?;
        (user == uid).then(|| counted.split('/').next()?.parse().ok())?
    };
    users.lines().find_map(of).unwrap_or(0)
}

#[tokio::test]
async fn sandboxes_use_up_no_keys_of_the_user() {
    let house = House::new().await;
    let before = keys();
    let plan = house.plan(&["/bin/sleep", "1000"]);
    let mut alive = Vec::new();
    for _ in 0..10 {
        alive.push(launch(&house, &plan).await);
    }
    assert!(keys() < before + 5, "{before} keys became {}", keys());
    drop(alive);
}
