//! The warm ladder: how long an instance that nobody calls stays on each rung.
//!
//! ```text
//! idle -> frozen -> reclaimed -> template only -> nothing
//! ```
//!
//! Staying on a rung saves the next call some waiting and holds some memory until that call comes. It is worth it while there is a
//! period ahead for which P(a call within it) x (wait that is saved) is more than the memory held in it, at the rate of exchange
//! [`MEMORY_FOR_A_SECOND`]. What is known of the calls is the histogram of gaps; while that knows nothing, a rung is held until its
//! upper bound. A rung that a host can't offer is left out of the steps that the caller passes.

use std::time::Duration;

use super::gaps::Gaps;

/// Bytes x seconds of memory that one second of a caller's waiting is worth: a gibibyte for a minute and a half. The one number that
/// says what memory costs. Twice as much keeps everything about twice as long. The simulation shows what other values would do.
pub(crate) const MEMORY_FOR_A_SECOND: f64 = 90.0 * (1u64 << 30) as f64;
/// No instance goes down a rung earlier: a person who tries something out calls again within this time, whatever happened before.
pub(crate) const SOONEST: Duration = Duration::from_secs(10);
/// When the processes of an instance that nobody calls are stopped, so that nothing of it runs, and it costs no processor time.
/// Stopping and continuing take less than a call does; this only spares a function that is called all the time from it.
pub(crate) const FROZEN_AFTER: Duration = SOONEST;
/// The memory of an instance is given back so long after it was frozen at the earliest.
pub(crate) const RECLAIMED_AFTER_FREEZING: Duration = Duration::from_secs(10);
/// Nor when it goes within this time anyway: what is written to swap is paid for in waiting for a disk, too.
pub(crate) const RECLAIMED_FOR: Duration = Duration::from_secs(60);
/// Bytes that a disk gives back in a second, page by page: a guess between a slow one and a fast one.
const READ_BACK: f64 = 128.0 * (1u64 << 20) as f64;
/// Instances that hold less keep it: there is nothing to gain.
const WORTH_RECLAIMING: u64 = 1 << 20;
/// What an instance that ran a call holds beside its template, where nobody measured it.
pub(crate) const OWN_MEMORY: u64 = 8 << 20;

/// What a rung has to offer, compared with the one below it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    /// Bytes that it holds more.
    pub(crate) memory: u64,
    /// Waiting of the next call that it saves.
    pub(crate) saves: Duration,
}

/// How long after the last call the rung is left, `bound` at most.
pub(crate) fn stays_for(gaps: &Gaps, step: Step, bound: Duration) -> Duration {
    if !gaps.known() {
        return bound;
    }
    let leaves = std::iter::once(SOONEST)
        .chain(gaps.buckets().map(|(_, to, _)| to).filter(|to| *to > SOONEST))
        .find(|quiet| !pays(gaps, step, *quiet));
    // The last bucket is open, so nothing is known of a time after it.
    leaves.unwrap_or(bound).min(bound)
}

/// How long after the last call the memory of a frozen instance is kept, `bound` at most. What it holds and what reading that back takes grow
/// alike, so how much it is does not matter.
pub(crate) fn memory_stays_for(gaps: &Gaps, bound: Duration) -> Duration {
    let step = Step {
        memory: OWN_MEMORY,
        saves: Duration::from_secs_f64(OWN_MEMORY as f64 / READ_BACK),
    };
    stays_for(gaps, step, bound)
}

/// Whether swap has room for what an instance holds, and as much again for others.
pub(crate) fn fits_into_swap(held: u64, swap_free: u64) -> bool {
    held >= WORTH_RECLAIMING && swap_free / 2 >= held
}

/// How long a template is kept whose function is called too seldom to be known.
const UNKNOWN_TEMPLATE: Duration = Duration::from_secs(15 * 60);
/// How long one is kept at most.
pub(crate) const TEMPLATE_BOUND: Duration = Duration::from_secs(60 * 60);

/// How long after the last call a template is kept.
pub(crate) fn template_stays_for(gaps: &Gaps, step: Step) -> Duration {
    if gaps.known() {
        stays_for(gaps, step, TEMPLATE_BOUND)
    } else {
        UNKNOWN_TEMPLATE
    }
}

/// Whether there is a period after `quiet` without a call for which staying pays.
fn pays(gaps: &Gaps, step: Step, quiet: Duration) -> bool {
    let quiet = quiet.as_secs_f64();
    let left = |(from, to, weight): (Duration, Duration, f64)| {
        let (from, to) = (from.as_secs_f64(), to.as_secs_f64());
        let part = ((to - quiet) / (to - from)).clamp(0.0, 1.0);
        (part > 0.0).then_some((from.max(quiet), to, weight * part))
    };
    let ahead: Vec<_> = gaps.buckets().filter_map(left).collect();
    let all: f64 = ahead.iter().map(|(.., weight)| weight).sum();
    let price = step.memory as f64 / MEMORY_FOR_A_SECOND;
    let (mut came, mut held) = (0.0, 0.0);
    for (from, to, weight) in ahead {
        came += weight;
        held += weight * ((from + to) / 2.0 - quiet);
        let cost = price * (held + (all - came) * (to - quiet));
        if came * step.saves.as_secs_f64() > cost {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod simulation;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const HOUR: Duration = Duration::from_secs(3600);
    const FORK: Step = Step {
        memory: OWN_MEMORY,
        saves: Duration::from_millis(2),
    };
    const EXEC: Step = Step {
        memory: 40 << 20,
        saves: Duration::from_millis(400),
    };

    fn every(gap: Duration) -> Gaps {
        let mut gaps = Gaps::default();
        for _ in 0..100 {
            gaps.add(gap);
        }
        gaps
    }

    #[test]
    fn who_knows_nothing_keeps_what_was_asked_for() {
        let mut gaps = Gaps::default();
        for _ in 0..3 {
            gaps.add(HOUR);
        }
        assert_eq!(stays_for(&gaps, FORK, SECOND * 60), SECOND * 60);
        gaps.add(HOUR);
        assert_eq!(stays_for(&gaps, FORK, SECOND * 60), SOONEST);
    }

    #[test]
    fn what_is_called_often_stays_and_what_is_called_seldom_goes() {
        assert!(stays_for(&every(SECOND * 15), FORK, HOUR) >= SECOND * 15);
        assert_eq!(stays_for(&every(SECOND * 300), FORK, HOUR), SOONEST);
        assert!(stays_for(&every(SECOND * 600), EXEC, HOUR) >= SECOND * 600);
        assert_eq!(stays_for(&every(HOUR * 2), EXEC, HOUR), SOONEST);
    }

    #[test]
    fn after_the_time_at_which_it_is_always_called_it_goes() {
        let stays = stays_for(&every(SECOND * 600), EXEC, HOUR);
        assert!(stays < SECOND * 600 * 2, "{stays:?}");
    }

    #[test]
    fn a_row_of_calls_tells_nothing() {
        assert!(!every(SECOND * 9).known());
        assert_eq!(stays_for(&every(SECOND * 9), FORK, SECOND * 60), SECOND * 60);
    }

    #[test]
    fn a_burst_is_held_through_and_the_quiet_after_it_is_not() {
        let mut gaps = Gaps::default();
        for _ in 0..30 {
            for gap in [SECOND * 5, SECOND * 5, SECOND * 5, SECOND * 5, HOUR * 3] {
                gaps.add(gap);
            }
        }
        let stays = stays_for(&gaps, EXEC, HOUR);
        assert!(stays >= SOONEST && stays < SECOND * 30, "{stays:?}");
    }

    #[test]
    fn a_template_stays_as_long_as_calls_of_its_function_are_likely() {
        assert_eq!(template_stays_for(&Gaps::default(), EXEC), UNKNOWN_TEMPLATE);
        assert!(template_stays_for(&every(SECOND * 600), EXEC) >= SECOND * 600);
        assert_eq!(template_stays_for(&every(HOUR * 2), EXEC), SOONEST);
    }

    #[test]
    fn memory_is_given_back_where_a_call_is_far_away_and_kept_where_one_is_near() {
        let bound = SECOND * 300;
        assert_eq!(memory_stays_for(&Gaps::default(), bound), bound, "who knows nothing");
        assert_eq!(memory_stays_for(&every(HOUR), bound), SOONEST);
        assert!(memory_stays_for(&every(SECOND * 120), bound) > SECOND * 120);
    }

    #[test]
    fn swap_is_filled_by_half_at_most() {
        assert!(fits_into_swap(8 << 20, 16 << 20));
        assert!(!fits_into_swap(8 << 20, (16 << 20) - 2));
        assert!(!fits_into_swap(8 << 20, 0), "there is none");
        assert!(!fits_into_swap(4096, 16 << 20), "nothing to gain");
    }

    proptest! {
        #[test]
        fn more_saved_or_less_held_never_stays_shorter(
            seen in prop::collection::vec(1u64..20_000, 0..80), memory in 1u64..(1 << 30), millis in 0u64..5_000, bound in 0u64..90_000,
        ) {
            let mut gaps = Gaps::default();
            for gap in seen {
                gaps.add(SECOND * u32::try_from(gap).unwrap());
            }
            let (bound, saves) = (Duration::from_secs(bound), Duration::from_millis(millis));
            let stays = stays_for(&gaps, Step { memory, saves }, bound);
            prop_assert!(stays <= bound, "what was configured stays the upper bound");
            prop_assert!(stays >= SOONEST.min(bound));
            let saves_more = stays_for(&gaps, Step { memory, saves: saves * 2 }, bound);
            let holds_less = stays_for(&gaps, Step { memory: memory / 2, saves }, bound);
            prop_assert!(saves_more >= stays && holds_less >= stays);
        }
    }
}
