//! The steps in which a sandbox is built, and how a failure names its step.

use std::{fmt, io};

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

macro_rules! stages {
    ($($variant:ident = $name:literal, $hint:literal;)*) => {
        /// A step of building a sandbox, in the order in which they run.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        pub enum Stage {
            $(#[doc = $hint] $variant,)*
        }

        impl Stage {
            /// Short, stable name for messages and labels.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What the step does, and so what a failure means.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $hint,)* }
            }
        }
    };
}

stages! {
    UserNamespace = "user-namespace", "making the outer user namespace (are unprivileged user namespaces allowed on this host?)";
    IdMap = "id-map", "writing the id map (are newuidmap and newgidmap installed and is /etc/subuid right?)";
    OuterNamespaces = "outer-namespaces", "making the outer pid namespace";
    BaseRoot = "base-root", "building the root that all sandboxes start from";
    Leaf = "leaf", "making the cgroup leaf and writing its limits";
    Clone = "clone", "making the namespaces of the sandbox";
    EnterLeaf = "enter-leaf", "entering the cgroup leaf";
    Identity = "identity", "session, keyring, cgroup namespace and host name";
    Loopback = "loopback", "setting up the loopback device";
    Procfs = "procfs", "mounting and masking /proc";
    Tmpfs = "tmpfs", "mounting the capped /tmp and /dev/shm";
    Upper = "upper", "mounting the writable upper layer";
    Layers = "layers", "mounting the layers at /function by overlayfs";
    ReadOnly = "read-only", "making paths read-only (does each of them exist when the function starts, and is none a link?)";
    Hosts = "hosts", "mounting a file /etc/hosts with the names of the outlets";
    Socket = "socket", "making a socket in the network of the sandbox";
    Worker = "worker", "forking the worker";
    LeafUserNamespace = "leaf-user-namespace", "making the sandbox's own user namespace";
    Rlimits = "rlimits", "setting resource limits";
    Capabilities = "capabilities", "dropping every capability";
    NoNewPrivileges = "no-new-privileges", "forbidding new privileges";
    Landlock = "landlock", "attaching the landlock rules";
    Filter = "filter", "attaching the seccomp filter";
    Message = "message", "reading what to run";
    Descriptors = "descriptors", "handing over file descriptors";
    WorkingDirectory = "working-directory", "entering the working directory";
    Exec = "exec", "executing the program";
    Visit = "visit", "entering the sandbox to connect to a socket in it";
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A step that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("stage {stage} failed: {}; it is for {}", Errno::from_raw(*errno).desc(), stage.meaning())]
pub struct StageError {
    /// Which step.
    pub stage: Stage,
    /// Its errno; 0 when the step was cut off.
    pub errno: i32,
}

/// Names the step of a failure.
pub(crate) trait At<T> {
    /// The same result, with the step in its error.
    fn at(self, stage: Stage) -> Result<T, StageError>;
}

impl<T> At<T> for Result<T, Errno> {
    fn at(self, stage: Stage) -> Result<T, StageError> {
        self.map_err(|errno| StageError {
            stage,
            errno: errno as i32,
        })
    }
}

impl<T> At<T> for Result<T, rustix::io::Errno> {
    fn at(self, stage: Stage) -> Result<T, StageError> {
        self.map_err(|errno| StageError {
            stage,
            errno: errno.raw_os_error(),
        })
    }
}

impl<T> At<T> for io::Result<T> {
    fn at(self, stage: Stage) -> Result<T, StageError> {
        self.map_err(|source| StageError {
            stage,
            errno: source.raw_os_error().unwrap_or(libc::EIO),
        })
    }
}
