//! How much of the processors' time a hypervisor gave to others. On a virtual machine a number says little without it: a call waits as long as
//! the processor that would answer it is away, whatever answers.

use std::fs;

/// From this share on it is said beside a result: it is what moved tails by more than their limit.
const WORTH_SAYING: f64 = 0.005;

/// The kernel's count at one moment (`/proc/stat`, proc_stat(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    stolen: u64,
    all: u64,
}

impl Moment {
    /// The count now; `None` where the kernel keeps none.
    pub(crate) fn now() -> Option<Self> {
        Self::read(&fs::read_to_string("/proc/stat").ok()?)
    }

    fn read(stat: &str) -> Option<Self> {
        let mut words = stat.lines().next()?.split_whitespace();
        if words.next() != Some("cpu") {
            return None;
        }
        // Time of guests, behind these, is part of the first two.
        let times: Vec<u64> = words.take(8).map(str::parse).collect::<Result<_, _>>().ok()?;
        let [.., stolen] = times[..] else { return None };
        (times.len() == 8).then(|| Self {
            stolen,
            all: times.iter().sum(),
        })
    }
}

/// What was taken over several stretches of time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Stolen {
    stolen: u64,
    all: u64,
}

impl Stolen {
    /// Adds the stretch from `before` to now.
    pub(crate) fn add_since(&mut self, before: Option<Moment>) {
        self.add(before, Moment::now());
    }

    fn add(&mut self, before: Option<Moment>, after: Option<Moment>) {
        if let (Some(before), Some(after)) = (before, after) {
            self.stolen += after.stolen.saturating_sub(before.stolen);
            self.all += after.all.saturating_sub(before.all);
        }
    }

    /// The share of all processors' time, from 0 to 1; `None` when nothing was counted.
    pub(crate) fn share(&self) -> Option<f64> {
        (self.all > 0).then(|| self.stolen as f64 / self.all as f64)
    }
}

/// What is to be said of a share, if anything.
pub(crate) fn in_words(share: Option<f64>) -> Option<String> {
    let share = share.filter(|share| *share >= WORTH_SAYING)?;
    Some(format!(
        "the hypervisor took {:.1} % of the processors' time meanwhile",
        share * 100.0
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "cpu  100 0 50 800 10 0 5 35 7 7\ncpu0 1 2 3\n";

    #[test]
    fn the_share_is_that_of_all_time() {
        let before = Moment::read(STAT);
        assert_eq!(before, Some(Moment { stolen: 35, all: 1000 }));
        let after = Moment::read("cpu 150 0 50 830 10 0 5 55 9 9\n");
        let mut stolen = Stolen::default();
        assert_eq!(stolen.share(), None);
        stolen.add(before, after);
        assert_eq!(stolen.share(), Some(0.2));
        // A stretch that could not be counted changes nothing.
        stolen.add(None, after);
        assert_eq!(stolen.share(), Some(0.2));
        assert!(in_words(stolen.share()).unwrap().contains("20.0 %"));
        assert_eq!(in_words(Some(0.004)), None);
        assert_eq!(in_words(None), None);
    }

    #[test]
    fn what_is_no_count_is_none() {
        for text in ["", "cpu0 1 2 3 4 5 6 7 8", "cpu 1 2 3", "cpu a b c d e f g h"] {
            assert_eq!(Moment::read(text), None, "{text}");
        }
    }
}
