//! `reuse = "request"`: every call has an instance of its own.

use std::collections::BTreeSet;

use warm_pool::Start;

use crate::rig::{Rig, exchange, within};

#[tokio::test]
async fn every_call_has_an_instance_of_its_own_that_ends_with_it() {
    let rig = Rig::new("reuse = \"request\"");
    within(async {
        let mut served = BTreeSet::new();
        for _ in 0..10 {
            let mut lease = rig.acquire().await.unwrap();
            assert!(lease.start().is_cold());
            assert!(served.insert(lease.instance()), "it served before");
            exchange(&mut lease, "r", "{}").await.unwrap().unwrap();
        }
        rig.until_ahead(1).await;
        assert_eq!(rig.acquire().await.unwrap().start(), Start::Ahead);
        assert_eq!(rig.metric("fn_cold_starts_total", &[("reason", "crashed")]), None);
    })
    .await;
}

#[tokio::test]
async fn a_function_that_keeps_nothing_has_no_process_between_calls() {
    let rig = Rig::new("reuse = \"request\"\n[scale]\nkeep = \"nothing\"");
    within(async {
        for _ in 0..2 {
            rig.call("{}").await;
            rig.bare.until_living(0).await;
        }
        assert_eq!(rig.metric("fn_cold_starts_total", &[("reason", "spent")]), Some(1.0));
    })
    .await;
}
