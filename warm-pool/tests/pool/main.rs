//! The pool over real processes: Python on the real shim, without a sandbox around it.

#![expect(clippy::unwrap_used, reason = "a test that can not go on panics")]

mod ahead;
mod bare;
mod ends;
mod leases;
mod output;
mod pressure;
mod pristine;
mod queue;
mod rig;
mod scale;
