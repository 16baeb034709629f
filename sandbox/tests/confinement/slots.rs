//! Slots that are built ahead.

use sandbox::{Exit, GroupName, Limits, Program, Rootfs, Shape, Slot};

use crate::setting::{House, limits_are_enforced, read_all};

fn shape() -> Shape {
    Shape {
        group: GroupName::new("test").unwrap(),
        limits: Limits {
            memory: 128 << 20,
            cpu_millis: 500,
            pids: 8,
        },
        tmp_bytes: 1 << 20,
    }
}

#[tokio::test]
async fn a_slot_becomes_what_it_is_bound_to() {
    let house = House::new().await;
    let slot = house.spawner.prepare(&shape()).await.unwrap();
    assert!(slot.stands());
    let plan = house.plan(&[
        "/bin/sh",
        "-c",
        "hostname; id -u; pwd; cat code.txt; grep -E '^(CapEff|NoNewPrivs|Seccomp:)' /proc/self/status; ls -A /.fn 2>&1
         head -c 3000000 /dev/zero > /tmp/x && echo fits; head -c 8000000 /dev/zero > /tmp/x 2>/dev/null || echo full",
    ]);
    assert!(Slot::fits(&plan));
    let mut sandbox = slot.bind(&plan).await.unwrap();
    let phases = sandbox.phases();
    assert!(phases.leaf.is_zero() && phases.clone.is_zero(), "{phases:?}");
    let log = sandbox.take_log().unwrap();
    assert_eq!(sandbox.gone().await.exit, Exit::Code(0));
    let text = read_all(log);
    assert!(text.starts_with("inside\n1000\n/function\nthe code\n"), "{text}");
    assert!(
        text.contains("CapEff:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n"),
        "{text}"
    );
    assert!(text.ends_with("fits\nfull\n"), "its /tmp has the plan's size: {text}");
    assert!(!text.contains(house.layer.as_str()), "{text}");
}

#[tokio::test]
async fn the_limits_of_the_plan_hold_not_those_of_the_slot() {
    if !limits_are_enforced() {
        return;
    }
    let house = House::new().await;
    let eater = [
        "/usr/bin/python3",
        "-c",
        "x = bytearray(96 << 20); print('ate', flush=True)",
    ];
    for (memory, survives) in [(64 << 20, false), (256 << 20, true)] {
        let slot = house.spawner.prepare(&shape()).await.unwrap();
        let mut plan = house.plan(&eater);
        plan.limits.memory = memory;
        let mut sandbox = slot.bind(&plan).await.unwrap();
        let log = sandbox.take_log().unwrap();
        let end = sandbox.gone().await;
        assert_eq!(read_all(log) == "ate\n", survives, "{end:?}");
        assert_eq!(end.oom_kills == 0, survives, "{end:?}");
    }
    let slot = house.spawner.prepare(&shape()).await.unwrap();
    let mut plan = house.plan(&["/bin/sh", "-c", "for i in 1 2 3 4 5 6; do sleep 1000 & done; echo made"]);
    plan.limits.pids = 3;
    let mut sandbox = slot.bind(&plan).await.unwrap();
    let log = sandbox.take_log().unwrap();
    assert!(sandbox.gone().await.pids_hits > 0);
    assert!(!read_all(log).contains("made"));
}

#[tokio::test]
async fn a_resident_serves_in_a_slot() {
    let house = House::new().await;
    let slot = house.spawner.prepare(&shape()).await.unwrap();
    let mut plan = house.plan(&["/bin/true"]);
    plan.program = Program::Resident("echo".into());
    let mut sandbox = slot.bind(&plan).await.unwrap();
    drop(sandbox.take_lanes());
    assert_eq!(sandbox.gone().await.exit, Exit::Code(0));
}

#[tokio::test]
async fn what_can_not_be_bound_says_why_and_is_gone() {
    let house = House::new().await;
    let slot = house.spawner.prepare(&shape()).await.unwrap();
    let error = slot.bind(&house.plan(&["/nowhere"])).await.unwrap_err().to_string();
    assert!(error.contains("stage exec failed"), "{error}");
    let mut writable = house.plan(&["/bin/true"]);
    writable.rootfs = Rootfs::Writable;
    assert!(!Slot::fits(&writable));
}

#[tokio::test]
async fn a_slot_falls_with_its_spawner() {
    let house = House::new().await;
    let slot = house.spawner.prepare(&shape()).await.unwrap();
    let pid = nix::unistd::Pid::from_raw(house.spawner.pid().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    while slot.stands() {
        tokio::task::yield_now().await;
    }
    assert!(slot.bind(&house.plan(&["/bin/true"])).await.is_err());
    // The next one comes from the next spawner.
    let slot = house.spawner.prepare(&shape()).await.unwrap();
    let sandbox = slot.bind(&house.plan(&["/bin/true"])).await.unwrap();
    assert_eq!(sandbox.gone().await.exit, Exit::Code(0));
}
