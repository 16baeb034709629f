//! What a function is, from the directory somebody wrote to the revision that runs.
//!
//! | module | answers |
//! |---|---|
//! | [`name`], [`digest`], [`boot_id`], [`size`], [`span`], [`cpu`] | the newtypes that cannot hold a bad value |
//! | [`cors`] | which pages of other origins may call a function |
//! | [`network`] | where a function may connect to |
//! | [`manifest`] | what `fn.toml` may say, its defaults and its bounds |
//! | [`detect`] | which runtime and handler a directory holds |
//! | [`bundle`] | code as one deterministic archive, and the safe way back |
//! | [`revision`] | one immutable deploy |
//! | [`store`] | where bundles and revisions live on disk |
//! | [`published`] | versions, aliases, and what else Lambda's API knows of a function |
//! | [`layers`] | what several functions share, under a name and a number |
//! | [`payload`] | a request as a function sees it, and its answer as an HTTP reply |
//! | [`mod@printable`] | text of strangers, fit to be shown |
//! | [`runtimes`] | which program runs a revision, and the shims it speaks through |
//! | [`wire`] | the frames between the host and an instance |
//!
//! This crate is a leaf: it knows no sandbox, no HTTP server and no async runtime. What blocks here
//! blocks the calling thread, so an async caller goes through its blocking pool.

pub mod boot_id;
pub mod bundle;
pub mod cors;
pub mod cpu;
pub mod detect;
pub mod digest;
pub mod layers;
pub mod manifest;
pub mod name;
pub mod network;
pub mod payload;
pub mod printable;
pub mod published;
pub mod revision;
pub mod runtimes;
pub mod size;
pub mod span;
pub mod store;
pub mod wire;

pub use boot_id::BootId;
pub use cpu::Cpu;
pub use digest::Digest;
pub use manifest::{Ahead, BuildMode, Keep, Profile, Protocol, Reuse, RootfsMode, Runtime, Scale, Security, Signature};
pub use manifest::{Manifest, ResolveError, Settings};
pub use name::FunctionName;
pub use printable::{one_line, printable};
pub use revision::{Revision, RevisionNumber};
pub use size::ByteSize;
pub use span::Span;
pub use store::Store;
