//! A host that is short of memory.

use warm_pool::{ColdReason, Start};

use crate::bare::PLENTY;
use crate::rig::{Rig, within};

/// So much is missing of what should be available that all instances of a test together don't hold it.
const SHORT: u64 = PLENTY / 20 - 1;

#[tokio::test]
async fn idle_instances_go_and_the_next_call_knows_why() {
    let rig = Rig::new("idle = \"10m\"");
    within(async {
        rig.call("{}").await;
        rig.bare.tell_memory(SHORT);
        rig.bare.until_living(0).await;
        let lease = rig.acquire().await.unwrap();
        assert_eq!(lease.reason(), Some(ColdReason::Pressure));
    })
    .await;
    assert_eq!(rig.metric("fn_evictions_total", &[("reason", "pressure")]), Some(1.0));
}

#[tokio::test]
async fn who_could_not_read_it_once_looks_again() {
    let rig = Rig::new("idle = \"10m\"");
    within(async {
        rig.call("{}").await;
        rig.bare.hide_memory().await;
        rig.bare.tell_memory(SHORT);
        rig.bare.until_living(0).await;
    })
    .await;
}

#[tokio::test]
async fn busy_instances_stay() {
    let rig = Rig::new("idle = \"10m\"");
    within(async {
        let busy = rig.acquire().await.unwrap();
        drop(rig.acquire().await.unwrap());
        rig.bare.tell_memory(SHORT);
        rig.bare.until_living(1).await;
        drop(busy);
        assert_eq!(rig.acquire().await.unwrap().start(), Start::Warm);
    })
    .await;
}

#[tokio::test]
async fn the_minimum_stays() {
    let rig = Rig::new("idle = \"10m\"\n[scale]\nmin = 1");
    within(async {
        rig.pool.provision(&rig.revision);
        let both = (rig.acquire().await.unwrap(), rig.acquire().await.unwrap());
        drop(both);
        // All that go in one look go at once.
        rig.bare.tell_memory(SHORT);
        rig.bare.until_living(1).await;
        assert_eq!(rig.acquire().await.unwrap().start(), Start::Warm);
    })
    .await;
}
