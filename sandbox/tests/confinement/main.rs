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
mod setting;
mod slots;
mod spawner;
mod visits;
