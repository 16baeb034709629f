//! How many instances are started for the calls that wait.
//!
//! Scaling up is the ski-rental problem. While nothing lives, each waiting call is a reason to start. Once instances live, a
//! waiting call is served by the next lane that comes home, and a start takes many times what a short call takes; so another
//! instance is started only when waiting would take longer than starting, judged by the means of this revision, or when a call has in
//! fact waited as long as a start takes. In the worst case a call waits twice the time of a start.

use std::time::Duration;

use super::{Mean, Scale};

/// Consecutive failed starts that are retried without a pause.
pub(crate) const CRASH_BUDGET: u32 = 5;
/// The first pause after the budget is spent.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
/// The longest pause between two starts.
const BACKOFF_LONGEST: Duration = Duration::from_secs(5);
/// How long failed starts of a revision are remembered when nobody calls it.
pub(crate) const FAILURE_MEMORY: Duration = Duration::from_secs(60);
/// A start that takes longer than this mostly waits instead of computing, so it stops counting against the ramp.
pub(crate) const RAMP_WINDOW: Duration = Duration::from_millis(250);

/// The instances of one revision, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Being prepared.
    pub(crate) starting: u32,
    /// Being prepared for less than [`RAMP_WINDOW`].
    pub(crate) fresh: u32,
    /// How long until the oldest of the fresh ones is fresh no longer.
    pub(crate) fresh_for: Option<Duration>,
    /// Serving calls or waiting for them.
    pub(crate) usable: u32,
    /// Those of them that never ran a call.
    pub(crate) ahead: u32,
    /// Finishing their calls, taking no more.
    pub(crate) draining: u32,
    /// Being torn down.
    pub(crate) dying: u32,
}

impl Tally {
    /// How many instances may be added.
    pub(crate) fn room(&self, scale: &Scale) -> u32 {
        scale
            .max
            .saturating_sub(self.starting + self.usable + self.draining + self.dying)
    }
}

/// What [`starts`] looks at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Need {
    /// Calls in the queue.
    pub(crate) waiting: usize,
    /// How long the first call has waited that no instance under preparation will serve.
    pub(crate) uncovered_for: Duration,
    /// Instances that stay although nobody calls: the minimum of a live revision, or what was asked for beside its settings.
    pub(crate) keeps: u32,
    /// The pause after failed starts that is left.
    pub(crate) pause: Option<Duration>,
    /// How long a start takes.
    pub(crate) start: Mean,
    /// How long a call takes.
    pub(crate) service: Mean,
    /// Starts of one revision that may compute at the same time.
    pub(crate) ramp: u32,
}

/// How many instances to start now, and when to ask again although nothing happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Starts {
    /// Instances to start.
    pub(crate) now: u32,
    /// Time until the answer may change by itself.
    pub(crate) ask_again: Option<Duration>,
}

/// Decides how many instances to start.
///
/// Capacity that is being prepared counts as capacity, so a burst never means one start per call without bound.
pub(crate) fn starts(scale: &Scale, tally: &Tally, need: &Need) -> Starts {
    let room = tally.room(scale);
    let mut floor = need.keeps.saturating_sub(tally.starting + tally.usable).min(room);
    let lanes = usize::from(scale.concurrency);
    let uncovered = need.waiting.saturating_sub(tally.starting as usize * lanes);
    let mut wanted = u32::try_from(uncovered.div_ceil(lanes)).unwrap_or(u32::MAX).min(room);
    let mut ask_again = None;

    if wanted == 0 && floor == 0 {
        return Starts::default();
    }
    if let Some(pause) = need.pause {
        return Starts {
            now: 0,
            ask_again: Some(pause),
        };
    }
    // Of instances that serve one call, no lane comes home that another call could wait for.
    if wanted > 0
        && tally.usable > 0
        && !scale.pristine()
        && let Some(patience) = patience(scale, tally, need)
    {
        wanted = 0;
        ask_again = Some(patience);
    }
    let on_ramp = need.ramp.saturating_sub(tally.fresh);
    if wanted.max(floor) > on_ramp {
        wanted = wanted.min(on_ramp);
        floor = floor.min(on_ramp);
        let left = tally.fresh_for.unwrap_or(RAMP_WINDOW);
        ask_again = Some(ask_again.map_or(left, |earlier: Duration| earlier.min(left)));
    }
    Starts {
        now: wanted.max(floor),
        ask_again,
    }
}

/// How much longer a call should wait for a lane before an instance is started for it, or `None` when starting wins already.
fn patience(scale: &Scale, tally: &Tally, need: &Need) -> Option<Duration> {
    let start = need.start.get()?;
    let service = need.service.get()?;
    let lanes = (tally.usable as usize * usize::from(scale.concurrency)).max(1);
    let rounds = u32::try_from(need.waiting.div_ceil(lanes)).unwrap_or(u32::MAX);
    let turn = service.checked_mul(rounds)?;
    if turn >= start {
        return None;
    }
    let left = start.saturating_sub(need.uncovered_for);
    (!left.is_zero()).then_some(left)
}

/// How many calls may wait: the configured queue, and one for each lane that could still be added. While no instance
/// serves yet, the queue is twice as long: a burst that meets a cold function waits for a start, not for work to be done.
///
/// Without the lanes a function with `queue = 0` could never be started.
pub(crate) fn queue_bound(scale: &Scale, tally: &Tally) -> usize {
    let addable = (tally.room(scale) + tally.starting) as usize * usize::from(scale.concurrency);
    let queue = scale.queue as usize;
    addable + if tally.usable == 0 { 2 * queue } else { queue }
}

/// The pause before the next start after `failures` failed starts in a row; `None` while the budget lasts.
pub(crate) fn backoff(failures: u32) -> Option<Duration> {
    let over = failures.checked_sub(CRASH_BUDGET)?;
    Some(BACKOFF_FIRST.saturating_mul(1 << over.min(16)).min(BACKOFF_LONGEST))
}

/// How many of `standing` instances may go while nobody calls, where so many are kept.
pub(crate) fn surplus(keeps: u32, standing: u32) -> u32 {
    standing.saturating_sub(keeps)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn scale() -> Scale {
        Scale {
            min: 0,
            max: 16,
            concurrency: 1,
            idle: MS * 60_000,
            queue: 100,
            ..Scale::default()
        }
    }

    fn need(waiting: usize) -> Need {
        Need {
            waiting,
            uncovered_for: Duration::ZERO,
            keeps: 0,
            pause: None,
            start: Mean::default(),
            service: Mean::default(),
            ramp: 4,
        }
    }

    fn mean(of: Duration) -> Mean {
        Mean(Some(of))
    }

    #[test]
    fn a_cold_burst_climbs_the_ramp() {
        let none = Tally::default();
        assert_eq!(starts(&scale(), &none, &need(1)).now, 1);
        assert_eq!(
            starts(&scale(), &none, &need(200)),
            Starts {
                now: 4,
                ask_again: Some(RAMP_WINDOW)
            }
        );
        let climbing = Tally {
            starting: 4,
            fresh: 4,
            fresh_for: Some(MS * 200),
            ..none
        };
        assert_eq!(
            starts(&scale(), &climbing, &need(200)),
            Starts {
                now: 0,
                ask_again: Some(MS * 200)
            }
        );
        let slow = Tally { starting: 4, ..none };
        assert_eq!(starts(&scale(), &slow, &need(200)).now, 4);
    }

    #[test]
    fn capacity_under_preparation_counts() {
        let one = Tally {
            starting: 1,
            fresh: 1,
            fresh_for: Some(MS),
            ..Tally::default()
        };
        assert_eq!(starts(&scale(), &one, &need(1)), Starts::default());
        assert_eq!(starts(&scale(), &one, &need(2)).now, 1);
        let wide = Scale {
            concurrency: 8,
            ..scale()
        };
        assert_eq!(starts(&wide, &one, &need(8)), Starts::default());
        assert_eq!(starts(&wide, &one, &need(9)).now, 1);
    }

    #[test]
    fn a_short_queue_waits_for_a_lane_and_a_long_one_starts() {
        let busy = Tally {
            usable: 2,
            ..Tally::default()
        };
        let quick = Need {
            start: mean(MS * 20),
            service: mean(MS),
            ..need(4)
        };
        assert_eq!(
            starts(&scale(), &busy, &quick),
            Starts {
                now: 0,
                ask_again: Some(MS * 20)
            }
        );
        let waited = Need {
            uncovered_for: MS * 20,
            ..quick
        };
        assert_eq!(starts(&scale(), &busy, &waited).now, 4);
        let slow = Need {
            service: mean(MS * 11),
            ..quick
        };
        assert_eq!(starts(&scale(), &busy, &slow).now, 4);
        assert_eq!(
            starts(&scale(), &busy, &need(1)).now,
            1,
            "unknown means are no reason to wait"
        );
    }

    #[test]
    fn the_maximum_counts_the_dying() {
        let full = Tally {
            usable: 10,
            dying: 6,
            ..Tally::default()
        };
        assert_eq!(starts(&scale(), &full, &need(50)).now, 0);
        assert_eq!(queue_bound(&scale(), &full), 100);
        assert_eq!(queue_bound(&scale(), &Tally::default()), 216);
    }

    #[test]
    fn what_is_kept_is_started_up_the_ramp_and_within_the_maximum() {
        let none = Tally::default();
        let keeps = |keeps| Need { keeps, ..need(0) };
        let with_min = Scale { min: 3, ..scale() };
        assert_eq!(
            starts(&with_min, &none, &keeps(0)).now,
            0,
            "a minimum alone keeps nothing"
        );
        assert_eq!(
            starts(&scale(), &none, &keeps(3)),
            Starts {
                now: 3,
                ask_again: None
            }
        );
        let again = Starts {
            now: 4,
            ask_again: Some(RAMP_WINDOW),
        };
        assert_eq!(starts(&scale(), &none, &keeps(9)), again);
        let most = Tally { usable: 15, ..none };
        assert_eq!(starts(&scale(), &most, &keeps(90)).now, 1);
        let all = Tally { usable: 16, ..none };
        assert_eq!(
            starts(&scale(), &all, &keeps(90)),
            Starts::default(),
            "the maximum holds"
        );
        assert_eq!((surplus(3, 2), surplus(0, 2), surplus(1, 4)), (0, 2, 3));
    }

    #[test]
    fn pauses_grow_to_their_limit() {
        assert_eq!(backoff(4), None);
        assert_eq!(backoff(5), Some(MS * 100));
        assert_eq!(backoff(6), Some(MS * 200));
        assert_eq!(backoff(60), Some(MS * 5000));
        let paused = Need {
            pause: Some(MS * 7),
            ..need(3)
        };
        assert_eq!(
            starts(&scale(), &Tally::default(), &paused),
            Starts {
                now: 0,
                ask_again: Some(MS * 7)
            }
        );
    }
}
