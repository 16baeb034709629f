//! What the whole-system tests stand on: a real server in directories of its own, the `fn` command, HTTP, and the host's view.
//!
//! Nothing here uses the product's crates. A test sees what a user sees: the binary, its sockets, and `/proc` and `/sys` of the host.
//!
//! | question | module |
//! |---|---|
//! | how does a test wait? | [`poll`]: looks until a deadline, never a fixed pause |
//! | where does a server live, and who is it? | [`place`], [`server`] |
//! | what does the command say? | [`program`] |
//! | what does HTTP say? | [`client`], [`raw`]; [`listener`] hears what the platform sends |
//! | what do functions look like? | [`source`], [`packages`], [`archive`] |
//! | what does the host see? | [`metrics`], [`processes`], [`cgroups`] |
//! | what can't be tested here? | [`skip`] |

pub mod archive;
pub mod cgroups;
pub mod client;
pub mod listener;
pub mod metrics;
pub mod packages;
pub mod place;
pub mod poll;
pub mod processes;
pub mod program;
pub mod raw;
pub mod server;
pub mod skip;
pub mod source;

pub use client::Reply;
pub use listener::Listener;
pub use place::Place;
pub use server::Server;
pub use source::Source;
