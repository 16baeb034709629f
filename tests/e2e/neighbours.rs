//! One function attacks every resource it can reach, one after the other, and its neighbour is called all the while.
//!
//! In the tests each attack is made once: it must end as [`attack::ATTACKS`] says, a metric must name the attacker, and the next calls of the neighbour and of the
//! attacker must be answered. No time is judged. With `$FN_NEIGHBOURS_SECONDS` (`cargo xtask neighbours`) the attack is repeated for that
//! long, the neighbour's p99 is measured before, during and after, and a table is printed. A p99 over the budget is named there; a
//! call of the neighbour that is lost is a failure.

mod attack;
mod meter;

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tests::{Reply, Server, Source, poll, processes};

use attack::{ATTACKS, Attack, Ends};
use meter::Measured;

/// What a neighbour may feel: its p99 during an attack as a multiple of that before it.
const BUDGET: f64 = 3.0;

const LIMITS: &[&str] = &[
    "--memory",
    "128MiB",
    "--set",
    "pids=64",
    "--set",
    "tmp=16MiB",
    "--set",
    "timeout=5s",
    "--set",
    "scale.max=1",
];

struct Fleet {
    server: Server,
    attacker: String,
    neighbour: String,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attacks_end_as_expected_and_neighbours_are_served() {
    let duration = std::env::var("FN_NEIGHBOURS_SECONDS")
        .ok()
        .map(|text| Duration::from_secs(text.parse().expect("FN_NEIGHBOURS_SECONDS is a whole number")));
    let server = Server::start().await;
    let attacker = Source::python(include_str!("neighbours/attacker.py"));
    server.deploy("attacker", &attacker, LIMITS).await;
    server
        .deploy("neighbour", &Source::python_body("    return 'ok'"), &[])
        .await;
    let fleet = Fleet {
        attacker: server.function("attacker"),
        neighbour: server.function("neighbour"),
        server,
    };

    let mut table = String::from(
        "| attack | ended | p99 before ms | during ms | after ms | during / before | budget 3 | named by |\n|---|---|---:|---:|---:|---:|---|---|\n",
    );
    let (mut passed, mut failures, mut skipped) = (0, Vec::new(), 0);
    for attack in ATTACKS {
        if let Some(limit) = attack.needs
            && let Some(why) = fleet.server.does_not_enforce(limit).await
        {
            println!("skipped: {}: {why}", attack.name);
            skipped += 1;
            continue;
        }
        match fleet.suffers(attack, duration, &mut table).await {
            Ok(()) => passed += 1,
            Err(why) => failures.push(format!("{}: {why}", attack.name)),
        }
    }
    if duration.is_some() {
        println!("{table}");
    }
    for failure in &failures {
        println!("failed: {failure}");
    }
    println!("{passed} passed, {} failed, {skipped} skipped", failures.len());
    assert!(failures.is_empty(), "{failures:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipes_and_descriptors_in_flight_that_are_held_starve_nobody() {
    // The kernel counts both for each user of the host, and without subordinate ids all sandboxes are one.
    let server = Server::start().await;
    let marker = processes::marker("holding");
    let holder = Source::python(&include_str!("neighbours/holding.py").replace("@MARKER@", &marker));
    let holders = 3;
    server
        .deploy("holder", &holder, &["--set", "timeout=60s", "--set", "scale.max=3"])
        .await;
    let holding: Vec<_> = (0..holders)
        .map(|_| {
            let (client, url) = (server.client().clone(), server.function("holder"));
            tokio::spawn(async move { client.get(&url).await })
        })
        .collect();
    poll::until("all of them to hold what they got", async || {
        (processes::marked(&marker).len() == holders).then_some(())
    })
    .await;

    let body = vec![b'x'; 300 * 1024];
    server.deploy("program", &Source::shell("cat"), &[]).await;
    server
        .deploy("handler", &Source::python_body("    return event['body']"), &[])
        .await;
    for name in ["program", "handler"] {
        for _ in 0..2 {
            let reply = server
                .client()
                .post_with(&server.function(name), &[("content-type", "text/plain")], body.clone())
                .await
                .expect("the server answers")
                .good();
            assert!(
                reply.text().contains("xxxx") && reply.body.len() >= body.len(),
                "{}",
                reply.body.len()
            );
            reply.is_cold();
            server.evict(name).await;
        }
    }
    server.evict("holder").await;
    for held in holding {
        let reply = held
            .await
            .expect("a caller does not panic")
            .expect("the server answers");
        assert_eq!(reply.error(502), "function_exited");
    }
}

impl Fleet {
    /// Makes one attack, measured or not, and judges it.
    async fn suffers(&self, attack: &Attack, duration: Option<Duration>, table: &mut String) -> Result<(), String> {
        // Both stand before anything is compared.
        for url in [&self.attacker, &self.neighbour] {
            answered(&self.get(url).await)?;
        }
        let before = self.used(attack).await;
        let ended = match duration {
            None => self.attacks(attack).await?,
            Some(duration) => {
                let (ended, measured) = self.measured(attack, duration).await?;
                row(table, attack, &ended, &measured);
                let lost: usize = measured.iter().map(|phase| phase.lost).sum();
                if lost > 0 {
                    return Err(format!("the neighbour lost {lost} calls"));
                }
                ended
            }
        };
        println!("{}: {ended}", attack.name);
        poll::until(
            &format!("{} of the attacker grows by {}", attack.metric, attack.name),
            async || (self.used(attack).await > before).then_some(()),
        )
        .await;
        for url in [&self.neighbour, &self.attacker] {
            answered(&self.get(url).await)?;
        }
        Ok(())
    }

    /// One attack; how it ended, if that is as expected.
    async fn attacks(&self, attack: &Attack) -> Result<String, String> {
        let name = attack.name.replace(' ', "%20");
        let reply = self.get(&format!("{}?do={name}", self.attacker)).await;
        match attack.ends {
            Ends::With(expected) => {
                let said = reply.text().trim_matches('"').to_owned();
                let holds = reply.status == 200 && expected.contains(&said.as_str());
                holds
                    .then(|| format!("`{said}`"))
                    .ok_or_else(|| format!("{} {said}, expected one of {expected:?}", reply.status))
            }
            Ends::As(status, code) => {
                let holds = reply.status == status && reply.text().contains(code);
                holds
                    .then(|| format!("{status} `{code}`"))
                    .ok_or_else(|| format!("{} {}, expected {status} {code}", reply.status, reply.text()))
            }
        }
    }

    /// The neighbour before, during and after the attack, which is repeated for the whole phase.
    async fn measured(&self, attack: &Attack, duration: Duration) -> Result<(String, [Measured; 3]), String> {
        let phase = async || meter::measure(self.server.client(), &self.neighbour, duration).await;
        let before = phase().await;
        let over = AtomicBool::new(false);
        let attacking = async {
            let mut ended = self.attacks(attack).await;
            while ended.is_ok() && !over.load(Ordering::SeqCst) {
                ended = self.attacks(attack).await;
            }
            ended
        };
        let measuring = async {
            let during = phase().await;
            over.store(true, Ordering::SeqCst);
            during
        };
        let (ended, during) = tokio::join!(attacking, measuring);
        let after = phase().await;
        Ok((ended?, [before, during, after]))
    }

    async fn get(&self, url: &str) -> Reply {
        self.server.client().get(url).await.expect("the server answers")
    }

    async fn used(&self, attack: &Attack) -> f64 {
        let labels = [("function", "attacker")];
        self.server.metrics().await.sum(attack.metric, &labels)
    }
}

fn answered(reply: &Reply) -> Result<(), String> {
    let good = reply.status == 200;
    good.then_some(())
        .ok_or_else(|| format!("a quiet call was answered with {} {}", reply.status, reply.text()))
}

fn row(table: &mut String, attack: &Attack, ended: &str, measured: &[Measured; 3]) {
    let [before, during, after] = measured.each_ref().map(|phase| phase.p99.as_secs_f64() * 1e3);
    let ratio = during / before.max(f64::MIN_POSITIVE);
    let verdict = if ratio <= BUDGET { "held" } else { "over" };
    let (name, metric) = (attack.name, attack.metric);
    let _ = writeln!(
        table,
        "| {name} | {ended} | {before:.1} | {during:.1} | {after:.1} | {ratio:.1} | {verdict} | `{metric}` |"
    );
}
