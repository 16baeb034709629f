//! Everything that can be killed is killed, at random moments and under load, and nothing that was promised may be lost.
//!
//! A real server has five functions, one of each way to run: a handler forked from a template, Node, a program, a server and a runtime of Lambda.
//! They are called all the time, evicted, called asynchronously and deployed anew, while one victim after the other gets
//! SIGKILL. What must hold is a list of invariants; the run goes on after one is broken, and the last lines say which.
//!
//! ```text
//!   load:  callers, evictions, deploys, async calls --> judged by --> ledger: what was acknowledged, what was broken
//!   kills: victim --> SIGKILL --> recovery (first good answer of each function) --> remains (processes, groups, files)
//! ```
//!
//! | question | module |
//! |---|---|
//! | what runs, and how is its answer known? | [`subject`] |
//! | what was acknowledged, and which promise was broken? | [`ledger`] |
//! | who calls, evicts and deploys? | [`load`] |
//! | who can be killed? | [`victim`] |
//! | what is left behind? | [`remains`] |
//! | how long did it take to come back? | [`recovery`] |
//! | how long is waited, and what is random? | [`patience`], [`random`] |
//!
//! It lasts 20 seconds, or `$FN_CHAOS_SECONDS`; its moments follow from `$FN_CHAOS_SEED`. `cargo xtask chaos` sets both.

mod ledger;
mod load;
mod patience;
mod random;
mod recovery;
mod remains;
mod subject;
mod victim;

use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::{Place, Server, processes};

use ledger::Promise;
use load::Load;
use random::Random;
use recovery::Recoveries;
use remains::Standing;
use victim::Kind;

/// How long the run in the tests lasts.
const SHORT: Duration = Duration::from_secs(20);
/// How many starts of all functions are measured before the first kill.
const UNDISTURBED: usize = 10;

/// A number from the environment.
fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is no whole number: {text}")),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_at_random_moments_lose_nothing() {
    let duration = setting("FN_CHAOS_SECONDS").map_or(SHORT, Duration::from_secs);
    let seed = setting("FN_CHAOS_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("chaos for {duration:?} with seed {seed}");
    let mut random = Random::new(seed);

    let server = Server::start_in(Place::new(), &[]).await;
    let load = Arc::new(Load::new(&server));
    load.deploy_each_once().await;
    let mut recoveries = Recoveries::default();
    for _ in 0..UNDISTURBED {
        load.evict_all().await;
        let (time, _) = load.all_answer(Instant::now()).await.expect("the functions answer");
        recoveries.undisturbed(time);
    }

    let callers = Load::start(&load, &mut random);
    let server = kill_for(duration, server, &load, &mut random, &mut recoveries).await;
    load.stop();
    for caller in callers {
        caller.await.expect("a caller does not panic");
    }
    let place = end(server, &load).await;

    print!("{}", recoveries.table());
    print!("{}", load.ledger.account());
    let failed = load.ledger.broken();
    if failed > 0 {
        eprintln!(
            "what its servers said:\n{}",
            std::fs::read_to_string(place.log()).unwrap_or_default()
        );
    }
    assert_eq!(failed, 0, "{failed} invariants were broken; seed {seed}");
}

/// Kills one after the other until the time is over, and each kind at least once.
async fn kill_for(
    duration: Duration,
    mut server: Server,
    load: &Arc<Load>,
    random: &mut Random,
    recoveries: &mut Recoveries,
) -> Server {
    let began = Instant::now();
    let mut deck = random.shuffled(Kind::ALL);
    let mut each_was_tried = false;
    while !each_was_tried || began.elapsed() < duration {
        tokio::time::sleep(Duration::from_millis(200 + random.below(1300))).await;
        if deck.is_empty() {
            deck = random.shuffled(Kind::ALL);
        }
        let kind = deck.pop().expect("a deck that was just filled");
        each_was_tried |= deck.is_empty();
        server = match kind {
            Kind::Gateway => kill_gateway(server, load, recoveries).await,
            _ => {
                kill_below(&server, kind, load, random, recoveries).await;
                server
            }
        };
    }
    server
}

/// Kills the server itself, and starts the next one at once on the same state and the same port.
async fn kill_gateway(server: Server, load: &Arc<Load>, recoveries: &mut Recoveries) -> Server {
    let standing = Standing::of_server(&server);
    let listen = server.address().to_owned();
    load.will_kill(Kind::Gateway);
    server.signal(Signal::SIGKILL);
    let killed = Instant::now();
    let (_, place) = server.end().await;
    let server = Server::start_in(place, &["--listen", &listen]).await;
    load.is_up();
    load.came_back(Kind::Gateway, killed, recoveries).await;
    standing.is_gone(&server, &load.ledger).await;
    load.kill_is_over();
    // From here until the guard is dropped no deploy is under way, so all that lies in the store belongs to a revision.
    let _quiet = load.no_deploys().await;
    load.acknowledged_is_there().await;
    remains::nothing_unnamed(&server, &load.ledger).await;
    server
}

/// Kills something below the server.
async fn kill_below(server: &Server, kind: Kind, load: &Arc<Load>, random: &mut Random, recoveries: &mut Recoveries) {
    let Some(victim) = victim::find(server.pid(), kind, random) else {
        recoveries.nobody(kind);
        return;
    };
    let standing = Standing::of_victim(server, kind, victim);
    load.will_kill(kind);
    // It may have ended by itself meanwhile; its number is not given to another so soon.
    if kill(Pid::from_raw(victim), Signal::SIGKILL).is_ok() {
        load.came_back(kind, Instant::now(), recoveries).await;
        standing.is_gone(server, &load.ledger).await;
    } else {
        recoveries.nobody(kind);
    }
    load.kill_is_over();
}

/// Ends the last server in order; nothing at all may be left.
async fn end(server: Server, load: &Load) -> Place {
    let standing = Standing::of_server(&server);
    let roots = server.cgroup_roots().to_vec();
    let family = processes::family(server.pid());
    server.signal(Signal::SIGTERM);
    let (code, place) = server.end().await;
    if code != Some(0) {
        let what = format!("the last server ended with {code:?}");
        load.ledger.breach(Promise::Ends, what);
    }
    standing.ended(&family, &roots, &place, &load.ledger).await;
    place
}
