//! One confined process: a [`Plan`] goes in, a [`Sandbox`] comes out.
//!
//! This crate knows namespaces, mounts, cgroups and filters; it knows no function, no HTTP and no pool.
//!
//! | module | question |
//! |---|---|
//! | [`plan`] | what is to run, under which limits? |
//! | [`spawner`] | who makes the processes, and who watches them? |
//! | `child` | what happens inside, before foreign code runs? |
//! | [`sandbox`] | what does the host hold of it? |
//! | [`reach`] | by which sockets do the host and what runs inside find each other? |
//! | [`sighting`] | what is seen of what runs inside? |
//! | [`slot`] | what of a sandbox can be built before it is known what runs in it? |
//! | [`cell`] | how is a process copied into a sandbox instead of executed in it? |
//! | [`parked`] | what can run in it before its code is known? |
//! | [`cgroup`] | where do limits stand? |
//! | [`filter`] | which system calls may be made? |
//! | [`restrictions`] | what does one plan take away beyond that? |
//! | [`floors`] | what does the kernel alone take? |
//! | [`stage`] | at which step did it fail? |
//! | [`report`] | what can this host enforce? |
//! | [`switches`] | which layer is off, to prove that a test can fail? |
//! | [`trial`] | does a sandbox really start here? |
//! | [`privileges`] | how does a start as root become a user for good? |
//! | `packet`, `sys` | messages with descriptors; system calls that no library offers |

pub mod cell;
pub mod cgroup;
mod child;
pub mod filter;
pub mod floors;
mod packet;
pub mod parked;
pub mod plan;
pub mod privileges;
pub mod reach;
pub mod report;
pub mod restrictions;
pub mod sandbox;
pub mod sighting;
pub mod slot;
pub mod spawner;
pub mod stage;
pub mod switches;
mod sys;
pub mod trial;

pub use cell::{Cell, CellSlot, Holdings};
pub use cgroup::leaf::{Frozen, Usage};
pub use cgroup::{CgroupTree, detect};
pub use child::{Resident, ResidentCall};
pub use filter::denial::{Denial, DenialError};
pub use parked::Parked;
pub use plan::{GroupName, LayerName, Limits, Outlet, Plan, PlanError, Program, Rootfs, Shape};
pub use reach::ReachError;
pub use report::HostReport;
pub use restrictions::{InnerPath, InnerPathError, Restrictions};
pub use sandbox::{Exit, LaunchError, Obituary, Phases, Sandbox};
pub use sighting::{Peer, Sight, Sighting, Sightings, Watch};
pub use slot::Slot;
pub use spawner::{BaseFile, Spawner, SpawnerConfig, StartError, SubordinateIds};
pub use stage::{Stage, StageError};
pub use switches::{Layer, Switches};
