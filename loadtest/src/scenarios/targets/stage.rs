//! The functions of a run: deployed before it, removed after it, under names that nobody else uses.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::admin::Admin;
use crate::args::TargetsArgs;
use crate::workload::{Kind, WorkloadError};

/// What a function is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// The cold starts of a static executable.
    Native,
    /// The same, with instances that wait ahead.
    NativeAhead,
    /// A static executable that stays, an HTTP server: its cold starts, and its warm calls.
    NativeServer,
    /// The cold starts of Python.
    Python,
    /// The same, with nothing forked ahead.
    PythonOnDemand,
    /// The cold starts of Node.
    Node,
    /// Python under load.
    WarmPython,
    /// Node under load.
    WarmNode,
    /// Python, a fresh process for each call.
    Request,
    /// Static executables that wait.
    ParkedNative,
    /// Python processes that wait.
    ParkedPython,
}

/// Instances that a function of the cold rows may have.
pub(super) const SCALE_MAX: u32 = 16;

impl Role {
    /// All of them.
    const ALL: [Self; 11] = [
        Self::Native,
        Self::NativeAhead,
        Self::NativeServer,
        Self::Python,
        Self::PythonOnDemand,
        Self::Node,
        Self::WarmPython,
        Self::WarmNode,
        Self::Request,
        Self::ParkedNative,
        Self::ParkedPython,
    ];

    /// The name of its function.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Native => "loadtest-native",
            Self::NativeAhead => "loadtest-native-ahead",
            Self::NativeServer => "loadtest-native-server",
            Self::Python => "loadtest-python",
            Self::PythonOnDemand => "loadtest-python-on-demand",
            Self::Node => "loadtest-node",
            Self::WarmPython => "loadtest-warm-python",
            Self::WarmNode => "loadtest-warm-node",
            Self::Request => "loadtest-request",
            Self::ParkedNative => "loadtest-parked-native",
            Self::ParkedPython => "loadtest-parked-python",
        }
    }

    fn kind(self) -> Kind {
        match self {
            Self::Native | Self::NativeAhead => Kind::Native,
            Self::NativeServer => Kind::NativeServer,
            Self::Python | Self::PythonOnDemand | Self::WarmPython | Self::Request => Kind::Python,
            Self::Node | Self::WarmNode => Kind::Node,
            Self::ParkedNative => Kind::NativeHolding,
            Self::ParkedPython => Kind::PythonHolding,
        }
    }

    /// The rows that need it.
    fn rows(self) -> &'static [u32] {
        match self {
            Self::Native | Self::NativeAhead => &[1, 10],
            Self::NativeServer => &[1, 5],
            Self::Python => &[2, 7],
            Self::PythonOnDemand => &[2],
            Self::Node => &[3],
            Self::WarmPython => &[5, 6, 11],
            Self::WarmNode => &[6],
            Self::Request => &[7, 11],
            Self::ParkedNative | Self::ParkedPython => &[8],
        }
    }

    fn settings(self, args: &TargetsArgs) -> Value {
        // Longer than a run, so that nothing ends by itself while it is looked at.
        let idle = "10m";
        match self {
            Self::Native | Self::Python | Self::Node => {
                json!({ "idle": idle, "queue": 10_000, "scale": { "max": SCALE_MAX } })
            }
            // It serves one connection after the other.
            Self::NativeServer => json!({ "idle": idle, "concurrency": 1, "scale": { "max": SCALE_MAX } }),
            Self::NativeAhead => json!({ "idle": idle, "scale": { "max": SCALE_MAX, "ahead": 2 } }),
            Self::PythonOnDemand => json!({ "idle": idle, "scale": { "max": SCALE_MAX, "ahead": 0 } }),
            Self::WarmPython => json!({ "idle": idle, "queue": 10_000, "scale": { "max": args.workers } }),
            // One process, as the server that it is compared with; Node runs calls of one process side by side.
            Self::WarmNode => json!({ "idle": idle, "queue": 10_000, "concurrency": 16, "scale": { "max": 1 } }),
            Self::Request => {
                json!({ "idle": idle, "queue": 10_000, "reuse": "request", "scale": { "max": SCALE_MAX } })
            }
            Self::ParkedNative | Self::ParkedPython => {
                json!({ "idle": idle, "queue": 10_000, "memory": "64MiB", "scale": { "max": args.parked } })
            }
        }
    }
}

/// What became of the deploys.
#[derive(Debug)]
pub(super) struct Stage {
    roles: BTreeMap<Role, Result<(), String>>,
}

impl Stage {
    /// Deploys what the asked rows need. A refused deploy is the reason for which rows are skipped.
    pub(super) async fn set(admin: &Admin, args: &TargetsArgs) -> Self {
        let mut roles = BTreeMap::new();
        for role in Role::ALL {
            if args.wants_any(role.rows()) {
                let deployed = role.kind().deploy(admin, role.name(), role.settings(args)).await;
                roles.insert(role, deployed.map_err(|error| reason(role, &error)));
            }
        }
        Self { roles }
    }

    /// Whether its function is there.
    pub(super) fn has(&self, role: Role) -> bool {
        self.roles.get(&role).is_some_and(Result::is_ok)
    }

    /// Why functions are not there.
    pub(super) fn missing(&self) -> BTreeMap<Role, String> {
        let missing = |(role, deployed): (&Role, &Result<(), String>)| Some((*role, deployed.clone().err()?));
        self.roles.iter().filter_map(missing).collect()
    }

    /// Removes what was deployed; returns what could not be.
    pub(super) async fn clear(&self, admin: &Admin) -> Vec<String> {
        let mut left = Vec::new();
        for (role, _) in self.roles.iter().filter(|(_, deployed)| deployed.is_ok()) {
            if let Err(error) = admin.remove(role.name()).await {
                left.push(format!("{} was not removed: {error}", role.name()));
            }
        }
        left
    }
}

fn reason(role: Role, error: &WorkloadError) -> String {
    let what = match role {
        Role::Request => "the server does not take reuse = \"request\": ",
        Role::NativeAhead => "the server does not take scale.ahead = 2: ",
        Role::PythonOnDemand => "the server does not take scale.ahead = 0: ",
        _ => "",
    };
    format!("{what}{error}")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_roles_share_a_function() {
        let names: HashSet<&str> = Role::ALL.into_iter().map(Role::name).collect();
        assert_eq!(names.len(), Role::ALL.len());
        assert!(
            names
                .iter()
                .all(|name| name.starts_with("loadtest-") && name.len() <= 63)
        );
    }

    #[test]
    fn only_rows_with_functions_of_their_own_have_none_here() {
        let rows: HashSet<u32> = Role::ALL.into_iter().flat_map(Role::rows).copied().collect();
        let without: Vec<u32> = (1..=12).filter(|row| !rows.contains(row)).collect();
        assert_eq!(without, [4, 9, 12]);
    }
}
