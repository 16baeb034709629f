//! Instances that come and go by themselves.

use std::sync::atomic::Ordering;

use warm_pool::{AcquireError, ColdReason, Start};

use crate::rig::{HANDLER, Rig, exchange, once, send, within};

#[tokio::test]
async fn an_idle_function_goes_to_zero_and_comes_back() {
    let rig = Rig::new("idle = \"50ms\"");
    within(async {
        rig.call("{}").await;
        rig.bare.until_living(0).await;
        let lease = rig.acquire().await.unwrap();
        assert_eq!(
            (lease.start(), lease.reason()),
            (Start::Cold, Some(ColdReason::ScaledToZero))
        );
    })
    .await;
    assert_eq!(
        rig.metric("fn_cold_starts_total", &[("reason", "scaled_to_zero")]),
        Some(1.0)
    );
}

#[tokio::test]
async fn a_function_without_instances_leaves_no_shelf() {
    let rig = Rig::new("idle = \"10ms\"");
    within(async {
        rig.call("{}").await;
        rig.bare.until_living(0).await;
        // The last step follows the end of the process by one turn of the instance's task.
        while rig.pool.describe(rig.name()).is_some() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(
        rig.metric("fn_instances", &[("function", "hello"), ("state", "idle")]),
        Some(0.0)
    );
}

#[tokio::test]
async fn what_is_kept_by_number_waits_and_goes_when_it_is_kept_no_more() {
    let rig = Rig::new("idle = \"10ms\"");
    within(async {
        let wanted = [(rig.revision.clone(), 2)];
        rig.pool.keep(&rig.revision, &wanted);
        while rig.pool.kept(rig.name()).first().is_none_or(|kept| kept.ready < 2) {
            tokio::task::yield_now().await;
        }
        let lease = rig.acquire().await.unwrap();
        assert_eq!((lease.start(), lease.reason()), (Start::Ahead, None));
        drop(lease);
        rig.pool.keep(&rig.revision, &[]);
        assert!(rig.pool.kept(rig.name()).is_empty());
        rig.bare.until_living(0).await;
        rig.pool.keep(&rig.revision, &[]);
        rig.pool.retire(rig.name(), None);
        assert!(rig.pool.kept(rig.name()).is_empty(), "nothing was made for nothing");
    })
    .await;
}

#[tokio::test]
async fn the_minimum_waits_ahead_of_the_first_call() {
    let rig = Rig::new("idle = \"10ms\"\n[scale]\nmin = 2");
    within(async {
        rig.pool.provision(&rig.revision);
        while rig.metric("fn_instances", &[("state", "ahead")]) != Some(2.0) {
            tokio::task::yield_now().await;
        }
        let lease = rig.acquire().await.unwrap();
        assert_eq!((lease.start(), lease.reason()), (Start::Ahead, None));
        drop(lease);
        assert_eq!(rig.instances(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_deploy_drains_what_runs() {
    let mut rig = Rig::new("");
    within(async {
        let mut old = rig.acquire().await.unwrap();
        let next = rig.deploy(2, "", HANDLER);
        rig.pool.provision(&next);
        let mut new = rig.acquire_of(&next).await.unwrap();
        assert_eq!(new.reason(), Some(ColdReason::NewRevision));
        assert_ne!(new.boot_id(), old.boot_id());
        exchange(&mut new, "new", "{}").await.unwrap().unwrap();
        exchange(&mut old, "old", "{}")
            .await
            .expect("calls of the old revision end in peace")
            .unwrap();
        drop(old);
        rig.bare.until_living(1).await;
        drop(new);
        assert_eq!(rig.acquire_of(&next).await.unwrap().start(), Start::Warm);
    })
    .await;
}

#[tokio::test]
async fn a_removed_function_leaves_nothing_behind() {
    let mut rig = Rig::new("");
    within(async {
        rig.call("{}").await;
        let mut busy = rig.acquire().await.unwrap();
        send(&mut busy, "r", r#"{"hang": 1}"#).await;
        rig.pool.retire(rig.name(), None);
        assert_eq!(rig.pool.describe(rig.name()).map(|view| view.instances.len()), None);
        assert_eq!(rig.metric("fn_cold_starts_total", &[("function", "hello")]), None);
        assert_eq!(rig.metric("fn_instances", &[("function", "hello")]), None);
        let evicted = rig.pool.evict(rig.name(), warm_pool::EvictScope::All).await;
        assert_eq!(evicted, 1, "what still runs can be evicted");
        drop(busy);
        let again = rig.deploy(2, "", HANDLER);
        let lease = rig.acquire_of(&again).await.unwrap();
        assert_eq!(lease.reason(), Some(ColdReason::First));
    })
    .await;
}

#[tokio::test]
async fn evicting_everything_calls_starts_off_and_who_waits_gets_another() {
    let rig = Rig::new("[scale]\nmax = 1");
    within(async {
        let mut waits = Box::pin(rig.acquire());
        assert!(once(&mut waits).await.is_pending());
        assert_eq!(rig.pool.evict(rig.name(), warm_pool::EvictScope::Used).await, 0);
        assert_eq!(rig.pool.evict(rig.name(), warm_pool::EvictScope::All).await, 1);
        waits.await.unwrap();
        assert_eq!(rig.bare.launches.load(Ordering::SeqCst), 2);
    })
    .await;
}

#[tokio::test]
async fn evicting_an_unknown_function_is_no_error() {
    let rig = Rig::new("");
    assert_eq!(rig.pool.evict(rig.name(), warm_pool::EvictScope::All).await, 0);
    rig.pool.retire(rig.name(), None);
    rig.pool.provision(&rig.revision);
    assert!(rig.pool.describe(rig.name()).is_none());
    let refused = rig.pool.acquire(&rig.revision, std::time::Instant::now()).await;
    assert!(matches!(refused, Err(AcquireError::Deadline)));
    assert!(rig.pool.describe(rig.name()).is_none(), "a refused call leaves nothing");
}
