//! Calls that wait: in order, up to a deadline, and never for nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use warm_pool::{AcquireError, Start, StartFailure};

use crate::rig::{Rig, exchange, once, within};

#[tokio::test]
async fn a_lane_goes_to_who_waits_longest() {
    let rig = Rig::new("[scale]\nmax = 1");
    within(async {
        let held = rig.acquire().await.unwrap();
        let mut first = Box::pin(rig.acquire());
        let mut second = Box::pin(rig.acquire());
        assert!(once(&mut first).await.is_pending());
        assert!(once(&mut second).await.is_pending());
        assert_eq!(rig.queued(), 2);
        drop(held);
        assert!(once(&mut second).await.is_pending());
        let lease = first.await.unwrap();
        assert_eq!(lease.start(), Start::Warm);
        drop(lease);
        second.await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn who_leaves_is_passed_over() {
    let rig = Rig::new("[scale]\nmax = 1");
    within(async {
        let held = rig.acquire().await.unwrap();
        let mut leaves = Box::pin(rig.acquire());
        let mut stays = Box::pin(rig.acquire());
        assert!(once(&mut leaves).await.is_pending());
        assert!(once(&mut stays).await.is_pending());
        drop(leaves);
        assert_eq!(rig.queued(), 1);
        drop(held);
        stays.await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_lease_that_was_on_its_way_to_nobody_goes_back() {
    let rig = Rig::new("[scale]\nmax = 1");
    within(async {
        let held = rig.acquire().await.unwrap();
        let boot_id = held.boot_id();
        let mut leaves = Box::pin(rig.acquire());
        assert!(once(&mut leaves).await.is_pending());
        drop(held);
        assert_eq!(rig.queued(), 0, "it has the lease, and does not know");
        drop(leaves);
        let lease = rig.acquire().await.unwrap();
        assert_eq!((lease.start(), lease.boot_id()), (Start::Warm, boot_id));
    })
    .await;
}

#[tokio::test]
async fn nobody_waits_beyond_the_deadline() {
    let rig = Rig::new("[scale]\nmax = 1");
    within(async {
        let held = rig.acquire().await.unwrap();
        let deadline = Instant::now() + Duration::from_millis(20);
        let refused = rig.pool.acquire(&rig.revision, deadline).await;
        assert!(matches!(refused, Err(AcquireError::Deadline)));
        assert!(Instant::now() >= deadline);
        assert_eq!(rig.queued(), 0);
        drop(held);
        let refused = rig.pool.acquire(&rig.revision, Instant::now()).await;
        assert!(matches!(refused, Err(AcquireError::Deadline)));
    })
    .await;
}

#[tokio::test]
async fn the_queue_has_an_end() {
    let rig = Rig::new("queue = 1\n[scale]\nmax = 1");
    within(async {
        let _held = rig.acquire().await.unwrap();
        let mut waits = Box::pin(rig.acquire());
        assert!(once(&mut waits).await.is_pending());
        assert!(matches!(rig.acquire().await, Err(AcquireError::QueueFull)));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_on_a_cold_function_loses_none_and_starts_few() {
    let rig = Arc::new(Rig::new("queue = 200\n[scale]\nmax = 4"));
    within(async {
        let mut calls = JoinSet::new();
        for _ in 0..200 {
            let rig = rig.clone();
            calls.spawn(async move { rig.call("{}").await });
        }
        let answers = calls.join_all().await;
        assert_eq!(answers.len(), 200);
        let pids: std::collections::BTreeSet<_> = answers.iter().collect();
        assert!(pids.len() <= 4);
        assert!(rig.bare.launches.load(Ordering::SeqCst) <= 4);
        let view = rig.pool.describe(rig.name()).unwrap();
        assert_eq!((view.counts.leased, view.counts.queued), (0, 0));
    })
    .await;
}

#[tokio::test]
async fn every_waiter_learns_why_a_start_failed() {
    let rig = Arc::new(Rig::of("", "print('about to fail')\nraise RuntimeError('no import')"));
    within(async {
        let mut calls = JoinSet::new();
        for _ in 0..5 {
            let rig = rig.clone();
            calls.spawn(async move { rig.acquire().await });
        }
        for outcome in calls.join_all().await {
            let Err(AcquireError::StartFailed(failure)) = outcome else {
                panic!("{outcome:?}")
            };
            let StartFailure::Init(failure) = &*failure else {
                panic!("{failure:?}")
            };
            assert_eq!(failure.error_message, "no import");
        }
        rig.log.until("about to fail").await;
        rig.bare.until_living(0).await;
    })
    .await;
}

#[tokio::test]
async fn a_function_that_keeps_failing_is_not_started_for_each_call() {
    let rig = Rig::of("[scale]\nmax = 1", "import os\nos._exit(9)");
    within(async {
        for _ in 0..50 {
            let outcome = rig.acquire().await;
            let Err(AcquireError::StartFailed(failure)) = outcome else {
                panic!("{outcome:?}")
            };
            assert!(
                matches!(*failure, StartFailure::Died(warm_pool::Fate::Exited(9))),
                "{failure:?}"
            );
        }
        assert!(rig.bare.launches.load(Ordering::SeqCst) < 50);
    })
    .await;
}

#[tokio::test]
async fn a_lease_outlives_the_task_that_asked_for_it() {
    let rig = Rig::new("");
    within(async {
        let mut lease = rig.acquire().await.unwrap();
        let answer = tokio::spawn(async move { exchange(&mut lease, "r", "{}").await.unwrap().unwrap() });
        assert!(answer.await.unwrap().contains("pid"));
        assert_eq!(rig.acquire().await.unwrap().start(), Start::Warm);
    })
    .await;
}
