//! The load of a run, and what its callers may see: the right body, a typed error that a kill explains, or, while the server is down, a
//! connection that is refused or broken.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tests::client::Client;
use tests::{Reply, Server, program, server};
use tokio::sync::{RwLock, RwLockWriteGuard};
use tokio::task::JoinHandle;

use super::ledger::{Acknowledged, Ledger, Promise};
use super::patience::within;
use super::random::Random;
use super::recovery::Recoveries;
use super::subject::Way;
use super::victim::Kind;

/// The codes of errors that a kill explains. A `timeout` is none: nothing here takes long, so somebody was forgotten.
const EXPLAINED: &[&str] = &[
    "function_exited",
    "start_failed",
    "unavailable",
    "queue_full",
    "protocol_error",
];
/// What a call may take. A busy machine takes half a minute to start everything anew: a call that reaches this was forgotten.
const TIMEOUT: &str = "timeout=90s";
/// The pause of one caller between two calls. It sets the rate and waits for nothing.
const BETWEEN_CALLS: Duration = Duration::from_millis(25);
/// Between two tries to get an answer after a kill.
const BETWEEN_TRIES: Duration = Duration::from_millis(5);
/// Callers of each function.
const CALLERS: usize = 2;

/// Shared by all tasks of a run.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) ledger: Ledger,
    url: String,
    admin_socket: PathBuf,
    /// While the server is down.
    outage: Disturbance,
    /// From a kill until what it hit is gone, and while instances are evicted, which ends busy ones too.
    losses: Disturbance,
    tokens: AtomicU64,
    stopped: AtomicBool,
    /// Read by who deploys, written by who wants none under way.
    deploys: RwLock<()>,
}

/// Something that comes and goes.
#[derive(Debug, Default)]
struct Disturbance {
    begun: AtomicU64,
    over: AtomicU64,
}

/// What was seen of a disturbance at one moment: how many there had been, or that there was one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    Quiet(u64),
    Disturbed,
}

impl Disturbance {
    fn begins(&self) {
        self.begun.fetch_add(1, Ordering::SeqCst);
    }

    fn is_over(&self) {
        self.over.fetch_add(1, Ordering::SeqCst);
    }

    fn now(&self) -> Moment {
        // In this order a disturbance that begins between the two is seen as one.
        let over = self.over.load(Ordering::SeqCst);
        if over == self.begun.load(Ordering::SeqCst) {
            Moment::Quiet(over)
        } else {
            Moment::Disturbed
        }
    }

    /// Whether it was there at any time since that moment.
    fn was_there_since(&self, before: Moment) -> bool {
        before == Moment::Disturbed || before != self.now()
    }
}

/// How a call ended that broke no promise.
enum Ended {
    Good,
    Typed,
    Broken,
}

impl Load {
    pub(super) fn new(server: &Server) -> Self {
        Self {
            ledger: Ledger::default(),
            url: server.url().to_owned(),
            admin_socket: server.place().admin_socket(),
            outage: Disturbance::default(),
            losses: Disturbance::default(),
            tokens: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            deploys: RwLock::new(()),
        }
    }

    /// Callers of every function, and one task each for deploys, evictions and async calls.
    pub(super) fn start(load: &Arc<Self>, random: &mut Random) -> Vec<JoinHandle<()>> {
        let callers = Way::ALL.iter().flat_map(|way| std::iter::repeat_n(*way, CALLERS));
        let mut tasks: Vec<_> = callers
            .map(|way| {
                let load = Arc::clone(load);
                tokio::spawn(async move { load.calls(way).await })
            })
            .collect();
        let (evictions, deploys) = (random.next(), random.next());
        let this = Arc::clone(load);
        tasks.push(tokio::spawn(
            async move { this.evictions(Random::new(evictions)).await },
        ));
        let this = Arc::clone(load);
        tasks.push(tokio::spawn(
            async move { this.all_deploys(Random::new(deploys)).await },
        ));
        let this = Arc::clone(load);
        tasks.push(tokio::spawn(async move { this.async_calls().await }));
        tasks
    }

    /// Every task ends after what it does now.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    /// To be called before a kill.
    pub(super) fn will_kill(&self, kind: Kind) {
        self.losses.begins();
        if kind == Kind::Gateway {
            self.outage.begins();
        }
    }

    /// To be called when the next server is ready.
    pub(super) fn is_up(&self) {
        self.outage.is_over();
    }

    /// To be called when what a kill hit is gone.
    pub(super) fn kill_is_over(&self) {
        self.losses.is_over();
    }

    /// Waits until no deploy is under way, and holds the next one back until the guard is dropped.
    pub(super) async fn no_deploys(&self) -> RwLockWriteGuard<'_, ()> {
        self.deploys.write().await
    }

    async fn calls(&self, way: Way) {
        // A connection that was kept belongs to one server; the next server gets another client.
        let (mut client, mut of) = (Client::tcp(), self.outage.now());
        while !self.stopped.load(Ordering::SeqCst) {
            if of != self.outage.now() {
                (client, of) = (Client::tcp(), self.outage.now());
            }
            self.call(way, &client).await;
            tokio::time::sleep(BETWEEN_CALLS).await;
        }
    }

    /// One call, judged.
    async fn call(&self, way: Way, client: &Client) -> Option<Ended> {
        let (outage, losses) = (self.outage.now(), self.losses.now());
        let floor = self.ledger.last(way).map_or(0, |last| last.tag);
        let token = format!("t{}", self.tokens.fetch_add(1, Ordering::SeqCst));
        let url = format!("{}/function/{}?{token}", self.url, way.name());
        let Some(answer) = within(client.get(&url)).await else {
            let what = format!("{} did not answer {token}", way.name());
            self.ledger.breach(Promise::Hangs, what);
            return None;
        };
        self.ledger.held(Promise::Hangs);
        match answer {
            Ok(reply) if reply.status == 200 => {
                let right = way
                    .tag(&token, &reply.text())
                    .and_then(|tag| self.ledger.may_answer(way, tag, floor, reply.revision()));
                let good = right.is_ok();
                self.ledger
                    .check(Promise::Bodies, good, || right.err().unwrap_or_default());
                self.ledger.count(format!("answered, start `{}`", reply.start()));
                good.then_some(Ended::Good)
            }
            Ok(reply) => {
                self.error(way, &reply, losses);
                Some(Ended::Typed)
            }
            // A reply whose head is out can't become an error any more: it is broken off, and the caller sees that.
            Err(error) if (error.is_body() || error.is_decode()) && self.losses.was_there_since(losses) => {
                self.ledger
                    .count("reply broken off after its head by a kill or an eviction");
                self.ledger.held(Promise::Connections);
                Some(Ended::Broken)
            }
            Err(error) => {
                self.broken(outage, || format!("{}: {error:?}", way.name()));
                Some(Ended::Broken)
            }
        }
    }

    fn error(&self, way: Way, reply: &Reply, losses: Moment) {
        let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let code = body["error"]["code"].as_str().unwrap_or_default();
        self.ledger.count(format!("error `{code}`"));
        // The end of a server's connection may be seen before the end of its process.
        let was_cut = code == "bad_reply" && way == Way::Http && self.losses.was_there_since(losses);
        self.ledger
            .check(Promise::Errors, was_cut || EXPLAINED.contains(&code), || {
                format!("{}: {} {}", way.name(), reply.status, reply.text())
            });
    }

    fn broken(&self, outage: Moment, what: impl FnOnce() -> String) {
        let explained = self.outage.was_there_since(outage);
        if explained {
            self.ledger
                .count("connection refused or broken while the server was down");
        }
        self.ledger.check(Promise::Connections, explained, what);
    }

    async fn async_calls(&self) {
        let ways = Way::ALL.iter().cycle();
        for way in ways.take_while(|_| !self.stopped.load(Ordering::SeqCst)) {
            let (outage, losses) = (self.outage.now(), self.losses.now());
            let url = format!("{}/async-function/{}?async", self.url, way.name());
            match within(Client::tcp().post(&url, Vec::new())).await {
                Some(Ok(reply)) if reply.status == 202 => self.ledger.count("async call accepted"),
                Some(Ok(reply)) => self.error(*way, &reply, losses),
                Some(Err(error)) => self.broken(outage, || format!("async {}: {error:?}", way.name())),
                None => self
                    .ledger
                    .breach(Promise::Hangs, format!("async {} did not answer", way.name())),
            }
            tokio::time::sleep(BETWEEN_CALLS * 8).await;
        }
    }

    async fn evictions(&self, mut random: Random) {
        while !self.stopped.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(200 + random.below(600))).await;
            if let Some(way) = random.one_of(Way::ALL) {
                self.evict(way).await;
            }
        }
    }

    async fn evict(&self, way: Way) {
        let outage = self.outage.now();
        let url = format!("http://localhost/v1/functions/{}/evict?all=true", way.name());
        let admin = Client::unix(&self.admin_socket);
        self.losses.begins();
        let answer = within(admin.post(&url, Vec::new())).await;
        self.losses.is_over();
        match answer {
            Some(Ok(reply)) => self.ledger.check(Promise::Errors, reply.status == 200, || {
                format!("evict {}: {} {}", way.name(), reply.status, reply.text())
            }),
            Some(Err(error)) => self.broken(outage, || format!("evict {}: {error:?}", way.name())),
            None => self
                .ledger
                .breach(Promise::Hangs, format!("evict {} did not end", way.name())),
        }
    }

    /// Evicts every instance of every function.
    pub(super) async fn evict_all(&self) {
        join_all(Way::ALL.iter().map(|way| self.evict(*way))).await;
    }

    /// The first deploys. Nothing was killed yet, so each must be accepted.
    pub(super) async fn deploy_each_once(&self) {
        for way in Way::ALL {
            self.deploy(*way).await;
            assert!(self.ledger.last(*way).is_some(), "the first deploy of {}", way.name());
        }
    }

    async fn all_deploys(&self, mut random: Random) {
        while !self.stopped.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(random.below(800))).await;
            let _turn = self.deploys.read().await;
            if let Some(way) = random.one_of(Way::ALL) {
                self.deploy(way).await;
            }
        }
    }

    /// Sends the next revision of a function.
    async fn deploy(&self, way: Way) {
        let outage = self.outage.now();
        let tag = self.ledger.send(way);
        let source = way.source(tag);
        let path = source.path().to_string_lossy().into_owned();
        let socket = self.admin_socket.to_string_lossy().into_owned();
        let args = [
            "deploy",
            &path,
            "--name",
            way.name(),
            "--json",
            "--admin-socket",
            &socket,
            "--set",
            TIMEOUT,
        ];
        let Some(said) = within(program::run(server::binary(), args)).await else {
            let what = format!("the deploy of {} did not end", way.name());
            self.ledger.breach(Promise::Hangs, what);
            return;
        };
        if said.code == Some(0) {
            let answer = said.json();
            let acknowledged = Acknowledged {
                tag,
                revision: answer["revision"].as_u64().expect("a deploy prints its revision"),
                bundle: answer["bundle"]["digest"]
                    .as_str()
                    .expect("a deploy prints its bundle")
                    .to_owned(),
            };
            self.ledger.acknowledge(way, acknowledged);
            self.ledger.count("deploy acknowledged");
            return;
        }
        // One that the server lived through was refused for good; of one that it died in, nobody knows.
        if !self.outage.was_there_since(outage) {
            self.ledger.refuse(way, tag);
            self.ledger.count("deploy refused");
        } else {
            self.ledger.count("deploy cut off while the server was down");
        }
        let typed = said.code.is_some() && !said.stderr.is_empty() && !said.all().contains("panicked");
        self.ledger.check(Promise::Errors, typed, || {
            format!("deploy {}: {:?} {}", way.name(), said.code, said.all())
        });
    }

    /// Asks the server for each function: the last acknowledged deploy is live, or one that was sent after it; all others are there.
    pub(super) async fn acknowledged_is_there(&self) {
        let admin = Client::unix(&self.admin_socket);
        for way in Way::ALL {
            let Some(last) = self.ledger.last(*way) else { continue };
            let url = format!("http://localhost/v1/functions/{}", way.name());
            let shown = match within(admin.get(&url)).await {
                Some(Ok(reply)) if reply.status == 200 => reply.json(),
                other => {
                    let what = format!("{} is not shown: {other:?}", way.name());
                    self.ledger.breach(Promise::Deploys, what);
                    continue;
                }
            };
            let live = shown["live"].as_u64().unwrap_or(0);
            let there: Vec<_> = shown["revisions"].as_array().into_iter().flatten().collect();
            let all = self.ledger.revisions(*way);
            let lost = all
                .iter()
                .find(|number| !there.iter().any(|one| one.as_u64() == Some(**number)));
            let holds = lost.is_none()
                && (live > last.revision || (live == last.revision && shown["bundle"] == last.bundle.as_str()));
            self.ledger.check(Promise::Deploys, holds, || {
                format!(
                    "{}: {last:?} was acknowledged, {lost:?} is lost, seen {shown}",
                    way.name()
                )
            });
        }
    }

    /// Waits until each function has given a good answer, all asked at the same time. How long the last one took, since `began`.
    pub(super) async fn all_answer(&self, began: Instant) -> Option<(Duration, Way)> {
        let answers = Way::ALL.iter().map(|way| async {
            let asking = async {
                while !matches!(self.call(*way, &Client::tcp()).await, Some(Ended::Good)) {
                    tokio::time::sleep(BETWEEN_TRIES).await;
                }
            };
            within(asking).await.map(|()| (began.elapsed(), *way))
        });
        let times: Option<Vec<_>> = join_all(answers).await.into_iter().collect();
        times?.into_iter().max_by_key(|(time, _)| *time)
    }

    /// Measures how long after a kill every function has answered.
    pub(super) async fn came_back(&self, kind: Kind, killed: Instant, recoveries: &mut Recoveries) {
        let last = self.all_answer(killed).await;
        self.ledger.check(Promise::Recovers, last.is_some(), || {
            format!("after the kill of {}", kind.words())
        });
        if let Some((time, way)) = last {
            println!("killed: {}; {} answered last, after {time:?}", kind.words(), way.name());
            recoveries.after(kind, time);
        }
    }
}

#[test]
fn a_disturbance_is_noticed_by_who_lived_through_it() {
    let outage = Disturbance::default();
    let before = outage.now();
    assert!(!outage.was_there_since(before));
    outage.begins();
    let during = outage.now();
    assert!(outage.was_there_since(before) && outage.was_there_since(during));
    outage.is_over();
    assert!(outage.was_there_since(before) && outage.was_there_since(during));
    assert!(!outage.was_there_since(outage.now()));
}
