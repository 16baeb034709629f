//! What only a real sandbox can show: confinement and limits seen through a lease, and that nothing is left.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use functions::wire::{InstanceFrame, Invoke};
use functions::{Revision, Runtime};
use warm_pool::{AcquireError, ColdReason, EvictScope, Fate, LaneError, Lease, Poison, Start, StartFailure};

use crate::house::{House, Setting};

/// Nothing here takes longer unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Tells every story with a name, one after the other, and gives up on one that hangs.
macro_rules! tell {
    ($house:expr, $($story:ident),+ $(,)?) => {
        $(
            tokio::time::timeout(PATIENCE, $story($house)).await.expect(concat!(stringify!($story), " hangs"));
            println!("test {} ... ok", stringify!($story));
        )+
    };
}

pub(crate) async fn tell(setting: &Setting) {
    let house = House::open(setting).await;
    tell!(
        &house,
        python_is_cold_once_and_warm_after,
        a_program_is_warm_when_its_slot_is_bound,
        an_exit_is_told_and_replaced,
        idle_instances_leave_nothing,
        a_broken_handler_fails_the_check_with_its_traceback,
    );
    if setting.tree.missing().contains(&"memory") {
        println!(
            "test too_much_memory_kills_the_instance_alone_and_whole ... ignored, this user can't limit memory here"
        );
    } else {
        tell!(&house, too_much_memory_kills_the_instance_alone_and_whole);
    }
    tell!(&house, a_drained_pool_has_nothing_left);
}

async fn acquire(house: &House<'_>, revision: &Arc<Revision>) -> Lease {
    house.pool.acquire(revision, Instant::now() + PATIENCE).await.unwrap()
}

/// A whole call: the body of the reply, or the type of the failure.
async fn exchange(lease: &mut Lease, event: &str) -> Result<Result<String, String>, LaneError> {
    lease.begin("request");
    let invoke = Invoke {
        request_id: "request".into(),
        deadline_ms: 4_000_000_000_000,
        trace_id: None,
        arn: "arn".into(),
        client_context: None,
        repeated: Default::default(),
        base_path: String::new(),
        env: Vec::new(),
    };
    lease
        .lane()
        .push_call(invoke, Bytes::copy_from_slice(event.as_bytes()))?;
    let mut body = Vec::new();
    let answer = loop {
        match lease.lane().next().await? {
            InstanceFrame::Body(piece) => body.extend_from_slice(&piece),
            InstanceFrame::End(_) => break Ok(String::from_utf8(body).unwrap()),
            InstanceFrame::Error { failure, .. } => break Err(failure.error_type),
            _ => {}
        }
    };
    lease.finish()?;
    Ok(answer)
}

async fn python_is_cold_once_and_warm_after(house: &House<'_>) {
    let code = "import os\nprint('loading')\ndef handler(event, context):\n    print('called')\n    return [os.getuid(), os.getcwd()]\n";
    let revision = house.deploy("python", Runtime::Python, "[scale]\nahead = 0", code);
    let mut lease = acquire(house, &revision).await;
    assert_eq!((lease.start(), lease.reason()), (Start::Cold, Some(ColdReason::First)));
    let phases = lease.phases();
    assert!(!phases.sandbox.is_zero() && !phases.init.is_zero(), "{phases:?}");
    let boot_id = lease.boot_id();
    let answer = exchange(&mut lease, "{}").await.unwrap().unwrap();
    assert!(answer.contains("/function"), "{answer}");
    assert!(
        house
            .log
            .0
            .lock()
            .unwrap()
            .contains(&(Some("request".into()), "called".into()))
    );
    drop(lease);
    let mut lease = acquire(house, &revision).await;
    assert_eq!((lease.start(), lease.boot_id()), (Start::Warm, boot_id));
    assert_eq!(exchange(&mut lease, "{}").await.unwrap().unwrap(), answer);
    drop(lease);
    let view = house.pool.describe(&revision.name).unwrap();
    assert_eq!(view.counts.idle, 1);
    assert_eq!(house.pool.evict(&revision.name, EvictScope::Used).await, 1);
    let lease = acquire(house, &revision).await;
    assert_eq!(lease.reason(), Some(ColdReason::Evicted));
    assert_ne!(lease.boot_id(), boot_id);
}

async fn a_program_is_warm_when_its_slot_is_bound(house: &House<'_>) {
    let revision = house.deploy(
        "program",
        Runtime::Stdio,
        "",
        "#!/bin/sh\necho got $(cat)\necho said >&2\n",
    );
    let mut lease = acquire(house, &revision).await;
    let boot_id = lease.boot_id();
    assert_eq!(exchange(&mut lease, "one").await.unwrap().unwrap(), "got one\n");
    drop(lease);
    let mut lease = acquire(house, &revision).await;
    assert_eq!((lease.start(), lease.boot_id()), (Start::Warm, boot_id));
    assert_eq!(exchange(&mut lease, "two").await.unwrap().unwrap(), "got two\n");
    assert!(
        house
            .log
            .0
            .lock()
            .unwrap()
            .contains(&(Some("request".into()), "said".into()))
    );
}

async fn an_exit_is_told_and_replaced(house: &House<'_>) {
    let code = "import os, signal\ndef handler(event, context):\n    if event:\n        os.kill(os.getpid(), signal.SIGSEGV)\n    os._exit(7)\n";
    let revision = house.deploy("exits", Runtime::Python, "[scale]\nahead = 0", code);
    for (event, fate) in [("0", Fate::Exited(7)), ("1", Fate::Signalled(11))] {
        let mut lease = acquire(house, &revision).await;
        let broken = exchange(&mut lease, event).await;
        assert!(matches!(broken, Err(LaneError::Closed)), "{broken:?}");
        assert_eq!(lease.obituary().await, fate);
        lease.poison(Poison::Exited);
    }
    assert_eq!(acquire(house, &revision).await.reason(), Some(ColdReason::Crashed));
}

async fn idle_instances_leave_nothing(house: &House<'_>) {
    let revision = house.deploy(
        "idle",
        Runtime::Python,
        "idle = \"50ms\"\n[scale]\nahead = 0",
        "def handler(event, context):\n    return 1\n",
    );
    let mut lease = acquire(house, &revision).await;
    exchange(&mut lease, "{}").await.unwrap().unwrap();
    drop(lease);
    while house.pool.describe(&revision.name).is_some() {
        tokio::task::yield_now().await;
    }
    assert_eq!(acquire(house, &revision).await.reason(), Some(ColdReason::ScaledToZero));
}

async fn a_broken_handler_fails_the_check_with_its_traceback(house: &House<'_>) {
    let fine = house.deploy(
        "checked",
        Runtime::Python,
        "",
        "def handler(event, context):\n    return 1\n",
    );
    let report = house.pool.check(&fine).await.unwrap();
    assert!(report.runtime.starts_with("python3"), "{report:?}");
    let broken = house.deploy(
        "checked",
        Runtime::Python,
        "",
        "print('here')\ndef handler(event, context)\n    return 1\n",
    );
    let error = house.pool.check(&broken).await.unwrap_err();
    assert!(error.exception().is_some(), "{error:?}");
    let Err(AcquireError::StartFailed(failure)) = house.pool.acquire(&broken, Instant::now() + PATIENCE).await else {
        panic!("it can not start");
    };
    assert!(matches!(*failure, StartFailure::Init(_)), "{failure:?}");
}

async fn too_much_memory_kills_the_instance_alone_and_whole(house: &House<'_>) {
    let code = "def handler(event, context):\n    hoard = []\n    for _ in range(200):\n        hoard.append(bytearray(b'x' * (1 << 20)))\n    return len(hoard)\n";
    let neighbour = house.deploy(
        "neighbour",
        Runtime::Python,
        "",
        "def handler(event, context):\n    return 1\n",
    );
    let mut beside = acquire(house, &neighbour).await;
    let settings = "memory = \"64MiB\"\ntmp = \"1MiB\"\n[scale]\nahead = 0";
    let revision = house.deploy("greedy", Runtime::Python, settings, code);
    let mut lease = acquire(house, &revision).await;
    let broken = exchange(&mut lease, "{}").await;
    assert!(matches!(broken, Err(LaneError::Closed)), "{broken:?}");
    assert_eq!(lease.obituary().await, Fate::OutOfMemory);
    lease.poison(Poison::Exited);
    assert_eq!(acquire(house, &revision).await.reason(), Some(ColdReason::Limit));
    assert_eq!(exchange(&mut beside, "{}").await.unwrap().unwrap(), "1");
}

async fn a_drained_pool_has_nothing_left(house: &House<'_>) {
    house.pool.drain(Instant::now() + PATIENCE).await;
    for name in ["python", "program", "exits", "idle", "greedy", "neighbour"] {
        let left = house.pool.describe(&name.parse().unwrap());
        assert!(left.is_none_or(|view| view.instances.is_empty()), "{name}");
    }
}
