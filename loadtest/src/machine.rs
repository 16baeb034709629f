//! The facts about the machine that a number means nothing without.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::stolen;

/// What a report says about the machine; unknown facts are empty or zero.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// As /proc/cpuinfo names it.
    pub(crate) cpu: String,
    /// Processors this process may use.
    pub(crate) cores: usize,
    /// The kernel's release.
    pub(crate) kernel: String,
    /// Main memory in MiB.
    pub(crate) memory_mib: u64,
    /// How control groups are mounted: `v2`, `hybrid`, `v1` or `none`.
    pub(crate) cgroups: String,
    /// The load average of the last minute before the run: what else the machine was doing.
    pub(crate) load_before: f64,
    /// The share of the processors' time that a hypervisor took during the run, from 0 to 1, where that was counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stolen: Option<f64>,
}

impl Machine {
    /// Reads /proc and /sys.
    pub(crate) fn read() -> Self {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        Self::read_under(Path::new("/"), cores)
    }

    fn read_under(root: &Path, cores: usize) -> Self {
        let text = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
        let groups = root.join("sys/fs/cgroup");
        let cgroups = if groups.join("cgroup.controllers").exists() {
            "v2"
        } else if groups.join("unified").exists() {
            "hybrid"
        } else if groups.join("memory").exists() || groups.join("cpu").exists() {
            "v1"
        } else {
            "none"
        };
        Self {
            cpu: field(&text("proc/cpuinfo"), "model name").unwrap_or_default(),
            cores,
            kernel: text("proc/sys/kernel/osrelease").trim().to_owned(),
            memory_mib: field(&text("proc/meminfo"), "MemTotal")
                .and_then(|value| value.trim_end_matches(" kB").parse::<u64>().ok())
                .map_or(0, |kib| kib / 1024),
            cgroups: cgroups.to_owned(),
            load_before: text("proc/loadavg")
                .split(' ')
                .next()
                .and_then(|load| load.parse().ok())
                .unwrap_or(0.0),
            stolen: None,
        }
    }

    /// Whether times of the two can be compared at all.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.cpu == other.cpu && self.cores == other.cores
    }

    /// One line for the top of a table.
    pub(crate) fn line(&self) -> String {
        let stolen = stolen::in_words(self.stolen).map_or_else(String::new, |words| format!(", {words}"));
        format!(
            "{} x {}, {} MiB, kernel {}, cgroups {}, load before {:.2}{stolen}",
            self.cores, self.cpu, self.memory_mib, self.kernel, self.cgroups, self.load_before
        )
    }
}

fn field(text: &str, name: &str) -> Option<String> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_hybrid_machine() {
        let dir = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("proc/cpuinfo", "processor\t: 0\nmodel name\t: Example CPU @ 2 GHz\n");
        put("proc/meminfo", "MemTotal:        2048000 kB\nMemFree: 1 kB\n");
        put("proc/sys/kernel/osrelease", "6.18.0\n");
        put("proc/loadavg", "0.25 0.10 0.05 1/100 4242\n");
        fs::create_dir_all(dir.path().join("sys/fs/cgroup/unified")).unwrap();
        let machine = Machine::read_under(dir.path(), 2);
        let expected = Machine {
            cpu: "Example CPU @ 2 GHz".into(),
            cores: 2,
            kernel: "6.18.0".into(),
            memory_mib: 2000,
            cgroups: "hybrid".into(),
            load_before: 0.25,
            stolen: None,
        };
        assert_eq!(machine, expected);
    }

    #[test]
    fn an_unreadable_machine_is_said_to_be_unknown() {
        let dir = tempfile::tempdir().unwrap();
        let machine = Machine::read_under(dir.path(), 1);
        assert_eq!(
            (machine.cpu.as_str(), machine.cgroups.as_str(), machine.memory_mib),
            ("", "none", 0)
        );
    }
}
