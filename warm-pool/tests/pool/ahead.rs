//! Instances that wait for their first call.

use std::sync::atomic::Ordering;
use std::time::Duration;

use warm_pool::launcher::Template;
use warm_pool::{EvictScope, Purpose, Start};

use crate::rig::{Rig, exchange, within};

#[tokio::test]
async fn a_template_that_is_ready_keeps_one_waiting() {
    let rig = Rig::new("");
    within(async {
        rig.call("{}").await;
        rig.bare.template(rig.name());
        rig.until_ahead(1).await;
        assert_eq!(*rig.bare.purposes.lock().unwrap(), [Purpose::Call, Purpose::Ahead]);

        rig.pool.evict(rig.name(), EvictScope::Used).await;
        let mut lease = rig.acquire().await.unwrap();
        assert_eq!((lease.start(), lease.reason()), (Start::Ahead, None));
        exchange(&mut lease, "r", "{}").await.unwrap().unwrap();
        drop(lease);
        rig.until_ahead(1).await;
        assert_eq!(rig.metric("fn_cold_starts_total", &[("reason", "ahead")]), Some(2.0));
    })
    .await;
}

#[tokio::test]
async fn a_call_that_goes_on_does_not_keep_the_next_from_waiting() {
    let rig = Rig::new("");
    within(async {
        rig.call("{}").await;
        rig.bare.template(rig.name());
        rig.until_ahead(1).await;
        rig.pool.evict(rig.name(), EvictScope::Used).await;
        let long = rig.acquire().await.unwrap();
        assert_eq!(long.start(), Start::Ahead);
        rig.until_ahead(1).await;
        drop(long);
    })
    .await;
}

#[tokio::test]
async fn evicting_everything_takes_what_waits_and_the_template() {
    let rig = Rig::new("");
    within(async {
        rig.call("{}").await;
        rig.bare.template(rig.name());
        rig.until_ahead(1).await;
        assert_eq!(rig.pool.evict(rig.name(), EvictScope::All).await, 2);
        assert!(!rig.bare.forks.load(Ordering::SeqCst));
        assert_eq!(*rig.bare.living.borrow(), 0);
        assert_eq!(rig.acquire().await.unwrap().start(), Start::Cold);
    })
    .await;
}

#[tokio::test]
async fn a_number_waits_from_the_deploy_on() {
    let rig = Rig::new("idle = \"10ms\"\n[scale]\nahead = 2");
    within(async {
        rig.pool.provision(&rig.revision);
        rig.until_ahead(2).await;
        assert_eq!(rig.acquire().await.unwrap().start(), Start::Ahead);
        rig.until_ahead(2).await;
        // The one that ran is reaped, the two that never did are not.
        rig.bare.until_living(2).await;
    })
    .await;
}

#[tokio::test]
async fn a_function_that_keeps_nothing_has_none_ahead() {
    let rig = Rig::new("idle = \"10ms\"\n[scale]\nahead = 2\nkeep = \"nothing\"");
    within(async {
        rig.pool.provision(&rig.revision);
        rig.bare.template(rig.name());
        rig.call("{}").await;
        rig.bare.until_living(0).await;
    })
    .await;
}

#[tokio::test]
async fn a_template_goes_when_its_function_is_not_called() {
    let rig = Rig::new("");
    // Nobody ever called it: its template is kept for a quarter of an hour.
    *rig.bare.template.lock().unwrap() = Some(Template {
        function: rig.name().clone(),
        revision: rig.revision.number,
        age: Duration::from_secs(16 * 60),
        memory: Some(1000),
        saves: Duration::from_millis(100),
    });
    within(rig.bare.forgotten.notified()).await;
    assert!(rig.bare.template.lock().unwrap().is_none());
}
