//! When memory is short, and by how much.

/// Below this part of all memory something has to go, whoever stalls.
const LOW: u64 = 20;
/// Below this part it has to when processes stall for memory; what is freed is freed up to here.
const SCARCE: u64 = 10;
/// Per cent of the last ten seconds in which some process stalled for memory.
const STALLS: f64 = 10.0;

/// The memory of a host, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Memory {
    /// All of it.
    pub(crate) total: u64,
    /// What could be had without swapping.
    pub(crate) available: u64,
}

impl Memory {
    /// From the text of /proc/meminfo (proc_meminfo(5)).
    pub(crate) fn parse(meminfo: &str) -> Option<Memory> {
        let field = |name: &str| {
            let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
            let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
            kib.checked_mul(1024)
        };
        Some(Memory {
            total: field("MemTotal:")?,
            available: field("MemAvailable:")?,
        })
    }
}

/// From the text of /proc/pressure/memory: per cent of the last ten seconds in which some process stalled.
pub(crate) fn stalled(pressure: &str) -> Option<f64> {
    let some = pressure.lines().find_map(|line| line.strip_prefix("some "))?;
    some.split_whitespace()
        .find_map(|field| field.strip_prefix("avg10="))?
        .parse()
        .ok()
}

/// Whether the host is under pressure, given whether it `was` at the last look, and the bytes that should become free now.
/// A host whose kernel does not tell of stalls is judged by its memory alone. The pressure ends where freeing ends, not where it
/// began, so that what was let go is not started again at once.
pub(crate) fn pressure(memory: Memory, stalled: Option<f64>, was: bool) -> (bool, u64) {
    let Memory { total, available } = memory;
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

    const fn memory(available: u64) -> Memory {
        Memory { total: 1000, available }
    }

    #[test]
    fn the_files_of_the_kernel_are_read() {
        let meminfo = "MemTotal:       24684096 kB\nMemFree:        20877968 kB\nMemAvailable:   23986280 kB\n";
        let read = Memory::parse(meminfo).unwrap();
        assert_eq!((read.total, read.available), (24_684_096 << 10, 23_986_280 << 10));
        assert_eq!(Memory::parse("MemTotal: 5 kB\n"), None);
        let text = "some avg10=12.50 avg60=0.00 avg300=0.00 total=206588\nfull avg10=1.00 avg60=0.00 avg300=0.00 total=85278\n";
        assert_eq!(stalled(text), Some(12.5));
        assert_eq!(stalled(""), None);
    }

    #[test]
    fn pressure_begins_low_or_with_stalls_and_ends_with_enough() {
        assert_eq!(pressure(memory(500), Some(90.0), false), (false, 0), "stalls of others");
        assert_eq!(pressure(memory(80), None, false), (false, 0));
        assert_eq!(pressure(memory(80), Some(50.0), false), (true, 20));
        assert_eq!(pressure(memory(40), None, false), (true, 60));
        assert_eq!(
            pressure(memory(80), None, true),
            (true, 0),
            "nothing more goes, and nothing comes back"
        );
        assert_eq!(pressure(memory(100), None, true), (false, 0));
    }
}
