//! Which system calls foreign code may make, and the BPF program that says so to the kernel.
//!
//! [`policy`] is the table, [`groups`] orders it by purpose, [`denial`] is what one plan takes away from it, and `compile` turns the
//! outcome into instructions. The programs of the policy itself are compiled once per process and attached in every worker while
//! it waits, as attaching costs by length; one that takes more away is compiled for its plan.

mod compile;
pub mod denial;
pub mod groups;
pub mod policy;
#[cfg(test)]
mod reference;

pub use compile::given_up;
pub(crate) use compile::{program, program_denying};
