//! What host and spawner say to each other, one packet a message.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::cgroup::CgroupTree;
use crate::cgroup::leaf::Account;
use crate::plan::{BindPlan, SlotPlan};
use crate::sandbox::Exit;
use crate::sighting::Watch;
use crate::stage::StageError;
use crate::switches::Switches;

/// Descriptor of the control socket in the spawner.
pub(crate) const CONTROL: i32 = 3;
/// Descriptor of the memfd that holds the [`Config`].
pub(crate) const CONFIG: i32 = 4;
/// Descriptor of the socket by which all sandboxes tell what they see, see [`crate::sighting`].
pub(crate) const SIGHTINGS: i32 = 5;

/// What a spawner is started with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Config {
    /// An existing directory, used as a mount point for a moment.
    pub(crate) mount_point: PathBuf,
    /// Directory of the layers, each named by its digest.
    pub(crate) layers: PathBuf,
    /// Files of ours that every sandbox sees.
    pub(crate) files: Vec<BaseFile>,
    /// Where limits are set.
    pub(crate) tree: CgroupTree,
    /// Subordinate ids, where the user has them.
    pub(crate) subordinate: Option<SubordinateIds>,
    /// Layers that are off.
    pub(crate) switches: Switches,
    /// What any sandbox may be told to watch.
    pub(crate) watch: Watch,
}

/// A read-only file that every sandbox sees.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BaseFile {
    /// Absolute path inside.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// Contents.
    pub contents: String,
}

/// Ranges of /etc/subuid and /etc/subgid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubordinateIds {
    /// First user id of the host.
    pub uid: u32,
    /// First group id of the host.
    pub gid: u32,
    /// How many of each.
    pub count: u32,
}

/// From the host.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToSpawner {
    /// Build a slot; the descriptor beside it is the slot's control socket.
    Build { id: u64, leaf: String, plan: SlotPlan },
    /// Build a cell and a template in it; the descriptors beside it are its control socket, both ends of the template's orders, and
    /// its log.
    Cell {
        id: u64,
        leaf: String,
        plan: SlotPlan,
        bind: Box<BindPlan>,
    },
    /// Build a slot in a cell; the descriptors beside it are its control socket, its log, and its lanes.
    SlotInCell {
        id: u64,
        cell: u64,
        leaf: String,
        plan: SlotPlan,
        hostname: String,
    },
    /// Kill a slot or a cell, now.
    Kill { id: u64 },
    /// Connect to the unix socket at this path in a slot; the descriptor beside it is what to answer through.
    Visit { id: u64, path: String },
}

/// To the host.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromSpawner {
    /// The first process made the second, whose pid on the host this is, and ends.
    Started { pid: i32 },
    /// The base root stands: slots can be built.
    Ready,
    /// The spawner could not start.
    Failed(StageError),
    /// A slot was not built; nothing of it is left.
    Refused {
        id: u64,
        failure: StageError,
        detail: Option<String>,
    },
    /// Nothing of this slot is left: no process, no mount, no cgroup. In a cell its pid 1 saw how the worker ended.
    Gone {
        id: u64,
        account: Account,
        exit: Option<Exit>,
    },
}

/// From the spawner to pid 1 of a cell.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToCell {
    /// The id maps are written.
    Mapped,
    /// Build a slot; beside it are its control socket, its log, its lanes, and then what leads into its leaf.
    Slot {
        id: u64,
        plan: SlotPlan,
        hostname: String,
        /// Whether the last of that is a directory to be born in (version 2); the others are files to be written to.
        born_in: bool,
        /// How many descriptors lead into the leaf.
        entrances: usize,
    },
    /// Kill a slot.
    Kill { id: u64 },
}

/// From pid 1 of a cell to the spawner.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromCell {
    /// A slot was not built.
    Refused { id: u64, failure: StageError },
    /// No process of this slot is left.
    Gone { id: u64, exit: Exit },
}
