//! What happens to an instance when its lease ends, in every way it can.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use warm_pool::{AcquireError, ColdReason, Fate, LaneError, Poison, Start};

use crate::rig::{Rig, exchange, once, send, within};

#[tokio::test]
async fn the_second_call_finds_the_first_ones_process() {
    let rig = Rig::new("");
    within(async {
        let mut lease = rig.acquire().await.unwrap();
        assert_eq!((lease.start(), lease.reason()), (Start::Cold, Some(ColdReason::First)));
        let phases = lease.phases();
        assert!(
            phases.sandbox > Duration::ZERO && phases.init > Duration::ZERO,
            "{phases:?}"
        );
        let boot_id = lease.boot_id();
        let first = exchange(&mut lease, "r1", r#"{"a": 1}"#).await.unwrap().unwrap();
        assert!(first.contains(r#""echo": {"a": 1}"#), "{first}");
        drop(lease);

        let mut lease = rig.acquire().await.unwrap();
        assert_eq!((lease.start(), lease.reason()), (Start::Warm, None));
        assert_eq!(lease.boot_id(), boot_id);
        assert_eq!(lease.phases(), warm_pool::Phases::default());
        assert_eq!(exchange(&mut lease, "r2", r#"{"a": 1}"#).await.unwrap().unwrap(), first);
    })
    .await;
    assert_eq!(rig.bare.launches.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_exception_leaves_the_instance_warm() {
    let rig = Rig::new("");
    within(async {
        let mut lease = rig.acquire().await.unwrap();
        let failure = exchange(&mut lease, "r", r#"{"raise": "no"}"#)
            .await
            .unwrap()
            .unwrap_err();
        assert_eq!(
            (failure.error_type.as_str(), failure.error_message.as_str()),
            ("ValueError", "no")
        );
        drop(lease);
        assert_eq!(rig.acquire().await.unwrap().start(), Start::Warm);
    })
    .await;
}

#[tokio::test]
async fn a_lease_that_was_never_used_goes_back() {
    let rig = Rig::new("");
    within(async {
        let boot_id = rig.acquire().await.unwrap().boot_id();
        assert_eq!(rig.acquire().await.unwrap().boot_id(), boot_id);
    })
    .await;
}

#[tokio::test]
async fn an_unfinished_exchange_costs_the_instance() {
    let rig = Rig::new("");
    within(async {
        let mut lease = rig.acquire().await.unwrap();
        let boot_id = lease.boot_id();
        send(&mut lease, "r", r#"{"hang": 1}"#).await;
        drop(lease);
        let lease = rig.acquire().await.unwrap();
        assert_ne!(lease.boot_id(), boot_id);
        assert_eq!(
            (lease.start(), lease.reason()),
            (Start::Cold, Some(ColdReason::Abandoned))
        );
        rig.bare.until_living(1).await;
    })
    .await;
}

#[tokio::test]
async fn a_timeout_is_replaced_at_once() {
    let rig = Rig::new("[scale]\nmax = 1");
    within(async {
        let mut lease = rig.acquire().await.unwrap();
        send(&mut lease, "r", r#"{"hang": 1}"#).await;
        lease.poison(Poison::Timeout);
        let mut lease = rig.acquire().await.unwrap();
        assert_eq!(lease.reason(), Some(ColdReason::Limit));
        exchange(&mut lease, "r", "{}").await.unwrap().unwrap();
    })
    .await;
}

#[tokio::test]
async fn the_obituary_says_how_a_process_ended() {
    let rig = Rig::new("");
    within(async {
        let mut lease = rig.acquire().await.unwrap();
        let broken = exchange(&mut lease, "r", r#"{"exit": 7}"#).await;
        assert!(matches!(broken, Err(LaneError::Closed)), "{broken:?}");
        assert_eq!(lease.obituary().await, Fate::Exited(7));
        lease.poison(Poison::Exited);
        assert_eq!(rig.acquire().await.unwrap().reason(), Some(ColdReason::Crashed));
    })
    .await;
}

#[tokio::test]
async fn a_busy_instance_can_be_evicted_and_its_caller_learns_that() {
    let rig = Arc::new(Rig::new(""));
    within(async {
        let mut lease = rig.acquire().await.unwrap();
        let boot_id = lease.boot_id();
        send(&mut lease, "r", r#"{"hang": 1}"#).await;
        let evictor = rig.clone();
        let evicted = tokio::spawn(async move {
            let count = evictor.pool.evict(evictor.name(), warm_pool::EvictScope::Used).await;
            (count, *evictor.bare.living.borrow())
        });
        assert!(matches!(lease.lane().next().await, Err(LaneError::Closed)));
        assert_eq!(lease.obituary().await, Fate::Evicted);
        assert_eq!(evicted.await.unwrap(), (1, 0), "it waits until nothing is left");
        drop(lease);
        let lease = rig.acquire().await.unwrap();
        assert_ne!(lease.boot_id(), boot_id);
        assert_eq!(lease.reason(), Some(ColdReason::Evicted));
    })
    .await;
}

#[tokio::test]
async fn lanes_of_one_instance_are_leased_one_by_one() {
    let rig = Rig::new("concurrency = 2\n[scale]\nmax = 1");
    within(async {
        let mut first = rig.acquire().await.unwrap();
        let mut second = rig.acquire().await.unwrap();
        assert_eq!(first.boot_id(), second.boot_id());
        let mut third = Box::pin(rig.acquire());
        assert!(once(&mut third).await.is_pending());
        let (one, two) = tokio::join!(exchange(&mut first, "a", "{}"), exchange(&mut second, "b", "{}"));
        one.unwrap().unwrap();
        two.unwrap().unwrap();
        drop(second);
        assert_eq!(third.await.unwrap().boot_id(), first.boot_id());
    })
    .await;
}

#[tokio::test]
async fn a_caller_that_leaves_ends_no_call_of_its_neighbours() {
    let rig = Rig::new("concurrency = 2\n[scale]\nmax = 1");
    within(async {
        let mut leaving = rig.acquire().await.unwrap();
        let mut staying = rig.acquire().await.unwrap();
        let boot_id = staying.boot_id();
        assert_eq!(boot_id, leaving.boot_id());
        // It is answered, but nobody reads that any more.
        send(&mut leaving, "a", "{}").await;
        drop(leaving);
        // Enough of them for a process that would end to have ended.
        for _ in 0..200 {
            exchange(&mut staying, "b", "{}").await.unwrap().unwrap();
        }
        drop(staying);
        let next = rig.acquire().await.unwrap();
        assert_ne!(next.boot_id(), boot_id, "it holds an answer that nobody read");
    })
    .await;
}

#[tokio::test]
async fn dropping_the_pool_kills_every_instance() {
    let rig = Rig::new("");
    within(async {
        rig.call("{}").await;
        let Rig { pool, bare, .. } = rig;
        assert_eq!(*bare.living.borrow(), 1);
        drop(pool);
        bare.until_living(0).await;
    })
    .await;
}

#[tokio::test]
async fn a_closed_pool_lets_calls_end_and_starts_none() {
    let rig = Arc::new(Rig::new("[scale]\nmax = 1"));
    within(async {
        let mut lease = rig.acquire().await.unwrap();
        let waiting = Box::pin(rig.acquire());
        let mut waiting = waiting;
        assert!(once(&mut waiting).await.is_pending());
        let pool = rig.pool.clone();
        let mut drained =
            Box::pin(async move { pool.drain(std::time::Instant::now() + Duration::from_secs(50)).await });
        assert!(once(&mut drained).await.is_pending());
        assert!(matches!(rig.acquire().await, Err(AcquireError::Closing)));
        exchange(&mut lease, "r", "{}").await.unwrap().unwrap();
        drop(lease);
        drop(waiting.await.expect("it waited already"));
        drained.await;
        assert_eq!(*rig.bare.living.borrow(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_call_that_does_not_end_is_cut_off_at_the_deadline() {
    let rig = Rig::new("");
    within(async {
        let mut lease = rig.acquire().await.unwrap();
        send(&mut lease, "r", r#"{"hang": 1}"#).await;
        rig.pool.drain(std::time::Instant::now()).await;
        assert_eq!(*rig.bare.living.borrow(), 0);
        assert!(matches!(lease.lane().next().await, Err(LaneError::Closed)));
        assert_eq!(lease.obituary().await, Fate::Retired);
    })
    .await;
}
