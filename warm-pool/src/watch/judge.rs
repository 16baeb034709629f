//! Which rules apply to an event: pure, with the time told from outside.
//!
//! A rule with a rate counts the events of each function by itself, and begins anew when it has applied. What is held is bounded by rules, functions
//! and the count of each rate.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use functions::FunctionName;

use super::event::Happening;
use super::rules::{Rule, Rules};

/// Alerts of one rule and one function that a person is told of at once; after that one each [`PAUSE`].
const TOLD_AT_ONCE: u32 = 10;
/// The pause between two of the same when there are many.
const PAUSE: Duration = Duration::from_secs(1);

/// See the module's head.
pub(crate) struct Judge {
    rules: Arc<Rules>,
    /// By the place of the rule.
    of: HashMap<(usize, FunctionName), Memory>,
}

/// What is remembered of a rule and a function.
struct Memory {
    /// When the events came that count, the oldest first.
    counted: VecDeque<Instant>,
    /// Alerts that may be told now.
    left: u32,
    /// When the last one became one more.
    earned: Instant,
    /// Those that were not told.
    untold: u64,
}

/// A rule that applies.
#[derive(Debug)]
pub(super) struct Verdict<'a> {
    pub(super) rule: &'a Rule,
    /// Whether a person is told, and of how many more like this that were not told before.
    pub(super) told: Option<u64>,
}

impl Judge {
    pub(super) fn new(rules: Arc<Rules>) -> Self {
        Self {
            rules,
            of: HashMap::new(),
        }
    }

    /// The rules that apply to what happened `now`.
    pub(super) fn judge(&mut self, now: Instant, happening: &Happening) -> Vec<Verdict<'_>> {
        let mut verdicts = Vec::new();
        for (at, rule) in self.rules.all().iter().enumerate() {
            if !rule.enabled || !rule.matches(happening) {
                continue;
            }
            let memory = self
                .of
                .entry((at, happening.function.clone()))
                .or_insert_with(|| Memory {
                    counted: VecDeque::new(),
                    left: TOLD_AT_ONCE,
                    earned: now,
                    untold: 0,
                });
            if memory.is_enough(now, rule) {
                let told = memory.tell(now);
                verdicts.push(Verdict { rule, told });
            }
        }
        verdicts
    }

    /// The function was removed.
    pub(crate) fn forget(&mut self, function: &FunctionName) {
        self.of.retain(|(_, of), _| of != function);
    }
}

impl Memory {
    fn is_enough(&mut self, now: Instant, rule: &Rule) -> bool {
        let Some(rate) = rule.rate else { return true };
        let within = rate.within.duration();
        self.counted.push_back(now);
        while self
            .counted
            .front()
            .is_some_and(|first| now.saturating_duration_since(*first) > within)
        {
            self.counted.pop_front();
        }
        let enough = self.counted.len() >= rate.count as usize;
        if enough {
            self.counted.clear();
        }
        enough
    }

    fn tell(&mut self, now: Instant) -> Option<u64> {
        let pauses = now.saturating_duration_since(self.earned).as_secs() / PAUSE.as_secs();
        if pauses > 0 {
            self.left = TOLD_AT_ONCE.min(self.left.saturating_add(u32::try_from(pauses).unwrap_or(u32::MAX)));
            self.earned = now;
        }
        if self.left == 0 {
            self.untold += 1;
            return None;
        }
        self.left -= 1;
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use functions::Runtime;
    use proptest::prelude::*;

    use super::*;
    use crate::watch::event::Event;

    fn refused(function: &str) -> Happening {
        Happening {
            function: function.parse().unwrap(),
            runtime: Runtime::Python,
            sandbox: Some(1),
            event: Event::Refused("unshare"),
        }
    }

    fn judge(rate: &str) -> Judge {
        let text = format!("[[rule]]\nname = \"refused-calls\"\nrate = {rate}");
        Judge::new(Arc::new(Rules::changed_by(&text).unwrap()))
    }

    #[test]
    fn a_rate_counts_within_its_time_and_begins_anew_when_it_is_reached() {
        let mut judge = judge("{ count = 3, within = \"10s\" }");
        let start = Instant::now();
        let mut applies = |seconds: u64, function: &str| {
            !judge
                .judge(start + Duration::from_secs(seconds), &refused(function))
                .is_empty()
        };
        assert!(!applies(0, "a") && !applies(1, "a") && !applies(1, "b"));
        assert!(!applies(12, "a"), "the first two are too long ago");
        assert!(!applies(13, "a") && applies(14, "a"));
        assert!(!applies(14, "a") && !applies(14, "a") && applies(14, "a"));
    }

    #[test]
    fn a_flood_of_alerts_is_told_in_part_and_its_rest_is_counted() {
        let mut judge = judge("{ count = 1, within = \"10s\" }");
        let start = Instant::now();
        let mut told = |at: Instant| judge.judge(at, &refused("a")).pop().unwrap().told;
        let first: Vec<_> = (0..100).filter_map(|_| told(start)).collect();
        assert_eq!(first, [0; TOLD_AT_ONCE as usize]);
        assert_eq!(told(start + PAUSE), Some(90));
        assert_eq!(told(start + PAUSE), None);
    }

    #[test]
    fn a_removed_function_is_forgotten() {
        let mut judge = judge("{ count = 2, within = \"10s\" }");
        let now = Instant::now();
        judge.judge(now, &refused("a"));
        judge.forget(&"a".parse().unwrap());
        assert!(judge.of.is_empty());
    }

    proptest! {
        #[test]
        fn what_is_held_is_bounded(events in prop::collection::vec((0u64..100_000, 0usize..3), 0..2000)) {
            let mut judge = judge("{ count = 7, within = \"10s\" }");
            let start = Instant::now();
            for (millis, function) in events {
                // Also when the clock seems to go back.
                judge.judge(start + Duration::from_millis(millis), &refused(["a", "b", "c"][function]));
            }
            prop_assert!(judge.of.len() <= 3);
            prop_assert!(judge.of.values().all(|memory| memory.counted.len() < 7 && memory.left <= TOLD_AT_ONCE));
        }
    }
}
