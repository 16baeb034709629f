//! Which layers of the confinement are switched off: none, in every binary that anybody is given.
//!
//! A case of the abuse suite proves something only when it fails without the layer that it is about. So layers can be switched off in a
//! binary built with the cargo feature `abuse-switches`. Without it [`Switches`] holds nothing, [`Switches::off`] is the constant `false`,
//! and no branch of it is left in the program.
//!
//! The switches reach slots, in which programs and residents run. Cells and what is forked in them have none.

use serde::{Deserialize, Serialize};

/// A layer of the confinement, as the code knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// The filter of system calls.
    Seccomp,
    /// `no_new_privs`. The kernel asks for it before a filter or landlock rules, so those must be off as well.
    NoNewPrivileges,
    /// That every capability is dropped, for good.
    Capabilities,
    /// The user namespace of the foreign code alone.
    UserNamespace,
    /// The pid namespace of the sandbox.
    PidNamespace,
    /// The IPC namespace of the sandbox.
    IpcNamespace,
    /// The network of the sandbox.
    NetNamespace,
    /// The cgroup namespace of the sandbox.
    CgroupNamespace,
    /// That the root of the host is let go of. Off, it stays at `/mnt`.
    OldRoot,
    /// What covers and write-protects parts of `/proc`.
    ProcMasks,
    /// That the base is read-only.
    ReadOnly,
    /// `nosuid` and `nodev` of what the base shows of the host.
    MountFlags,
    /// Resource limits of the process.
    Rlimits,
    /// The limit of memory.
    MemoryLimit,
    /// The limit of processes.
    PidsLimit,
    /// The share of the processor.
    CpuLimit,
    /// That processes of ours can't be looked into.
    Dumpable,
    /// The rules of landlock.
    Landlock,
    /// That the worker closes what it was handed the function's descriptors by.
    Descriptors,
    /// The sizes of `/tmp` and `/dev/shm`.
    TmpfsSizes,
}

impl Layer {
    /// Every layer, with the name by which it is switched off.
    pub const ALL: &[(&str, Layer)] = &[
        ("seccomp", Layer::Seccomp),
        ("no-new-privileges", Layer::NoNewPrivileges),
        ("capabilities", Layer::Capabilities),
        ("user-namespace", Layer::UserNamespace),
        ("pid-namespace", Layer::PidNamespace),
        ("ipc-namespace", Layer::IpcNamespace),
        ("net-namespace", Layer::NetNamespace),
        ("cgroup-namespace", Layer::CgroupNamespace),
        ("old-root", Layer::OldRoot),
        ("proc-masks", Layer::ProcMasks),
        ("read-only", Layer::ReadOnly),
        ("mount-flags", Layer::MountFlags),
        ("rlimits", Layer::Rlimits),
        ("memory-limit", Layer::MemoryLimit),
        ("pids-limit", Layer::PidsLimit),
        ("cpu-limit", Layer::CpuLimit),
        ("dumpable", Layer::Dumpable),
        ("landlock", Layer::Landlock),
        ("descriptors", Layer::Descriptors),
        ("tmpfs-sizes", Layer::TmpfsSizes),
    ];
}

/// The layers that are off. By default none is, and without the feature no other value exists.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switches {
    #[cfg(feature = "abuse-switches")]
    off: u32,
}

impl Switches {
    /// Whether `layer` is off.
    #[cfg(not(feature = "abuse-switches"))]
    pub(crate) const fn off(self, layer: Layer) -> bool {
        let _on = layer;
        false
    }

    /// Whether `layer` is off.
    #[cfg(feature = "abuse-switches")]
    pub(crate) const fn off(self, layer: Layer) -> bool {
        self.off & 1 << layer as u32 != 0
    }

    /// Whether `layer` holds.
    pub(crate) const fn on(self, layer: Layer) -> bool {
        !self.off(layer)
    }
}

#[cfg(feature = "abuse-switches")]
mod typed {
    use std::str::FromStr;

    use super::{Layer, Switches};

    /// A name that no layer has.
    #[derive(Debug, thiserror::Error, PartialEq, Eq)]
    #[error("there is no layer {name}; there are {known}", known = Layer::ALL.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "))]
    pub struct UnknownLayer {
        /// What was named.
        pub name: String,
    }

    impl FromStr for Switches {
        type Err = UnknownLayer;

        /// Names of layers with commas between them.
        fn from_str(names: &str) -> Result<Self, UnknownLayer> {
            let mut switches = Self::default();
            for name in names.split(',') {
                let known = Layer::ALL.iter().find(|(known, _)| *known == name);
                let (_, layer) = known.ok_or_else(|| UnknownLayer { name: name.to_owned() })?;
                switches.off |= 1 << *layer as u32;
            }
            Ok(switches)
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn only_what_is_named_is_off() {
            let switches: Switches = "seccomp,old-root".parse().unwrap();
            for (name, layer) in Layer::ALL {
                assert_eq!(switches.off(*layer), ["seccomp", "old-root"].contains(name), "{name}");
                assert!(!Switches::default().off(*layer), "{name}");
            }
        }

        #[test]
        fn a_layer_that_is_none_is_named() {
            for names in ["", "seccomp,", "seccomp, landlock", "Seccomp"] {
                assert!(names.parse::<Switches>().is_err(), "{names}");
            }
            let error = "walls".parse::<Switches>().unwrap_err();
            assert!(
                error
                    .to_string()
                    .starts_with("there is no layer walls; there are seccomp, "),
                "{error}"
            );
        }
    }
}

#[cfg(feature = "abuse-switches")]
pub use typed::UnknownLayer;

#[cfg(all(test, not(feature = "abuse-switches")))]
mod tests {
    use super::*;

    #[test]
    fn without_the_feature_there_is_nothing_to_switch() {
        assert_eq!(size_of::<Switches>(), 0);
        assert!(Layer::ALL.iter().all(|(_, layer)| Switches::default().on(*layer)));
    }
}
