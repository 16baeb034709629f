//! What the kernel tells of the memory of the host.

use std::fs;

use super::launcher::HostMemory;

/// Reads it. `None` on a host that does not tell.
pub(super) fn read() -> Option<HostMemory> {
    let stalls = fs::read_to_string("/proc/pressure/memory").ok();
    parse(&fs::read_to_string("/proc/meminfo").ok()?, stalls.as_deref())
}

/// From the texts of /proc/meminfo (proc_meminfo(5)) and, where there is one, /proc/pressure/memory.
fn parse(meminfo: &str, pressure: Option<&str>) -> Option<HostMemory> {
    let field = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
        kib.checked_mul(1024)
    };
    Some(HostMemory {
        total: field("MemTotal:")?,
        available: field("MemAvailable:")?,
        swap_free: field("SwapFree:").unwrap_or(0),
        stalled: pressure.and_then(stalled),
    })
}

/// Per cent of the last ten seconds in which some process stalled.
fn stalled(pressure: &str) -> Option<f64> {
    let some = pressure.lines().find_map(|line| line.strip_prefix("some "))?;
    some.split_whitespace()
        .find_map(|field| field.strip_prefix("avg10="))?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_the_kernel_are_read() {
        let meminfo = "MemTotal:       24684096 kB\nMemFree:        20877968 kB\nMemAvailable:   23986280 kB\n";
        let swap = "SwapTotal:        262140 kB\nSwapFree:         262000 kB\n";
        let pressure = "some avg10=12.50 avg60=0.00 avg300=0.00 total=206588\nfull avg10=1.00 avg60=0.00 avg300=0.00 total=85278\n";
        let memory = parse(meminfo, Some(pressure)).unwrap();
        assert_eq!((memory.total, memory.available), (24_684_096 << 10, 23_986_280 << 10));
        assert_eq!(memory.stalled, Some(12.5));
        assert_eq!(memory.swap_free, 0, "a kernel without swap");
        assert_eq!(
            parse(&format!("{meminfo}{swap}"), None).unwrap().swap_free,
            262_000 << 10
        );
        assert_eq!(parse(meminfo, None).unwrap().stalled, None);
        assert_eq!(parse(meminfo, Some("")).unwrap().stalled, None);
        assert_eq!(parse("MemTotal: 5 kB\n", None), None);
        let here = read().expect("a Linux tells");
        assert!(here.available <= here.total);
    }
}
