//! What the machine must have before anything is built or run, and how it gets there.
//!
//! As root on Debian what is missing is installed. For an ordinary user the exact command is named: what nothing works without is an
//! error, what only some checks need is returned, so that the caller counts it as a skip. Nothing that is there already is touched,
//! wherever it came from.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use nix::unistd::Uid;

use crate::program::Program;

mod no_services;

/// What the requirements are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Demo,
    /// The demonstration of programs that are built already.
    PrebuiltDemo,
    Tests,
    /// The stock machine.
    Machine,
}

/// Something that is missing and that the purpose can be reached without, in part.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) name: &'static str,
    /// The command that puts it there.
    pub(crate) remedy: String,
}

struct Requirement {
    name: &'static str,
    /// It is there when each of these is.
    all_of: &'static [Seen],
    packages: &'static [&'static str],
    /// The purposes for which it is looked for.
    wanted_for: &'static [Purpose],
    /// The purposes that can't be reached at all without it.
    vital_for: &'static [Purpose],
}

/// Where a program counts as present.
enum Seen {
    /// Exactly there: a sandbox shows functions the host's /usr/bin, so a copy elsewhere is of no use to them.
    At(&'static str),
    /// There, or anywhere on PATH: only our own tools call it.
    OnPath(&'static str),
}

use Purpose::{Demo, Machine, PrebuiltDemo, Tests};
use Seen::{At, OnPath};

const REQUIREMENTS: &[Requirement] = &[
    Requirement {
        name: "a C compiler",
        all_of: &[OnPath("cc")],
        packages: &["gcc", "libc6-dev"],
        wanted_for: &[Demo, Tests, Machine],
        vital_for: &[Demo, Tests, Machine],
    },
    Requirement {
        name: "python3",
        all_of: &[At("/usr/bin/python3")],
        packages: &["python3"],
        wanted_for: &[Demo, PrebuiltDemo, Tests, Machine],
        vital_for: &[Demo, PrebuiltDemo, Tests, Machine],
    },
    Requirement {
        name: "node",
        all_of: &[At("/usr/bin/node")],
        packages: &["nodejs"],
        wanted_for: &[Demo, PrebuiltDemo, Tests],
        vital_for: &[Demo, PrebuiltDemo, Tests],
    },
    Requirement {
        name: "curl",
        all_of: &[OnPath("curl")],
        packages: &["curl"],
        wanted_for: &[Demo, PrebuiltDemo, Tests],
        vital_for: &[Demo, PrebuiltDemo],
    },
    Requirement {
        name: "pip",
        all_of: &[OnPath("pip3")],
        packages: &["python3-pip"],
        wanted_for: &[Demo, Tests, Machine],
        vital_for: &[Demo, Machine],
    },
    Requirement {
        name: "npm",
        all_of: &[OnPath("npm")],
        packages: &["npm"],
        wanted_for: &[Demo, Tests, Machine],
        vital_for: &[Demo, Machine],
    },
    Requirement {
        name: "newuidmap",
        all_of: &[OnPath("newuidmap")],
        packages: &["uidmap"],
        wanted_for: &[Demo, PrebuiltDemo, Tests],
        vital_for: &[],
    },
    Requirement {
        name: "prometheus",
        all_of: &[OnPath("prometheus"), OnPath("promtool")],
        packages: &["prometheus"],
        wanted_for: &[Demo, Tests],
        vital_for: &[],
    },
    Requirement {
        name: "qemu-system-x86_64",
        all_of: &[OnPath("qemu-system-x86_64")],
        packages: &["qemu-system-x86"],
        wanted_for: &[Machine],
        vital_for: &[Machine],
    },
    Requirement {
        name: "mmdebstrap",
        all_of: &[OnPath("mmdebstrap")],
        packages: &["mmdebstrap"],
        wanted_for: &[Machine],
        vital_for: &[Machine],
    },
    Requirement {
        name: "mkfs.ext4",
        all_of: &[OnPath("mkfs.ext4")],
        packages: &["e2fsprogs"],
        wanted_for: &[Machine],
        vital_for: &[Machine],
    },
    Requirement {
        name: "ssh",
        all_of: &[OnPath("ssh"), OnPath("ssh-keygen")],
        packages: &["openssh-client"],
        wanted_for: &[Machine],
        vital_for: &[Machine],
    },
];

/// Makes sure that everything vital for `purpose` is there, and returns what else is missing.
pub(crate) fn ensure(purpose: Purpose) -> Result<Vec<Missing>> {
    let missing = missing(purpose);
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    if Uid::effective().is_root() {
        install(&missing, purpose)?;
        return Ok(Vec::new());
    }
    let vital: Vec<_> = missing
        .iter()
        .copied()
        .filter(|requirement| requirement.vital_for.contains(&purpose))
        .collect();
    if !vital.is_empty() {
        bail!(
            "missing: {}. Install them all with\n  {}",
            names(&missing),
            command(&missing)
        );
    }
    Ok(missing
        .iter()
        .map(|one| Missing {
            name: one.name,
            remedy: command(&[one]),
        })
        .collect())
}

fn missing(purpose: Purpose) -> Vec<&'static Requirement> {
    REQUIREMENTS
        .iter()
        .filter(|requirement| requirement.wanted_for.contains(&purpose))
        .filter(|requirement| !requirement.all_of.iter().all(Seen::is_there))
        .collect()
}

impl Seen {
    fn is_there(&self) -> bool {
        match self {
            At(path) => Path::new(path).exists(),
            OnPath(name) => search_path().any(|dir| dir.join(name).exists()),
        }
    }
}

/// PATH, and the places of Debian's programs whatever PATH says.
fn search_path() -> impl Iterator<Item = PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs: Vec<_> = std::env::split_paths(&path).collect();
    dirs.into_iter().chain(["/usr/bin", "/usr/sbin"].map(PathBuf::from))
}

fn names(missing: &[&Requirement]) -> String {
    missing.iter().map(|one| one.name).collect::<Vec<_>>().join(", ")
}

fn packages(missing: &[&Requirement]) -> Vec<&'static str> {
    missing.iter().flat_map(|one| one.packages).copied().collect()
}

fn command(missing: &[&Requirement]) -> String {
    format!(
        "sudo apt-get update && sudo apt-get install --yes --no-install-recommends {}",
        packages(missing).join(" ")
    )
}

fn install(wanted: &[&Requirement], purpose: Purpose) -> Result<()> {
    if !Path::new("/usr/bin/apt-get").exists() {
        bail!(
            "missing: {}. This is no Debian, so install them by hand, the programs in /usr/bin",
            names(wanted)
        );
    }
    eprintln!("missing: {}; installing", names(wanted));
    let _held = no_services::hold()?;
    apt_get(&["update"])?;
    let install = ["install", "--yes", "--no-install-recommends"]
        .into_iter()
        .chain(packages(wanted));
    apt_get(&install.collect::<Vec<_>>())?;
    let still = missing(purpose);
    if !still.is_empty() {
        bail!("still missing after the installation: {}", names(&still));
    }
    Ok(())
}

fn apt_get(args: &[&str]) -> Result<()> {
    Program::new("/usr/bin/apt-get")
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .run()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_names_every_package() {
        let wanted: Vec<_> = REQUIREMENTS
            .iter()
            .filter(|one| ["node", "prometheus"].contains(&one.name))
            .collect();
        assert_eq!(
            command(&wanted),
            "sudo apt-get update && sudo apt-get install --yes --no-install-recommends nodejs prometheus"
        );
    }

    #[test]
    fn what_is_vital_is_looked_for() {
        for one in REQUIREMENTS {
            assert!(
                one.vital_for.iter().all(|purpose| one.wanted_for.contains(purpose)),
                "{}",
                one.name
            );
        }
    }

    #[test]
    fn only_the_stock_machine_needs_an_emulator() {
        let one = REQUIREMENTS
            .iter()
            .find(|one| one.name == "qemu-system-x86_64")
            .unwrap();
        assert_eq!(one.wanted_for, [Machine]);
    }

    #[test]
    fn interpreters_count_only_where_functions_see_them() {
        for name in ["python3", "node"] {
            let one = REQUIREMENTS.iter().find(|one| one.name == name).unwrap();
            assert!(
                one.all_of
                    .iter()
                    .all(|seen| matches!(seen, At(path) if path.starts_with("/usr/bin/"))),
                "{name}"
            );
        }
    }

    #[test]
    fn a_program_is_seen_where_it_is() {
        assert!(At("/").is_there());
        assert!(!At("/usr/bin/there-is-no-such-program").is_there());
        assert!(!OnPath("there-is-no-such-program").is_there());
    }
}
