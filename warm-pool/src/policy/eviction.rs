//! Who goes first when memory is short: greedy-dual.
//!
//! An instance is worth `clock + frequency x start cost / memory`, with the clock as it stood when its function was last called.
//! The least worth goes first, and the clock advances to what it was worth; so an instance that is dear but was not called for
//! long is overtaken by those that are called, without anything having to age.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use functions::FunctionName;

/// An instance that could go.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) function: FunctionName,
    /// When the function was last called.
    pub(crate) called: Option<Instant>,
    /// Calls of the function lately.
    pub(crate) frequency: f64,
    /// What starting another one takes.
    pub(crate) start: Duration,
    /// Bytes that it holds.
    pub(crate) memory: u64,
}

/// The clock, and how it stood at the last call of each function that had a candidate at the last look.
#[derive(Debug, Default)]
pub(crate) struct GreedyDual {
    clock: f64,
    stood: HashMap<FunctionName, (Option<Instant>, f64)>,
}

impl GreedyDual {
    /// The places of those that go, in that order, until `wanted` bytes are free.
    pub(crate) fn victims(&mut self, candidates: &[Candidate], wanted: u64) -> Vec<usize> {
        // The clock only moves here, so a call since the last look was made while it stood as it does now.
        let mut stood = HashMap::new();
        for candidate in candidates {
            let known = self.stood.get(&candidate.function);
            let known = known.filter(|(called, _)| *called == candidate.called);
            let at = known.map_or(self.clock, |(_, at)| *at);
            stood.insert(candidate.function.clone(), (candidate.called, at));
        }
        self.stood = stood;
        let worth = |candidate: &Candidate| {
            let cost = candidate.frequency * candidate.start.as_secs_f64();
            self.stood[&candidate.function].1 + cost / candidate.memory.max(1) as f64
        };
        let mut order: Vec<_> = candidates.iter().map(worth).zip(0..).collect();
        order.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        let (mut victims, mut freed) = (Vec::new(), 0u64);
        for (worth, at) in order {
            if freed >= wanted {
                break;
            }
            freed = freed.saturating_add(candidates[at].memory);
            self.clock = self.clock.max(worth);
            victims.push(at);
        }
        victims
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn candidate(name: &str, called: Instant, frequency: f64, millis: u64, memory: u64) -> Candidate {
        Candidate {
            function: name.parse().unwrap(),
            called: Some(called),
            frequency,
            start: Duration::from_millis(millis),
            memory,
        }
    }

    #[test]
    fn cheap_large_and_seldom_called_ones_go_first() {
        let now = Instant::now();
        let those = [
            candidate("dear", now, 1.0, 500, 10),
            candidate("cheap", now, 1.0, 2, 10),
            candidate("large", now, 1.0, 500, 1000),
            candidate("seldom", now, 0.1, 500, 10),
        ];
        assert_eq!(GreedyDual::default().victims(&those, u64::MAX), [1, 2, 3, 0]);
        assert_eq!(GreedyDual::default().victims(&those, 11), [1, 2]);
        assert_eq!(GreedyDual::default().victims(&those, 0), [0usize; 0]);
    }

    #[test]
    fn a_dear_one_that_is_not_called_any_more_is_overtaken() {
        let mut now = Instant::now();
        let dear = candidate("dear", now, 1.0, 500, 10);
        let mut dual = GreedyDual::default();
        let mut looks = 0;
        loop {
            now += Duration::from_secs(1);
            looks += 1;
            let those = [dear.clone(), candidate("called", now, 1.0, 50, 10)];
            if dual.victims(&those, 1) == [0] {
                break;
            }
        }
        assert!((5..20).contains(&looks), "{looks}");
        assert_eq!(dual.stood.len(), 2, "only what could go is remembered");
    }

    proptest! {
        #[test]
        fn no_more_goes_than_is_needed(
            those in prop::collection::vec((0usize..5, 0.0f64..100.0, 0u64..1000, 1u64..1000), 0..40), wanted in 0u64..20_000,
        ) {
            let now = Instant::now();
            let those: Vec<_> = those
                .into_iter()
                .map(|(name, frequency, millis, memory)| candidate(&format!("f{name}"), now, frequency, millis, memory))
                .collect();
            let victims = GreedyDual::default().victims(&those, wanted);
            let freed = |of: &[usize]| of.iter().map(|at| those[*at].memory).sum::<u64>();
            prop_assert!(freed(&victims) >= wanted || victims.len() == those.len());
            if let Some((_, but_last)) = victims.split_last() {
                prop_assert!(freed(but_last) < wanted);
            }
        }
    }
}
