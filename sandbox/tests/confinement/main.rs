//! Real sandboxes, made as an unprivileged user: started as root, the test process becomes `nobody` first.

#![expect(clippy::unwrap_used, reason = "a test that can not go on panics")]

mod cells;
mod escape;
mod inside;
mod leaks;
mod life;
mod limits;
mod listening;
mod parked;
mod reach;
mod reclaim;
mod restrictions;
mod setting;
mod sightings;
#[path = "../../../tests/harness/skip.rs"]
#[expect(unreachable_pub, reason = "it is part of a library, too")]
mod skip;
mod slots;
mod spawner;
mod visits;
