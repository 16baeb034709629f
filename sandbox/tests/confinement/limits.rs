//! Limits that hold.

use sandbox::Exit;

use crate::setting::{House, limits_are_enforced};

#[tokio::test]
async fn memory_takes_the_whole_sandbox_and_nobody_else() {
    if !limits_are_enforced() {
        return;
    }
    let house = House::new().await;
    let neighbour = house.plan(&["/bin/sleep", "1000"]);
    let neighbour = house.spawner.launch(&neighbour).await.unwrap();
    // The eater is a child: the shell itself would survive a kill of one task.
    let eater = "/usr/bin/python3 -c \"x = bytearray(200 << 20); print(len(x))\"; echo survived; sleep 1000";
    let (text, end) = house.sh(eater).await;
    assert!(!text.contains("survived"), "{text}");
    assert!(end.oom_kills >= 1, "{end:?}");
    assert!(end.memory_peak <= 64 << 20, "{end:?}");
    assert!(neighbour.usage().pids.unwrap() >= 2, "the neighbour is gone");
}

#[tokio::test]
async fn processes_are_counted() {
    if !limits_are_enforced() {
        return;
    }
    let house = House::new().await;
    let script = "import os\nn = 1\ntry:\n  while True:\n    if os.fork() == 0:\n      os.pause() if hasattr(os, 'pause') else __import__('signal').pause()\n    n += 1\nexcept OSError as e:\n  print(n, e.errno)";
    let mut plan = house.plan(&["/usr/bin/python3", "-c", script]);
    plan.limits.pids = 10;
    let (text, end) = house.run(&plan).await;
    assert_eq!(text, "10 11\n");
    assert!(end.pids_hits >= 1, "{end:?}");
}

#[tokio::test]
async fn a_memory_limit_too_small_to_start_in_is_said() {
    if !limits_are_enforced() {
        return;
    }
    let house = House::new().await;
    let mut plan = house.plan(&["/usr/bin/python3", "-c", "x = bytearray(64 << 20)"]);
    plan.limits.memory = 4 << 20;
    match house.spawner.launch(&plan).await {
        // It got as far as the program, which then ate too much.
        Ok(sandbox) => assert!(sandbox.gone().await.oom_kills > 0),
        Err(error) => assert!(error.to_string().contains("memory"), "{error}"),
    }
}

#[tokio::test]
async fn processor_time_is_accounted() {
    if !limits_are_enforced() {
        return;
    }
    let house = House::new().await;
    let idle = house.sh("true").await.1.cpu;
    let (_, end) = house.sh("i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done").await;
    assert_eq!(end.exit, Exit::Code(0));
    assert!(end.cpu > 2 * idle, "{:?} against {idle:?}", end.cpu);
}
