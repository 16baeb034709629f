//! When memory is short, and by how much.

use crate::driver::launcher::HostMemory;

/// Below this part of all memory something has to go, whoever stalls.
const LOW: u64 = 20;
/// Below this part it has to when processes stall for memory; what is freed is freed up to here.
const SCARCE: u64 = 10;
/// Per cent of the last ten seconds in which some process stalled for memory.
const STALLS: f64 = 10.0;

/// Whether the host is under pressure, given whether it `was` at the last look, and the bytes that should become free now.
/// A host whose kernel does not tell of stalls is judged by its memory alone. The pressure ends where freeing ends, not where it
/// began, so that what was let go is not started again at once.
pub(crate) fn pressure(memory: HostMemory, was: bool) -> (bool, u64) {
    let HostMemory {
        total,
        available,
        stalled,
        ..
    } = memory;
    let enough = total / SCARCE;
    let stalls = available < enough && stalled.is_some_and(|percent| percent > STALLS);
    if available < total / LOW || stalls {
        (true, enough.saturating_sub(available))
    } else {
        (was && available < enough, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn memory(available: u64, stalled: Option<f64>) -> HostMemory {
        HostMemory {
            total: 1000,
            available,
            swap_free: 0,
            stalled,
        }
    }

    #[test]
    fn pressure_begins_low_or_with_stalls_and_ends_with_enough() {
        assert_eq!(pressure(memory(500, Some(90.0)), false), (false, 0), "stalls of others");
        assert_eq!(pressure(memory(80, None), false), (false, 0));
        assert_eq!(pressure(memory(80, Some(50.0)), false), (true, 20));
        assert_eq!(pressure(memory(40, None), false), (true, 60));
        assert_eq!(
            pressure(memory(80, None), true),
            (true, 0),
            "nothing more goes, and nothing comes back"
        );
        assert_eq!(pressure(memory(100, None), true), (false, 0));
    }
}
