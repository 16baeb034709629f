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
async fn busy_instances_and_the_minimum_stay() {
    let rig = Rig::new("idle = \"10m\"\n[scale]\nmin = 1");
    within(async {
        rig.pool.provision(&rig.revision);
        let (busy, other, third) = (
            rig.acquire().await.unwrap(),
            rig.acquire().await.unwrap(),
            rig.acquire().await.unwrap(),
        );
        drop((other, third));
        rig.bare.tell_memory(SHORT);
        rig.bare.until_living(1).await;
        drop(busy);
        let lease = rig.acquire().await.unwrap();
        assert_eq!(lease.start(), Start::Warm);
    })
    .await;
}
