//! Programs that run before their code is known.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use sandbox::{Exit, GroupName, LaunchError, Limits, Parked, Plan, Rootfs, Shape, Stage};

use crate::setting::{House, limits_are_enforced, read_all};

const LIMITS: Limits = Limits {
    memory: 64 << 20,
    cpu_millis: 1000,
    pids: 8,
};

async fn park(house: &House, script: &str) -> Parked {
    let shape = Shape {
        group: GroupName::new("test").unwrap(),
        limits: LIMITS,
        tmp_bytes: 1 << 20,
    };
    let slot = house.spawner.prepare(&shape).await.unwrap();
    slot.park(&Plan {
        layers: Vec::new(),
        cwd: "/".into(),
        hostname: "nobodys".into(),
        limits: LIMITS,
        ..house.plan(&["/bin/sh", "-c", script])
    })
    .await
    .unwrap()
}

/// What its owner binds it with; the program is the owner's only by name.
fn owner(house: &House) -> Plan {
    Plan {
        limits: LIMITS,
        ..house.plan(&["/bin/true"])
    }
}

/// A second handle of a lane, whose reads wait.
fn lane(lanes: &[OwnedFd]) -> File {
    let lane = lanes[0].try_clone().unwrap();
    rustix::io::ioctl_fionbio(&lane, false).unwrap();
    File::from(lane)
}

fn line(lane: &mut File) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    while lane.read(&mut byte).unwrap() == 1 && byte != [b'\n'] {
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

#[tokio::test]
async fn a_parked_program_gets_its_code_when_it_is_bound() {
    let house = House::new().await;
    let parked = park(
        &house,
        "exec 4<&3
         echo \"$(ls -A /function | wc -l) $(ls -A /.fn/layers | wc -l) $(grep -E '^(CapEff|Seccomp:)' /proc/self/status | tr -d '\\n')\" >&3
         read word <&4
         echo $word; hostname; cd /function; cat code.txt; ls -A /.fn/layers 2>/dev/null
         grep -c ' /.fn/layers ' /proc/self/mountinfo
         head -c 3000000 /dev/zero > /tmp/x && echo fits; head -c 8000000 /dev/zero > /tmp/x 2>/dev/null || echo full",
    )
    .await;
    let mut told = lane(parked.lanes());
    // It is confined already, has nothing, and sees no code of anybody.
    assert_eq!(line(&mut told), "0 0 CapEff:\t0000000000000000Seccomp:\t2");
    assert!(parked.stands());
    let plan = owner(&house);
    assert!(parked.fits(&plan));
    let mut sandbox = parked.bind(&plan).await.unwrap();
    let phases = sandbox.phases();
    assert!(phases.leaf.is_zero() && phases.exec.is_zero(), "{phases:?}");
    told.write_all(b"go\n").unwrap();
    let log = sandbox.take_log().unwrap();
    assert_eq!(sandbox.gone().await.exit, Exit::Code(0));
    let text = read_all(log);
    assert_eq!(text, "go\ninside\nthe code\n0\nfits\nfull\n");
}

#[tokio::test]
async fn the_limits_of_the_owner_hold() {
    if !limits_are_enforced() {
        return;
    }
    let house = House::new().await;
    let parked = park(
        &house,
        "read word <&3; for i in 1 2 3 4 5 6; do sleep 1000 & done; echo made",
    )
    .await;
    let mut told = lane(parked.lanes());
    let mut plan = owner(&house);
    plan.limits.pids = 3;
    let mut sandbox = parked.bind(&plan).await.unwrap();
    told.write_all(b"go\n").unwrap();
    let log = sandbox.take_log().unwrap();
    assert!(sandbox.gone().await.pids_hits > 0);
    assert!(!read_all(log).contains("made"));

    let parked = park(
        &house,
        "read word <&3; exec /usr/bin/python3 -c 'x = bytearray(96 << 20); print(\"ate\")'",
    )
    .await;
    let mut told = lane(parked.lanes());
    let mut sandbox = parked.bind(&owner(&house)).await.unwrap();
    told.write_all(b"go\n").unwrap();
    let log = sandbox.take_log().unwrap();
    assert!(sandbox.gone().await.oom_kills > 0);
    assert_eq!(read_all(log), "");
}

#[tokio::test]
async fn what_can_not_be_changed_any_more_does_not_fit() {
    let house = House::new().await;
    let parked = park(&house, "read word <&3").await;
    let refused = |change: fn(&mut Plan)| {
        let mut plan = owner(&house);
        change(&mut plan);
        !parked.fits(&plan)
    };
    assert!(refused(|plan| plan.rootfs = Rootfs::Writable));
    assert!(refused(|plan| plan.lanes = 2));
    assert!(refused(|plan| plan.limits.memory *= 2));
    assert!(!refused(|plan| plan.limits.cpu_millis = 100));
}

#[tokio::test]
async fn code_that_is_not_there_is_told() {
    let house = House::new().await;
    let parked = park(&house, "read word <&3").await;
    let mut plan = owner(&house);
    plan.layers = vec![sandbox::LayerName::new("0".repeat(64)).unwrap()];
    match parked.bind(&plan).await {
        Err(LaunchError::Stage { failure, .. }) => assert_eq!(failure.stage, Stage::Layers),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_parked_program_that_ends_is_noticed() {
    let house = House::new().await;
    let mut parked = park(&house, "read word <&3; echo for this reason >&2; exit 7").await;
    lane(parked.lanes()).write_all(b"go\n").unwrap();
    assert_eq!(parked.gone().await.exit, Exit::Code(7));
    assert!(!parked.stands());
    assert_eq!(parked.printed(), "for this reason\n");
    assert!(matches!(parked.bind(&owner(&house)).await, Err(LaunchError::Killed(_))));
}

#[tokio::test]
async fn a_parked_program_falls_with_its_holder_and_with_the_spawner() {
    let house = House::new().await;
    let parked = park(&house, "trap '' TERM HUP; while :; do sleep 1000; done").await;
    let mut end = lane(parked.lanes());
    drop(parked);
    assert_eq!(end.read(&mut [0]).unwrap(), 0);

    let parked = park(&house, "trap '' TERM HUP; while :; do sleep 1000; done").await;
    let mut end = lane(parked.lanes());
    let pid = nix::unistd::Pid::from_raw(house.spawner.pid().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    assert_eq!(end.read(&mut [0]).unwrap(), 0);
    parked.gone().await;
    assert!(!parked.stands());
}

#[tokio::test]
async fn a_program_that_can_not_be_parked_says_why() {
    let house = House::new().await;
    let shape = Shape {
        group: GroupName::new("test").unwrap(),
        limits: LIMITS,
        tmp_bytes: 1 << 20,
    };
    let slot = house.spawner.prepare(&shape).await.unwrap();
    let plan = Plan {
        layers: Vec::new(),
        cwd: "/".into(),
        ..house.plan(&["/nowhere"])
    };
    let error = slot.park(&plan).await.unwrap_err().to_string();
    assert!(error.contains("stage exec failed"), "{error}");
}
