//! The build box: `build = "allow-scripts"` runs the scripts of dependencies, in a sandbox and never on the host.
//!
//! A build is an ordinary revision of the `stdio` runtime that runs a script of ours over the bundle: it copies the code
//! to `/tmp`, lets the package manager run scripts there and answers with the archive of the result. It has every limit
//! of a function, none of its environment, and such network as a function has.

use std::collections::BTreeMap;
use std::path::Path;

use super::launch::BaseFile;
use crate::manifest::{BuildMode, Settings, Stdio};
use crate::network::Network;
use crate::{ByteSize, Cpu, Revision, RootfsMode, Runtime, Span};

/// The scripts, in every sandbox.
pub(super) const SCRIPTS: &[BaseFile] = &[PACK, NODE, PYTHON];

const PACK: BaseFile = BaseFile {
    path: "/var/runtime/build/pack.sh",
    mode: 0o444,
    contents: include_bytes!("build/pack.sh"),
};
const NODE: BaseFile = BaseFile {
    path: "/var/runtime/build/node.sh",
    mode: 0o444,
    contents: include_bytes!("build/node.sh"),
};
const PYTHON: BaseFile = BaseFile {
    path: "/var/runtime/build/python.sh",
    mode: 0o444,
    contents: include_bytes!("build/python.sh"),
};

/// What a build may use, unless its function may use more.
const MEMORY: ByteSize = ByteSize::gib(2);
const TMP: ByteSize = ByteSize::gib(1);
const PIDS: u32 = 256;
const TIMEOUT: Span = Span::secs(600);

/// The revision that builds `revision`, whose bundle is unpacked at `tree`. `None` when there is nothing to build: scripts
/// are not allowed, or no file names dependencies.
pub fn build(revision: &Revision, tree: &Path) -> Option<Revision> {
    let settings = &revision.settings;
    if settings.build != BuildMode::AllowScripts {
        return None;
    }
    let script = match settings.runtime {
        Runtime::Node | Runtime::Http | Runtime::Lambda | Runtime::Fdk if tree.join("package.json").is_file() => {
            NODE.path
        }
        Runtime::Python | Runtime::Http | Runtime::Lambda | Runtime::Fdk if tree.join("requirements.txt").is_file() => {
            PYTHON.path
        }
        Runtime::Node | Runtime::Python | Runtime::Stdio | Runtime::Http | Runtime::Lambda | Runtime::Fdk => {
            return None;
        }
    };
    Some(Revision {
        settings: Settings {
            runtime: Runtime::Stdio,
            handler: "/bin/sh".to_owned(),
            stdio: Stdio {
                args: vec![script.to_owned()],
            },
            memory: settings.memory.max(MEMORY),
            cpu: settings.cpu.max(Cpu::millis(1000)),
            pids: settings.pids.max(PIDS),
            tmp: settings.tmp.max(TMP),
            timeout: settings.timeout.max(TIMEOUT),
            rootfs: RootfsMode::ReadOnly,
            concurrency: 1,
            env: BTreeMap::new(),
            // What the function may connect to is for its calls.
            network: Network::default(),
            ..settings.clone()
        },
        ..revision.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::Detected;
    use crate::{Digest, Manifest, RevisionNumber};

    fn revision(toml: &str, runtime: Runtime) -> Revision {
        let name = "hello".parse().unwrap();
        let detected = Detected {
            runtime,
            handler: "index.handler".into(),
        };
        Revision {
            settings: Manifest::from_toml(toml).unwrap().resolve(&name, &detected).unwrap(),
            name,
            number: RevisionNumber::FIRST,
            bundle: Digest::of(b"bundle"),
            created: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn only_what_allows_scripts_and_names_dependencies_is_built() {
        let tree = tempfile::tempdir().unwrap();
        let allowed = "build = \"allow-scripts\"";
        assert_eq!(build(&revision(allowed, Runtime::Node), tree.path()), None);
        std::fs::write(tree.path().join("package.json"), "{}").unwrap();
        assert_eq!(build(&revision("", Runtime::Node), tree.path()), None);
        assert_eq!(build(&revision(allowed, Runtime::Python), tree.path()), None);
        assert!(build(&revision(allowed, Runtime::Node), tree.path()).is_some());
    }

    #[test]
    fn a_build_has_limits_and_none_of_the_functions_secrets() {
        let tree = tempfile::tempdir().unwrap();
        std::fs::write(tree.path().join("requirements.txt"), "").unwrap();
        let toml = "build = \"allow-scripts\"\nmemory = \"4GiB\"\nconcurrency = 4\n[env]\nTOKEN = \"secret\"\n[network]\nallow = [\"a.example:443\"]";
        let built = build(&revision(toml, Runtime::Python), tree.path()).unwrap().settings;
        assert!(built.env.is_empty() && built.network.is_empty());
        assert_eq!((built.memory, built.tmp, built.pids), (ByteSize::gib(4), TMP, PIDS));
        assert_eq!((built.concurrency, built.timeout), (1, TIMEOUT));
        assert_eq!(built.stdio.args, [PYTHON.path]);
    }
}
