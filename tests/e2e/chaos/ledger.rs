//! What was acknowledged, what happened, and which promise was broken. A broken promise is written down and the run goes on.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::subject::Way;

/// How many breaches of one promise are printed; the others are counted.
const SHOWN: usize = 5;

/// One invariant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Promise {
    Bodies,
    Errors,
    Connections,
    Hangs,
    Deploys,
    Recovers,
    Processes,
    Groups,
    Mounts,
    Files,
    Ends,
}

impl Promise {
    const ALL: &[Self] = &[
        Self::Bodies,
        Self::Errors,
        Self::Connections,
        Self::Hangs,
        Self::Deploys,
        Self::Recovers,
        Self::Processes,
        Self::Groups,
        Self::Mounts,
        Self::Files,
        Self::Ends,
    ];

    fn words(self) -> &'static str {
        match self {
            Self::Bodies => "every body is whole, the caller's own, and of a revision that may answer",
            Self::Errors => "every error is typed, with a code that a kill explains",
            Self::Connections => "connections break only while the server is down, replies only with their instance",
            Self::Hangs => "every call ends",
            Self::Deploys => "every acknowledged deploy is there after a restart, with its number and its bundle",
            Self::Recovers => "after each kill every function answers again",
            Self::Processes => "no process is left behind",
            Self::Groups => "no cgroup is left behind",
            Self::Mounts => "no mount is left behind",
            Self::Files => "no blob, layer or directory is left that nothing names",
            Self::Ends => "the server ends in order, and its socket goes with it",
        }
    }
}

/// A deploy that was acknowledged.
#[derive(Debug, Clone)]
pub(super) struct Acknowledged {
    pub(super) tag: u64,
    pub(super) revision: u64,
    pub(super) bundle: String,
}

/// What is known of one function's deploys.
#[derive(Debug, Default)]
struct Deploys {
    /// The last tag that was sent, acknowledged or not.
    sent: u64,
    acknowledged: Vec<Acknowledged>,
    /// Tags that the server refused: they must never answer.
    refused: Vec<u64>,
}

#[derive(Debug, Default)]
struct Pages {
    deploys: BTreeMap<&'static str, Deploys>,
    counts: BTreeMap<String, u64>,
    checks: BTreeMap<Promise, u64>,
    breaches: BTreeMap<Promise, Vec<String>>,
    skipped: BTreeMap<Promise, &'static str>,
}

/// Shared by all who call, deploy and kill.
#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<Pages>);

impl Ledger {
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts something that happened.
    pub(super) fn count(&self, what: impl Into<String>) {
        *self.pages().counts.entry(what.into()).or_default() += 1;
    }

    /// A promise was looked at, and held.
    pub(super) fn held(&self, promise: Promise) {
        *self.pages().checks.entry(promise).or_default() += 1;
    }

    /// A promise was looked at, and was broken.
    pub(super) fn breach(&self, promise: Promise, what: impl Into<String>) {
        let what = what.into();
        eprintln!("broken: {}: {what}", promise.words());
        let mut pages = self.pages();
        *pages.checks.entry(promise).or_default() += 1;
        pages.breaches.entry(promise).or_default().push(what);
    }

    /// One of the two.
    pub(super) fn check(&self, promise: Promise, holds: bool, what: impl FnOnce() -> String) {
        if holds {
            self.held(promise);
        } else {
            self.breach(promise, what());
        }
    }

    /// A promise can't be looked at here.
    pub(super) fn skip(&self, promise: Promise, why: &'static str) {
        self.pages().skipped.insert(promise, why);
    }

    /// The tag of the next deploy of a function.
    pub(super) fn send(&self, way: Way) -> u64 {
        let mut pages = self.pages();
        let deploys = pages.deploys.entry(way.name()).or_default();
        deploys.sent += 1;
        deploys.sent
    }

    pub(super) fn acknowledge(&self, way: Way, deploy: Acknowledged) {
        let mut pages = self.pages();
        pages.deploys.entry(way.name()).or_default().acknowledged.push(deploy);
    }

    pub(super) fn refuse(&self, way: Way, tag: u64) {
        self.pages().deploys.entry(way.name()).or_default().refused.push(tag);
    }

    /// The last deploy of a function that was acknowledged.
    pub(super) fn last(&self, way: Way) -> Option<Acknowledged> {
        self.pages().deploys.get(way.name())?.acknowledged.last().cloned()
    }

    /// The numbers of all deploys of a function that were acknowledged.
    pub(super) fn revisions(&self, way: Way) -> Vec<u64> {
        let pages = self.pages();
        let deploys = pages.deploys.get(way.name());
        deploys.map_or_else(Vec::new, |deploys| {
            deploys.acknowledged.iter().map(|one| one.revision).collect()
        })
    }

    /// Whether code with this tag may have answered a call that began when `floor` was the last acknowledged tag, under this number.
    pub(super) fn may_answer(&self, way: Way, tag: u64, floor: u64, revision: u64) -> Result<(), String> {
        let pages = self.pages();
        let Some(deploys) = pages.deploys.get(way.name()) else {
            return Err("nothing of it was deployed".to_owned());
        };
        if tag < floor || tag > deploys.sent {
            return Err(format!("tag {tag}, when {floor} to {} were to answer", deploys.sent));
        }
        if deploys.refused.contains(&tag) {
            return Err(format!("tag {tag}, whose deploy was refused"));
        }
        let known = deploys.acknowledged.iter().find(|one| one.tag == tag);
        match known {
            Some(known) if known.revision != revision => Err(format!(
                "tag {tag} is revision {}, and the reply says {revision}",
                known.revision
            )),
            _ => Ok(()),
        }
    }

    /// How many promises were broken, or never looked at.
    pub(super) fn broken(&self) -> usize {
        let pages = self.pages();
        let looked_at = |promise| pages.checks.contains_key(promise) || pages.skipped.contains_key(promise);
        let all = Promise::ALL.iter();
        all.filter(|promise| pages.breaches.contains_key(promise) || !looked_at(*promise))
            .count()
    }

    /// What happened, and each promise with its outcome.
    pub(super) fn account(&self) -> String {
        let pages = self.pages();
        let mut text = String::from("\n| what happened | times |\n|---|---:|\n");
        for (what, times) in &pages.counts {
            let _ = writeln!(text, "| {what} | {times} |");
        }
        text.push('\n');
        let (mut passed, mut failed, mut skipped) = (0, 0, 0);
        for promise in Promise::ALL {
            let checks = pages.checks.get(promise).copied().unwrap_or(0);
            let words = promise.words();
            if let Some(breaches) = pages.breaches.get(promise) {
                failed += 1;
                let _ = writeln!(text, "failed: {words} ({} of {checks} checks)", breaches.len());
                for breach in breaches.iter().take(SHOWN) {
                    let _ = writeln!(text, "  {breach}");
                }
            } else if let Some(why) = pages.skipped.get(promise) {
                skipped += 1;
                let _ = writeln!(text, "skipped: {words}: {why}");
            } else if checks == 0 {
                failed += 1;
                let _ = writeln!(text, "failed: {words} (never looked at)");
            } else {
                passed += 1;
                let _ = writeln!(text, "held: {words} ({checks} checks)");
            }
        }
        let _ = writeln!(text, "{passed} passed, {failed} failed, {skipped} skipped");
        text
    }
}

#[test]
fn a_reply_of_the_wrong_revision_is_told() {
    let ledger = Ledger::default();
    let way = Way::Node;
    for revision in [1, 2] {
        let tag = ledger.send(way);
        let bundle = String::new();
        ledger.acknowledge(way, Acknowledged { tag, revision, bundle });
    }
    assert_eq!(ledger.send(way), 3);
    assert!(ledger.may_answer(way, 2, 2, 2).is_ok());
    assert!(
        ledger.may_answer(way, 3, 2, 9).is_ok(),
        "it may be live before it is acknowledged"
    );
    assert!(ledger.may_answer(way, 1, 2, 1).is_err(), "an older one");
    assert!(ledger.may_answer(way, 4, 2, 4).is_err(), "one that was never sent");
    assert!(ledger.may_answer(way, 2, 2, 7).is_err(), "another number");
    ledger.refuse(way, 3);
    assert!(ledger.may_answer(way, 3, 2, 3).is_err(), "a refused one");
    ledger.breach(Promise::Files, "a file");
    ledger.held(Promise::Hangs);
    assert_eq!(ledger.broken(), 10);
    let account = ledger.account();
    assert!(account.contains("failed: no blob, layer"), "{account}");
    assert!(
        account.ends_with("1 passed, 10 failed, 0 skipped\n"),
        "what was not looked at did not pass: {account}"
    );
}
