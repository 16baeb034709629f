//! Processes that break the rules.

use warm_pool::{Fate, LaneError, Poison, Start};

use crate::rig::{Rig, exchange, within};

#[tokio::test]
async fn a_process_that_closes_its_lane_and_lives_on_is_killed() {
    let rig = Rig::of(
        "",
        "import os, time\ndef handler(event, context):\n    os.close(3)\n    time.sleep(3600)\n",
    );
    within(async {
        let mut lease = rig.acquire().await.unwrap();
        let broken = exchange(&mut lease, "r", "{}").await;
        assert!(matches!(broken, Err(LaneError::Closed)), "{broken:?}");
        assert_eq!(lease.obituary().await, Fate::StillRunning);
        lease.poison(Poison::Exited);
        rig.bare.until_living(0).await;
    })
    .await;
}

#[tokio::test]
async fn a_fork_that_never_comes_costs_no_call() {
    let rig = Rig::new("");
    rig.bare.stillborn.store(true, std::sync::atomic::Ordering::SeqCst);
    within(async {
        let lease = rig.acquire().await.unwrap();
        assert_eq!(lease.start(), Start::Cold, "it was executed");
        rig.bare.until_living(1).await;
    })
    .await;
}

#[tokio::test]
async fn a_process_that_writes_garbage_breaks_the_protocol() {
    let rig = Rig::of(
        "",
        "import os, time\ndef handler(event, context):\n    os.write(3, b'garbage' * 100)\n    time.sleep(3600)\n",
    );
    within(async {
        let mut lease = rig.acquire().await.unwrap();
        let broken = exchange(&mut lease, "r", "{}").await;
        assert!(matches!(broken, Err(LaneError::Protocol(_))), "{broken:?}");
        lease.poison(Poison::Protocol);
        rig.bare.until_living(0).await;
    })
    .await;
}

#[tokio::test]
async fn a_process_that_dies_idle_is_noticed_before_the_next_call() {
    let rig = Rig::of(
        "",
        "import os, threading\ndef handler(event, context):\n    threading.Timer(0.05, lambda: os._exit(1)).start()\n    return 1\n",
    );
    within(async {
        let boot_id = {
            let mut lease = rig.acquire().await.unwrap();
            exchange(&mut lease, "r", "{}").await.unwrap().unwrap();
            lease.boot_id()
        };
        rig.bare.until_living(0).await;
        while rig.instances() > 0 {
            tokio::task::yield_now().await;
        }
        let lease = rig.acquire().await.unwrap();
        assert_ne!(lease.boot_id(), boot_id);
        assert_eq!(lease.start(), Start::Cold);
        assert_eq!(lease.reason(), Some(warm_pool::ColdReason::Crashed));
    })
    .await;
}
