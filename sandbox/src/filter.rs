//! Which system calls foreign code may make, and the BPF program that says so to the kernel.
//!
//! [`policy`] is the table, `compile` turns it into instructions. A program is compiled once per process and attached
//! in every worker while it waits, as attaching costs by length.

mod compile;
pub mod policy;

pub use compile::given_up;
pub(crate) use compile::program;
