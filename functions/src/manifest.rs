//! What `fn.toml` may say.
//!
//! [`Manifest`] is what was typed: every key optional, nothing checked beyond its type. [`Settings`] is
//! what it means: defaults filled in, every bound checked. The way from one to the other is
//! [`Manifest::resolve`].

mod settings;
mod suggest;

pub use settings::{BuildMode, Keep, RootfsMode, Runtime, Scale, Settings, Stdio, UnknownWord};

/// What was typed.
#[derive(Debug)]
pub struct Manifest {}
