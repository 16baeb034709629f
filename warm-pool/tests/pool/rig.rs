//! A pool with one function, and what a gateway does with it.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use functions::detect::Detected;
use functions::wire::{Failure, InstanceFrame, Invoke};
use functions::{Digest, FunctionName, Manifest, Revision, RevisionNumber, Runtime};
use prometheus::proto::MetricFamily;
use tempfile::TempDir;
use tokio::sync::Notify;
use warm_pool::{AcquireError, LaneError, Lease, LogRecord, LogSink, Pool};

use crate::bare::Bare;

/// Nothing here takes longer unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A handler that does what its event says.
pub(crate) const HANDLER: &str = r#"
import os, sys, time
print("loading")
def handler(event, context):
    if "print" in event:
        print(event["print"])
    if "exit" in event:
        os._exit(event["exit"])
    if "hang" in event:
        time.sleep(3600)
    if "raise" in event:
        raise ValueError(event["raise"])
    return {"pid": os.getpid(), "echo": event}
"#;

/// Keeps every line.
#[derive(Default)]
pub(crate) struct Log {
    lines: Mutex<Vec<(Option<String>, String)>>,
    more: Notify,
}

impl LogSink for Log {
    fn record(&self, record: &LogRecord<'_>) {
        self.lines
            .lock()
            .unwrap()
            .push((record.request_id.map(str::to_owned), record.text.to_owned()));
        self.more.notify_waiters();
    }
}

impl Log {
    /// What a request printed so far.
    pub(crate) fn of(&self, request: Option<&str>) -> Vec<String> {
        let lines = self.lines.lock().unwrap();
        lines
            .iter()
            .filter(|(of, _)| of.as_deref() == request)
            .map(|(_, text)| text.clone())
            .collect()
    }

    /// Waits until somebody printed a line that contains this.
    pub(crate) async fn until(&self, text: &str) {
        loop {
            let more = self.more.notified();
            let mut more = pin!(more);
            more.as_mut().enable();
            if self.lines.lock().unwrap().iter().any(|(_, line)| line.contains(text)) {
                return;
            }
            more.await;
        }
    }
}

/// A pool, its launcher, its log, and one function.
pub(crate) struct Rig {
    pub(crate) pool: Pool,
    pub(crate) bare: Arc<Bare>,
    pub(crate) log: Arc<Log>,
    pub(crate) revision: Arc<Revision>,
    dirs: Vec<TempDir>,
}

impl Rig {
    /// A function with this fn.toml and the usual handler.
    pub(crate) fn new(toml: &str) -> Rig {
        Rig::of(toml, HANDLER)
    }

    /// A function with this fn.toml and this Python code.
    pub(crate) fn of(toml: &str, code: &str) -> Rig {
        let (bare, log) = (Arc::new(Bare::new()), Arc::new(Log::default()));
        let pool = Pool::with_launcher(bare.clone(), log.clone());
        let (revision, dir) = deploy(&bare, 1, toml, code);
        Rig {
            pool,
            bare,
            log,
            revision,
            dirs: vec![dir],
        }
    }

    /// Another revision of the function.
    pub(crate) fn deploy(&mut self, number: u64, toml: &str, code: &str) -> Arc<Revision> {
        let (revision, dir) = deploy(&self.bare, number, toml, code);
        self.dirs.push(dir);
        revision
    }

    pub(crate) fn name(&self) -> &FunctionName {
        &self.revision.name
    }

    pub(crate) async fn acquire(&self) -> Result<Lease, AcquireError> {
        self.acquire_of(&self.revision).await
    }

    pub(crate) async fn acquire_of(&self, revision: &Arc<Revision>) -> Result<Lease, AcquireError> {
        self.pool.acquire(revision, Instant::now() + PATIENCE).await
    }

    /// One call from the lease to its end; the lane is clean afterwards.
    pub(crate) async fn call(&self, event: &str) -> String {
        let mut lease = self.acquire().await.unwrap();
        exchange(&mut lease, "r", event).await.unwrap().unwrap()
    }

    /// Instances that exist, the dying ones too.
    pub(crate) fn instances(&self) -> usize {
        self.pool.describe(self.name()).map_or(0, |view| view.instances.len())
    }

    /// Waits until that many instances wait for their first call.
    pub(crate) async fn until_ahead(&self, count: u32) {
        // More may be wanted where starts take long.
        while self
            .pool
            .describe(self.name())
            .is_none_or(|view| view.counts.ahead < count)
        {
            tokio::task::yield_now().await;
        }
    }

    /// Calls that wait.
    pub(crate) fn queued(&self) -> u32 {
        self.pool.describe(self.name()).map_or(0, |view| view.counts.queued)
    }

    /// A value of a metric, by its labels beside the function.
    pub(crate) fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let families = self.pool.metrics();
        let family: &MetricFamily = families.iter().find(|family| family.name() == name)?;
        let metric = family.get_metric().iter().find(|metric| {
            labels.iter().all(|(key, value)| {
                metric
                    .get_label()
                    .iter()
                    .any(|label| label.name() == *key && label.value() == *value)
            })
        })?;
        let histogram = metric.get_histogram();
        Some(if histogram.get_bucket().is_empty() {
            metric.get_counter().get_value() + metric.get_gauge().get_value()
        } else {
            histogram.get_sample_count() as f64
        })
    }
}

fn deploy(bare: &Bare, number: u64, toml: &str, code: &str) -> (Arc<Revision>, TempDir) {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("handler.py"), code).unwrap();
    let name: FunctionName = "hello".parse().unwrap();
    let detected = Detected {
        runtime: Runtime::Python,
        handler: "handler.handler".into(),
    };
    let revision = Revision {
        settings: Manifest::from_toml(toml).unwrap().resolve(&name, &detected).unwrap(),
        name,
        number: RevisionNumber::new(number).unwrap(),
        bundle: Digest::of(format!("{number}{code}").as_bytes()),
        created: jiff::Timestamp::UNIX_EPOCH,
    };
    bare.add(revision.bundle, dir.path().to_owned());
    (Arc::new(revision), dir)
}

/// Sends the whole call.
pub(crate) async fn send(lease: &mut Lease, request: &str, event: &str) {
    lease.begin(request);
    let invoke = Invoke {
        request_id: request.into(),
        deadline_ms: 4_000_000_000_000,
        trace_id: None,
        arn: "arn:aws:lambda:local:000000000000:function:hello".into(),
        client_context: None,
        repeated: Default::default(),
        base_path: String::new(),
        env: Vec::new(),
    };
    lease
        .lane()
        .push_call(invoke, Bytes::copy_from_slice(event.as_bytes()))
        .unwrap();
    lease.lane().flush().await.unwrap();
}

/// A whole call: the handler's result or its failure.
pub(crate) async fn exchange(
    lease: &mut Lease,
    request: &str,
    event: &str,
) -> Result<Result<String, Failure>, LaneError> {
    send(lease, request, event).await;
    let mut body = Vec::new();
    let answer = loop {
        match lease.lane().next().await? {
            InstanceFrame::Result(head) => assert_eq!(head.boot_id, lease.boot_id()),
            InstanceFrame::Body(piece) => body.extend_from_slice(&piece),
            InstanceFrame::End(_) => break Ok(String::from_utf8(body).unwrap()),
            InstanceFrame::Error { failure, .. } => break Err(failure),
            other => panic!("{other:?}"),
        }
    };
    lease.finish()?;
    Ok(answer)
}

/// Polls a future once: it does what it can do without waiting.
pub(crate) async fn once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    std::future::poll_fn(|cx| Poll::Ready(pin!(&mut *future).poll(cx))).await
}

/// Gives up on a test that hangs.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("the test hangs")
}
