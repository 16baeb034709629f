//! How many slots stand ahead: those that are nobody's, those of a function's cell, and those with a parked process;
//! and how long a template serves.

use std::time::Duration;

use super::poisson::quantile;

/// How far back slots that were wanted tell how many will be.
pub(crate) const ARRIVALS_SEEN_FOR: Duration = Duration::from_secs(10);
/// Slots that stand although none was wanted lately.
const FEWEST_SLOTS: usize = 4;
/// Slots that stand at most: each holds about half a megabyte of the kernel's memory.
const MOST_SLOTS: usize = 32;
/// How seldom a start may find no slot while the rate stays what it was.
const MISSES: f64 = 0.001;

/// How many slots are to stand: enough that while one is built, which takes `build_time`, more are wanted in one case of a
/// thousand only, if they are wanted at the rate of the `wanted` of the last [`ARRIVALS_SEEN_FOR`].
pub(crate) fn slots_ahead(wanted: usize, build_time: Duration) -> usize {
    let expected = wanted as f64 / ARRIVALS_SEEN_FOR.as_secs_f64() * build_time.as_secs_f64();
    (quantile(expected, MISSES, MOST_SLOTS) + FEWEST_SLOTS).min(MOST_SLOTS)
}

/// Slots of a cell that stand although none was wanted lately: one for the fork that waits, one for the fork on demand.
const FEWEST_OF_A_CELL: usize = 2;
/// Slots of one cell that stand at most.
pub(crate) const MOST_OF_A_CELL: usize = 16;

/// The same for the slots of one cell.
pub(crate) fn cell_slots_ahead(wanted: usize, build_time: Duration) -> usize {
    let expected = wanted as f64 / ARRIVALS_SEEN_FOR.as_secs_f64() * build_time.as_secs_f64();
    (quantile(expected, MISSES, MOST_OF_A_CELL) + FEWEST_OF_A_CELL).min(MOST_OF_A_CELL)
}

/// Most processes of a runtime that are parked: each holds some 40 megabytes.
const MOST_PARKED: usize = 4;
/// How long processes of a runtime are parked after the last start that one would have served.
pub(crate) const PARKED_KEPT_FOR: Duration = Duration::from_secs(10 * 60);

/// The age at which a parked process is replaced, so that none is of an interpreter that was updated long ago.
pub(crate) const LIFE_OF_A_PARKED: Duration = Duration::from_secs(15 * 60);

/// The same for parked processes, of which one stands at least.
pub(crate) fn parked_ahead(wanted: usize, build_time: Duration) -> usize {
    let expected = wanted as f64 / ARRIVALS_SEEN_FOR.as_secs_f64() * build_time.as_secs_f64();
    (quantile(expected, MISSES, MOST_PARKED) + 1).min(MOST_PARKED)
}

/// Forks after which a template is replaced: they all share its layout of memory, so that one who learns it from one fork
/// knows it of the next.
pub(crate) const FORKS_OF_A_TEMPLATE: u64 = 5_000;
/// The time after which it is.
pub(crate) const LIFE_OF_A_TEMPLATE: Duration = Duration::from_secs(60 * 60);
/// Deaths of templates of one revision after which it gets no more.
pub(crate) const DEATHS_FORGIVEN: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_follow_the_rate_at_which_they_are_wanted() {
        let ms = Duration::from_millis;
        assert_eq!(slots_ahead(0, ms(5)), FEWEST_SLOTS);
        // 10 a second, 5 ms each: one in the making now and then.
        assert_eq!(slots_ahead(100, ms(5)), FEWEST_SLOTS + 2);
        assert_eq!(slots_ahead(100_000, ms(50)), MOST_SLOTS);
        let mut last = 0;
        for wanted in (0..5000).step_by(50) {
            let now = slots_ahead(wanted, ms(5));
            assert!(now >= last && (FEWEST_SLOTS..=MOST_SLOTS).contains(&now));
            last = now;
        }
    }

    #[test]
    fn one_process_is_parked_at_least_and_four_at_most() {
        let ms = Duration::from_millis;
        assert_eq!(parked_ahead(0, ms(100)), 1);
        // One a second, a tenth of one in the making on average: two more could be wanted meanwhile.
        assert_eq!(parked_ahead(10, ms(100)), 3);
        assert_eq!(parked_ahead(10_000, ms(100)), MOST_PARKED);
    }
}
