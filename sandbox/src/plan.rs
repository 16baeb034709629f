//! What to run and under which limits: a [`Plan`] is plain data, checked before any process is made.
//!
//! Names that become a path or a host name are types of their own which can't hold a bad one.

use std::fmt;
use std::net::Ipv4Addr;
use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};

use crate::filter::denial::DenialError;
use crate::restrictions::{InnerPathError, Restrictions};
use crate::sighting::Watch;

/// A plan that can't be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A group or host name with other characters or another length.
    #[error("{what} {value:?} is not 1 to 80 characters of a-z, 0-9 and '-'")]
    Name {
        /// Which name it is.
        what: &'static str,
        /// What was given.
        value: String,
    },
    /// A layer name that is no digest.
    #[error("layer {0:?} is not 64 hexadecimal digits")]
    Layer(String),
    /// More layers than one mount can name.
    #[error("{0} layers given, at most {MAX_LAYERS} fit into one mount")]
    Layers(usize),
    /// A NUL byte, or a variable name that is empty or holds '='.
    #[error("argument or variable {0:?} can't be passed to a process")]
    Text(String),
    /// No argument at all, or a program that is not named by an absolute path.
    #[error("the first argument must be the absolute path of a program, got {0:?}")]
    Program(String),
    /// Arguments and environment beyond what the kernel takes.
    #[error("arguments and environment take {0} bytes, at most {MAX_ARGUMENT_BYTES} are passed")]
    TooLong(usize),
    /// A template with a writable root, without a program, with a listener or outlets, or with too many lanes.
    #[error(
        "no template can be made of a plan with a writable root, a resident, a listener, outlets, or more than 32 lanes"
    )]
    NoTemplate,
    /// A system call that can't be denied.
    #[error(transparent)]
    Denial(#[from] DenialError),
    /// A path that can't be made read-only.
    #[error(transparent)]
    ReadOnly(#[from] InnerPathError),
    /// A writable root whose files are not to be executed: below it lie the programs of the host.
    #[error("what is written to a writable rootfs can be executed: no_exec needs a read-only one")]
    WritableExec,
    /// An outlet with a name that no hosts file can hold, or at an address that is not its own.
    #[error("outlet {0} is not a DNS name at an address of 127.0.0.0/8 that nothing else has")]
    Outlet(String),
    /// More outlets than pid 1 opens.
    #[error("{0} outlets given, at most {MAX_OUTLETS} are opened")]
    Outlets(usize),
    /// A limit of zero, or one above what the kernel's files take.
    #[error("limit {what} is {value}, it must be {range}")]
    Limit {
        /// Which limit.
        what: &'static str,
        /// What was given.
        value: u64,
        /// What is allowed.
        range: &'static str,
    },
}

/// The most layers of one plan: their digests must fit into the one page that mount(2) takes.
pub const MAX_LAYERS: usize = 40;
/// The most lanes of one sandbox.
pub const MAX_LANES: u8 = 64;
/// The most outlets of one sandbox.
pub const MAX_OUTLETS: usize = 16;
/// The most bytes of arguments and environment together.
pub const MAX_ARGUMENT_BYTES: usize = 128 * 1024;

/// The cgroup that all sandboxes of one owner stand in: 1 to 80 characters of `a-z`, `0-9`, `-`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GroupName(String);

impl GroupName {
    /// Checks `name`.
    ///
    /// # Errors
    /// [`PlanError::Name`].
    pub fn new(name: impl Into<String>) -> Result<Self, PlanError> {
        checked_name("group", name.into()).map(Self)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for GroupName {
    type Error = PlanError;
    fn try_from(name: String) -> Result<Self, PlanError> {
        Self::new(name)
    }
}

impl From<GroupName> for String {
    fn from(name: GroupName) -> Self {
        name.0
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A file tree in the layer directory, named by its digest: 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LayerName(String);

impl LayerName {
    /// Checks `name`.
    ///
    /// # Errors
    /// [`PlanError::Layer`].
    pub fn new(name: impl Into<String>) -> Result<Self, PlanError> {
        let name = name.into();
        let hex = name.len() == 64 && name.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if hex {
            Ok(Self(name))
        } else {
            Err(PlanError::Layer(name))
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for LayerName {
    type Error = PlanError;
    fn try_from(name: String) -> Result<Self, PlanError> {
        Self::new(name)
    }
}

impl From<LayerName> for String {
    fn from(name: LayerName) -> Self {
        name.0
    }
}

/// What one sandbox may use. Every limit stands in the cgroup leaf before foreign code exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of memory, page cache and tmpfs pages included; no swap on top. At least 4 MiB.
    pub memory: u64,
    /// Thousandths of one processor, 10 and more.
    pub cpu_millis: u32,
    /// Processes and threads of the foreign code; those of ours beside them are not counted. At least 1.
    pub pids: u32,
}

/// What foreign code may write to, besides `/tmp` and `/dev/shm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rootfs {
    /// Nothing: `/`, `/usr` and `/function` are read-only.
    ReadOnly,
    /// New files in `/`, `/usr` and `/function`, in an upper layer on the capped tmpfs; gone with the sandbox.
    Writable,
}

/// Who serves the lanes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Program {
    /// The worker executes `argv` once; it finds the lanes at the descriptors 3, 4, ...
    Exec,
    /// The worker stays and runs the resident of this name, which was given to [`crate::spawner::main`]; that one
    /// starts `argv` itself, as often as it likes.
    Resident(String),
}

/// A name and a port to which programs inside connect, and behind which the host listens. In the code of others it is what it seems to
/// be: the service of that name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outlet {
    /// What `/etc/hosts` of the sandbox calls `address`.
    pub name: String,
    /// An address of 127.0.0.0/8, but 127.0.0.1.
    pub address: Ipv4Addr,
    /// The port, of which the lower ones are fine too.
    pub port: NonZeroU16,
}

impl Outlet {
    fn is_sound(&self) -> bool {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.');
        (1..=253).contains(&self.name.len())
            && self.name.bytes().all(plain)
            && self.name != "localhost"
            && self.address.is_loopback()
            && self.address != Ipv4Addr::LOCALHOST
    }
}

/// What a slot is built with before it is known what will run in it. Binding changes what differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// The cgroup above the slot's own.
    pub group: GroupName,
    /// Limits that it waits under.
    pub limits: Limits,
    /// Capacity of its `/tmp` and of its `/dev/shm`, in bytes.
    pub tmp_bytes: u64,
}

impl Shape {
    pub(crate) fn slot(&self) -> SlotPlan {
        SlotPlan {
            group: self.group.clone(),
            limits: self.limits,
            tmp_bytes: self.tmp_bytes,
            rootfs: Rootfs::ReadOnly,
            own_pids: OWN_PIDS,
            restrictions: Restrictions::default(),
        }
    }
}

/// Processes of ours in a slot that waits: pid 1 and the worker.
pub(crate) const OWN_PIDS: u32 = 2;

/// One sandbox to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The cgroup above the sandbox's own.
    pub group: GroupName,
    /// Host name seen inside.
    pub hostname: String,
    /// Limits of memory, processor and processes.
    pub limits: Limits,
    /// Capacity of `/tmp` in bytes (with a writable rootfs its upper layer included); `/dev/shm` has the same again.
    /// Both count as memory when filled.
    pub tmp_bytes: u64,
    /// What may be written.
    pub rootfs: Rootfs,
    /// What is taken away beyond what no foreign code may do. What a writable rootfs lets be written can be executed, so
    /// [`Restrictions::no_exec`] needs a read-only one.
    pub restrictions: Restrictions,
    /// Trees shown at `/function`, the first on top.
    pub layers: Vec<LayerName>,
    /// Who serves the lanes.
    pub program: Program,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// Working directory, absolute.
    pub cwd: String,
    /// Socketpairs between host and sandbox, 1 to [`MAX_LANES`].
    pub lanes: u8,
    /// TCP port of 127.0.0.1 inside on which the host listens, from before the program is executed; see
    /// [`crate::Sandbox::take_listener`]. `None`: on none.
    pub listen: Option<NonZeroU16>,
    /// Where programs inside find what is outside, at most [`MAX_OUTLETS`] and no two at one address and port; see [`crate::Sandbox::take_outlets`].
    pub outlets: Vec<Outlet>,
    /// Whether the program may be asked to end, see [`crate::Sandbox::terminate`]. Costs pid 1 one capability over processes
    /// of its own sandbox.
    pub terminable: bool,
    /// What of it is told, as far as the spawner watches that, see [`crate::sighting`]. Costs pid 1 the right to read the memory of processes of its
    /// own sandbox, and the function a turn through pid 1 for each such call.
    pub watch: Watch,
}

impl Plan {
    /// Checks everything that no type checks already.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), PlanError> {
        checked_name("host name", self.hostname.clone())?;
        within("memory", self.limits.memory, 4 << 20, 1 << 44, "4 MiB to 16 TiB")?;
        within(
            "cpu",
            self.limits.cpu_millis.into(),
            10,
            1_024_000,
            "0.01 to 1024 processors",
        )?;
        within("pids", self.limits.pids.into(), 1, 4_000_000, "1 to 4000000")?;
        within("tmp", self.tmp_bytes, 1 << 16, 1 << 44, "64 KiB to 16 TiB")?;
        within("lanes", self.lanes.into(), 0, MAX_LANES.into(), "0 to 64")?;
        if self.restrictions.no_exec && self.rootfs == Rootfs::Writable {
            return Err(PlanError::WritableExec);
        }
        if self.layers.len() > MAX_LAYERS {
            return Err(PlanError::Layers(self.layers.len()));
        }
        if self.outlets.len() > MAX_OUTLETS {
            return Err(PlanError::Outlets(self.outlets.len()));
        }
        for (at, outlet) in self.outlets.iter().enumerate() {
            let same = |other: &Outlet| (other.address, other.port) == (outlet.address, outlet.port);
            if !outlet.is_sound() || self.outlets[..at].iter().any(same) {
                return Err(PlanError::Outlet(format!(
                    "{}:{} at {}",
                    outlet.name, outlet.port, outlet.address
                )));
            }
        }
        match self.argv.first() {
            Some(program) if program.starts_with('/') => {}
            other => return Err(PlanError::Program(other.cloned().unwrap_or_default())),
        }
        let mut bytes = 0;
        for text in self.argv.iter().chain([&self.cwd]) {
            bytes += text.len() + 1;
            if text.contains('\0') {
                return Err(PlanError::Text(text.clone()));
            }
        }
        for (name, value) in &self.env {
            bytes += name.len() + value.len() + 2;
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                return Err(PlanError::Text(name.clone()));
            }
        }
        if bytes > MAX_ARGUMENT_BYTES {
            Err(PlanError::TooLong(bytes))
        } else {
            Ok(())
        }
    }

    /// Processes of ours beside the foreign code: pid 1, and the worker where it is not replaced by the program.
    pub(crate) fn own_pids(&self) -> u32 {
        if self.program == Program::Exec { 1 } else { OWN_PIDS }
    }

    /// The part that a slot is built from.
    pub(crate) fn slot(&self) -> SlotPlan {
        self.slot_in(self.group.clone())
    }

    /// The same in another group.
    pub(crate) fn slot_in(&self, group: GroupName) -> SlotPlan {
        SlotPlan {
            group,
            limits: self.limits,
            tmp_bytes: self.tmp_bytes,
            rootfs: self.rootfs,
            own_pids: self.own_pids(),
            restrictions: self.restrictions.clone(),
        }
    }

    /// The part that shows code to a program that runs already.
    pub(crate) fn show(&self) -> ShowPlan {
        ShowPlan {
            hostname: self.hostname.clone(),
            tmp_bytes: self.tmp_bytes,
            layers: self.layers.clone(),
            watch: self.watch,
        }
    }

    /// The part that binds a built slot to code.
    pub(crate) fn bind(&self) -> BindPlan {
        BindPlan {
            hostname: self.hostname.clone(),
            tmp_bytes: self.tmp_bytes,
            // Larger than its memory no file of a sandbox can be, as all that can be written is memory.
            file_bytes: self.limits.memory,
            layers: self.layers.clone(),
            program: self.program.clone(),
            argv: self.argv.clone(),
            env: self.env.clone(),
            cwd: self.cwd.clone(),
            lanes: self.lanes,
            listen: self.listen,
            outlets: self.outlets.clone(),
            terminable: self.terminable,
            watch: self.watch,
        }
    }
}

/// What the spawner builds a slot from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SlotPlan {
    pub(crate) group: GroupName,
    pub(crate) limits: Limits,
    pub(crate) tmp_bytes: u64,
    pub(crate) rootfs: Rootfs,
    pub(crate) own_pids: u32,
    pub(crate) restrictions: Restrictions,
}

/// What a slot is bound to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct BindPlan {
    pub(crate) hostname: String,
    pub(crate) tmp_bytes: u64,
    pub(crate) file_bytes: u64,
    pub(crate) layers: Vec<LayerName>,
    pub(crate) program: Program,
    pub(crate) argv: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) cwd: String,
    pub(crate) lanes: u8,
    pub(crate) listen: Option<NonZeroU16>,
    pub(crate) outlets: Vec<Outlet>,
    pub(crate) terminable: bool,
    pub(crate) watch: Watch,
}

/// What a slot gets whose program was started ahead of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ShowPlan {
    pub(crate) hostname: String,
    pub(crate) tmp_bytes: u64,
    pub(crate) layers: Vec<LayerName>,
    pub(crate) watch: Watch,
}

fn checked_name(what: &'static str, value: String) -> Result<String, PlanError> {
    let fine = (1..=80).contains(&value.len())
        && value
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if fine {
        Ok(value)
    } else {
        Err(PlanError::Name { what, value })
    }
}

fn within(what: &'static str, value: u64, least: u64, most: u64, range: &'static str) -> Result<(), PlanError> {
    if (least..=most).contains(&value) {
        Ok(())
    } else {
        Err(PlanError::Limit { what, value, range })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outlet(name: &str, address: [u8; 4]) -> Outlet {
        Outlet {
            name: name.into(),
            address: address.into(),
            port: NonZeroU16::new(443).unwrap(),
        }
    }

    fn plan() -> Plan {
        Plan {
            group: GroupName::new("hello").unwrap(),
            hostname: "hello".into(),
            limits: Limits {
                memory: 64 << 20,
                cpu_millis: 1000,
                pids: 32,
            },
            tmp_bytes: 1 << 20,
            rootfs: Rootfs::ReadOnly,
            restrictions: Restrictions::default(),
            layers: vec![LayerName::new("a".repeat(64)).unwrap()],
            program: Program::Exec,
            argv: vec!["/bin/true".into()],
            env: vec![("A".into(), "b".into())],
            cwd: "/".into(),
            lanes: 1,
            listen: None,
            outlets: vec![outlet("db.example", [127, 77, 0, 1])],
            terminable: false,
            watch: Watch::default(),
        }
    }

    #[test]
    fn a_sound_plan_passes() {
        assert_eq!(plan().check(), Ok(()));
    }

    #[test]
    fn names_that_could_leave_their_directory_are_refused() {
        for bad in ["", "..", "a/b", "A", "a\u{0}", "a,b", "a:b", &"a".repeat(81)] {
            assert!(GroupName::new(bad).is_err(), "{bad:?}");
            assert!(LayerName::new(bad).is_err(), "{bad:?}");
        }
        assert!(LayerName::new("A".repeat(64)).is_err());
    }

    #[test]
    fn each_bad_field_is_named() {
        let refused = |change: fn(&mut Plan)| {
            let mut plan = plan();
            change(&mut plan);
            plan.check().unwrap_err().to_string()
        };
        assert!(refused(|p| p.limits.memory = 1).contains("memory"));
        assert!(refused(|p| p.limits.cpu_millis = 0).contains("cpu"));
        assert!(refused(|p| p.limits.pids = 0).contains("pids"));
        assert!(refused(|p| p.tmp_bytes = 1).contains("tmp"));
        assert!(refused(|p| p.lanes = 65).contains("lanes"));
        assert!(refused(|p| p.argv.clear()).contains("absolute path"));
        assert!(refused(|p| p.argv[0] = "sh".into()).contains("absolute path"));
        assert!(refused(|p| p.argv.push("a\0b".into())).contains("can't be passed"));
        assert!(refused(|p| p.env[0].0 = "A=B".into()).contains("can't be passed"));
        assert!(refused(|p| p.env[0].1 = "x".repeat(MAX_ARGUMENT_BYTES)).contains("bytes"));
        assert!(refused(|p| p.layers = vec![p.layers[0].clone(); 41]).contains("layers"));
        assert!(
            refused(|p| {
                p.rootfs = Rootfs::Writable;
                p.restrictions.no_exec = true;
            })
            .contains("read-only")
        );
        assert!(refused(|p| p.hostname = "Ä".into()).contains("host name"));
        assert!(refused(|p| p.outlets = vec![p.outlets[0].clone(); 17]).contains("17 outlets"));
        assert!(refused(|p| p.outlets.push(outlet("other", [127, 77, 0, 1]))).contains("other:443"));
        for (name, address) in [
            ("", [127, 77, 0, 2]),
            ("a b", [127, 77, 0, 2]),
            ("a\n127.0.0.1", [127, 77, 0, 2]),
            ("a#", [127, 77, 0, 2]),
            ("localhost", [127, 77, 0, 2]),
            ("a", [127, 0, 0, 1]),
            ("a", [10, 0, 0, 1]),
        ] {
            let mut plan = plan();
            plan.outlets.push(outlet(name, address));
            assert!(matches!(plan.check(), Err(PlanError::Outlet(_))), "{name:?}");
        }
    }
}
