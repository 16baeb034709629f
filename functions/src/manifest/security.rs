//! `[security]`: what a function gives up beyond what no function may do, by a profile and by single keys.
//!
//! A key that was typed replaces what the profile says of it. The names of system calls and the paths are checked where a
//! sandbox is planned: they belong to it.

use serde::{Deserialize, Serialize};

use super::settings::{Profile, RootfsMode, Runtime};
use super::typed::SecurityTyped;

/// What a function gives up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Security {
    /// Where the keys that were not typed came from.
    pub profile: Profile,
    /// System calls, by name or as `group:NAME`.
    pub deny: Vec<String>,
    /// Paths that can't be written.
    pub read_only: Vec<String>,
    /// Whether it may make sockets other than unix sockets.
    pub network: bool,
    /// Whether a file that it has written can be executed.
    pub exec_written: bool,
}

impl Default for Security {
    fn default() -> Security {
        Security {
            profile: Profile::Default,
            deny: Vec::new(),
            read_only: Vec::new(),
            network: true,
            exec_written: true,
        }
    }
}

/// Why a function can't be so strict.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecurityError {
    /// A function that is called over TCP, without a network.
    #[error(
        "security.network is false, but a function of the {runtime} runtime is called over TCP inside of its sandbox"
    )]
    Network {
        /// The runtime.
        runtime: Runtime,
    },
    /// Files that are written may lie over programs.
    #[error(
        "what is written is not to be executed, but rootfs is writable, so that programs of the host would not be either"
    )]
    WritableRootfs,
    /// The socket of an FDK lies in /tmp.
    #[error("security.read_only has /tmp, but a function of the fdk runtime makes its socket there")]
    FdkSocket,
    /// Too many calls or paths.
    #[error("{key} has {count} entries, at most {MOST_ENTRIES} are allowed")]
    Entries {
        /// The key.
        key: &'static str,
        /// How many.
        count: usize,
    },
}

impl SecurityError {
    /// What to do about it, as a full sentence.
    pub fn hint(&self) -> &'static str {
        match self {
            SecurityError::Network { .. } => {
                "Set security.network to true: such a function has a loopback device alone."
            }
            SecurityError::WritableRootfs => "Set rootfs to \"read-only\", or security.exec_written to true.",
            SecurityError::FdkSocket => "Take /tmp out of security.read_only.",
            SecurityError::Entries { .. } => "Use groups of calls and the directories above.",
        }
    }
}

/// Most entries of a list.
const MOST_ENTRIES: usize = 64;

/// What no runtime needs, of what functions may do.
const UNNEEDED: [&str; 8] = [
    "group:ids",
    "group:ipc",
    "group:landlock",
    "group:lock",
    "group:reschedule",
    "group:splice",
    "group:sync",
    "group:watch",
];

impl Security {
    /// Nothing was typed, and nothing is given up.
    pub(crate) fn is_default(&self) -> bool {
        *self == Security::default()
    }

    /// What a profile says for a runtime.
    fn of(profile: Profile, runtime: Runtime) -> Security {
        if profile == Profile::Default {
            return Security::default();
        }
        let mut deny: Vec<String> = UNNEEDED.map(str::to_owned).to_vec();
        let mut read_only = vec!["/dev/shm".to_owned()];
        match runtime {
            // The process is there when the function is loaded, and makes threads at most.
            Runtime::Python | Runtime::Node => {
                deny.extend(["group:kill".to_owned(), "group:process".to_owned()]);
                read_only.push("/tmp".to_owned());
            }
            // A process for each call, which the shim starts and ends.
            Runtime::Stdio => read_only.push("/tmp".to_owned()),
            // Servers start workers; Lambda promises its runtimes a /tmp, servers expect one, and FDKs make their socket there.
            Runtime::Http | Runtime::Lambda | Runtime::Fdk => {}
        }
        Security {
            profile,
            deny,
            read_only,
            network: over_tcp(runtime),
            exec_written: false,
        }
    }

    /// Decides each key, and checks them against each other.
    pub(super) fn resolve(
        typed: &SecurityTyped,
        profile: Profile,
        runtime: Runtime,
        rootfs: RootfsMode,
    ) -> Result<Security, SecurityError> {
        let of = Security::of(profile, runtime);
        let security = Security {
            profile,
            deny: typed.deny.clone().unwrap_or(of.deny),
            read_only: typed.read_only.clone().unwrap_or(of.read_only),
            network: typed.network.unwrap_or(of.network),
            exec_written: typed.exec_written.unwrap_or(of.exec_written),
        };
        for (key, count) in [
            ("security.deny", security.deny.len()),
            ("security.read_only", security.read_only.len()),
        ] {
            if count > MOST_ENTRIES {
                return Err(SecurityError::Entries { key, count });
            }
        }
        if !security.network && over_tcp(runtime) {
            return Err(SecurityError::Network { runtime });
        }
        if !security.exec_written && rootfs == RootfsMode::Writable {
            return Err(SecurityError::WritableRootfs);
        }
        if runtime == Runtime::Fdk && security.read_only.iter().any(|path| path == "/tmp") {
            return Err(SecurityError::FdkSocket);
        }
        Ok(security)
    }
}

/// Whether functions of a runtime are called, or ask for calls, at an address.
fn over_tcp(runtime: Runtime) -> bool {
    matches!(runtime, Runtime::Http | Runtime::Lambda)
}

#[cfg(test)]
mod tests {
    use crate::detect::Detected;
    use crate::{Manifest, ResolveError};

    use super::*;

    fn resolved(toml: &str, runtime: Runtime) -> Result<Security, ResolveError> {
        let detected = Detected {
            runtime,
            handler: "handler.handler".into(),
        };
        let manifest = Manifest::from_toml(toml).unwrap();
        let settings = manifest.resolve(&"hello".parse().unwrap(), &detected)?;
        Ok(settings.security)
    }

    const ALL: [Runtime; 6] = [
        Runtime::Python,
        Runtime::Node,
        Runtime::Stdio,
        Runtime::Http,
        Runtime::Lambda,
        Runtime::Fdk,
    ];

    #[test]
    fn nothing_typed_gives_nothing_up() {
        for runtime in ALL {
            assert!(resolved("", runtime).unwrap().is_default());
        }
    }

    #[test]
    fn strict_is_as_strict_as_the_runtime_allows() {
        for runtime in ALL {
            let strict = resolved("[security]\nprofile = \"strict\"", runtime).unwrap();
            assert_eq!(strict.network, over_tcp(runtime), "{runtime}");
            assert!(!strict.exec_written && strict.deny.len() >= UNNEEDED.len(), "{runtime}");
            assert!(strict.read_only.iter().any(|path| path == "/dev/shm"), "{runtime}");
            let alone = matches!(runtime, Runtime::Python | Runtime::Node);
            assert_eq!(
                strict.deny.iter().any(|name| name == "group:process"),
                alone,
                "{runtime}"
            );
        }
    }

    #[test]
    fn a_key_that_was_typed_replaces_what_the_profile_says_of_it() {
        let toml = "[security]\nprofile = \"strict\"\ndeny = [\"listen\"]\nread_only = []\nexec_written = true\nnetwork = true";
        let security = resolved(toml, Runtime::Python).unwrap();
        let expected = Security {
            profile: Profile::Strict,
            deny: vec!["listen".into()],
            ..Security::default()
        };
        assert_eq!(security, expected);
    }

    #[test]
    fn what_a_contract_needs_can_not_be_given_up() {
        let refused = |toml: &str, runtime| match resolved(toml, runtime) {
            Err(ResolveError::Security(error)) => {
                assert!(!error.hint().is_empty());
                error
            }
            other => panic!("{toml}: {other:?}"),
        };
        for runtime in [Runtime::Http, Runtime::Lambda] {
            let error = refused("[security]\nnetwork = false", runtime);
            assert_eq!(error, SecurityError::Network { runtime });
        }
        for runtime in [Runtime::Python, Runtime::Node, Runtime::Stdio, Runtime::Fdk] {
            assert!(resolved("[security]\nnetwork = false", runtime).is_ok());
        }
        let writable = "rootfs = \"writable\"\n[security]\n";
        for keys in ["exec_written = false", "profile = \"strict\""] {
            let error = refused(&format!("{writable}{keys}"), Runtime::Python);
            assert_eq!(error, SecurityError::WritableRootfs);
        }
        let executable = format!("{writable}profile = \"strict\"\nexec_written = true");
        assert!(resolved(&executable, Runtime::Python).is_ok());
        let error = refused("[security]\nread_only = [\"/tmp\"]", Runtime::Fdk);
        assert_eq!(error, SecurityError::FdkSocket);
        let many = format!("[security]\ndeny = [{}]", "\"listen\",".repeat(65));
        assert!(matches!(
            refused(&many, Runtime::Python),
            SecurityError::Entries { count: 65, .. }
        ));
    }
}
