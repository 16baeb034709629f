//! How many instances wait that never ran a call.
//!
//! With `auto` one waits in the minutes after a call where it costs next to nothing to start one, and more when calls come at a
//! rate that would use it up faster than it is replaced. It is replaced when the call that took it has been answered, or a moment
//! after it was taken if that call goes on: at once, the start would take the processor from the call that is on its way. With
//! `reuse = "request"` it is replaced at once all the same, as the very next call needs it.

use std::time::Duration;

use functions::Ahead;

use super::poisson::quantile;
use super::{Scale, Tally};

/// How long after the last call `auto` keeps instances waiting.
pub(crate) const WINDOW: Duration = Duration::from_secs(600);
/// How long a call that took an instance has the processor for itself before the replacement is started, unless it ends earlier: a
/// call that is longer than this is busy with other things than its start.
pub(crate) const SETTLE: Duration = Duration::from_millis(20);
/// The most instances that `auto` keeps waiting.
const MOST: usize = 4;
/// How seldom a call may find that the one before it took the last waiting instance.
const MISSES: f64 = 0.01;
/// How long a start takes when nothing is known.
pub(crate) const START_GUESS: Duration = Duration::from_millis(50);

/// What [`ahead`] looks at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outlook {
    /// Whether the revision is the live one.
    pub(crate) serves: bool,
    /// Whether its last start failed. A number that was asked for is tried again all the same.
    pub(crate) fails: bool,
    /// Whether the host is short of memory.
    pub(crate) pressed: bool,
    /// Whether it was provisioned, so that a number that was asked for is kept although nobody calls.
    pub(crate) provisioned: bool,
    /// Time since the last call of the function.
    pub(crate) quiet_for: Option<Duration>,
    /// Calls in a second that find no instance that ran one.
    pub(crate) cold_rate: f64,
    /// How long a start takes.
    pub(crate) start: Option<Duration>,
    /// Whether instances are forked from a template that is ready.
    pub(crate) forks: bool,
}

/// How many instances that never ran a call are to wait, and how long that holds if nothing happens.
pub(crate) fn ahead(scale: &Scale, outlook: &Outlook) -> (u32, Option<Duration>) {
    if !outlook.serves {
        return (0, None);
    }
    let window = outlook.quiet_for.and_then(|quiet| WINDOW.checked_sub(quiet));
    let window = window.filter(|left| !left.is_zero());
    match (scale.ahead, window) {
        (Ahead::Exactly(count), _) if outlook.provisioned => (count, None),
        (Ahead::Exactly(count), Some(_)) => (count, window),
        (Ahead::Auto, Some(_)) if !outlook.fails && !outlook.pressed && (outlook.forks || scale.pristine()) => {
            let expected = outlook.cold_rate * (outlook.start.unwrap_or(START_GUESS) + SETTLE).as_secs_f64();
            (quantile(expected, MISSES, MOST).max(1) as u32, window)
        }
        _ => (0, None),
    }
}

/// How many starts are missing until `wanted` instances wait, beside `starting` more that are decided already. None while a call
/// waits: it would share the processor with them.
pub(crate) fn missing(scale: &Scale, tally: &Tally, waiting: usize, starting: u32, ramp: u32, wanted: u32) -> u32 {
    if waiting > 0 {
        return 0;
    }
    let coming = tally.starting + starting;
    let on_ramp = ramp.saturating_sub(tally.fresh + starting);
    let room = tally.room(scale).saturating_sub(starting);
    wanted.saturating_sub(tally.ahead + coming).min(on_ramp).min(room)
}

#[cfg(test)]
mod tests {
    use functions::Reuse;

    use super::*;

    const CALLED: Outlook = Outlook {
        serves: true,
        fails: false,
        pressed: false,
        provisioned: false,
        quiet_for: Some(Duration::ZERO),
        cold_rate: 0.1,
        start: Some(Duration::from_millis(1)),
        forks: true,
    };

    fn scale(ahead: Ahead) -> Scale {
        Scale {
            ahead,
            ..Scale::default()
        }
    }

    #[test]
    fn auto_keeps_one_in_the_minutes_after_a_call_where_it_is_cheap() {
        let auto = scale(Ahead::Auto);
        assert_eq!(ahead(&auto, &CALLED), (1, Some(WINDOW)));
        let none = [
            Outlook { fails: true, ..CALLED },
            Outlook {
                pressed: true,
                ..CALLED
            },
            Outlook { forks: false, ..CALLED },
            Outlook {
                serves: false,
                ..CALLED
            },
            Outlook {
                quiet_for: None,
                ..CALLED
            },
            Outlook {
                quiet_for: Some(WINDOW),
                ..CALLED
            },
        ];
        for outlook in none {
            assert_eq!(ahead(&auto, &outlook), (0, None), "{outlook:?}");
        }
    }

    #[test]
    fn auto_keeps_more_where_calls_come_fast_and_never_many() {
        let at = |cold_rate| ahead(&scale(Ahead::Auto), &Outlook { cold_rate, ..CALLED }).0;
        assert_eq!(at(1.0), 1);
        assert_eq!(at(20.0), 2);
        assert_eq!(at(1e9), 4);
    }

    #[test]
    fn a_number_is_kept_while_the_revision_is_provisioned_or_called() {
        let three = scale(Ahead::Exactly(3));
        let quiet = Outlook {
            quiet_for: None,
            forks: false,
            ..CALLED
        };
        assert_eq!(ahead(&three, &quiet), (0, None));
        assert_eq!(
            ahead(
                &three,
                &Outlook {
                    provisioned: true,
                    ..quiet
                }
            ),
            (3, None)
        );
        assert_eq!(ahead(&three, &CALLED), (3, Some(WINDOW)));
        assert_eq!(
            ahead(
                &three,
                &Outlook {
                    serves: false,
                    ..CALLED
                }
            ),
            (0, None)
        );
    }

    #[test]
    fn an_instance_for_each_call_needs_one_that_waits() {
        let pristine = Scale {
            reuse: Reuse::Request,
            ..scale(Ahead::Auto)
        };
        assert_eq!(ahead(&pristine, &Outlook { forks: false, ..CALLED }).0, 1);
    }

    #[test]
    fn only_what_is_missing_is_started() {
        let scale = Scale {
            max: 4,
            ..scale(Ahead::Auto)
        };
        let tally = Tally::default();
        assert_eq!(missing(&scale, &tally, 0, 0, 4, 2), 2);
        assert_eq!(
            missing(
                &scale,
                &Tally {
                    ahead: 1,
                    usable: 1,
                    ..tally
                },
                0,
                0,
                4,
                2
            ),
            1
        );
        assert_eq!(
            missing(&scale, &Tally { starting: 1, ..tally }, 0, 0, 4, 2),
            1,
            "what is prepared counts"
        );
        assert_eq!(
            missing(&scale, &Tally { starting: 1, ..tally }, 1, 0, 4, 4),
            0,
            "who waits comes first"
        );
        assert_eq!(
            missing(&scale, &Tally { usable: 4, ..tally }, 0, 0, 4, 1),
            0,
            "never more than the maximum"
        );
        assert_eq!(
            missing(
                &scale,
                &Tally {
                    fresh: 3,
                    starting: 3,
                    ..tally
                },
                0,
                0,
                4,
                9
            ),
            1,
            "up the ramp"
        );
    }
}
