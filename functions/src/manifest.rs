//! What `fn.toml` may say.
//!
//! [`Manifest`] is what was typed: every key optional, nothing checked beyond its type. [`Settings`] is
//! what it means: defaults filled in, every bound checked. The way from one to the other is
//! [`Manifest::resolve`]. Both ways in, the file and `--set`, read the same table, [`KEYS`], and so do
//! the suggestions after a typing error and the page `docs/fn-toml.md`.
//!
//! ```text
//! fn.toml --from_toml--+
//! JSON ----serde-------+--> Manifest --resolve(name, Detected)--> Settings
//! --set -----set-------+
//! ```

mod keys;
mod reference;
mod resolve;
mod security;
mod settings;
mod suggest;
mod typed;
pub(crate) mod watchdog;

pub use keys::{Bounds, KEYS, Key, Kind};
pub use reference::reference;
pub use resolve::ResolveError;
pub use security::{Security, SecurityError};
pub use settings::{
    Ahead, BuildMode, Http, Keep, Profile, Protocol, Reuse, RootfsMode, Runtime, Scale, Settings, Signature, Stdio,
    UnknownWord,
};
pub use typed::{HttpTyped, Manifest, ManifestError, ScaleTyped, SecurityTyped, StdioTyped, UnknownKey};

/// The name of the file in a bundle that holds its manifest.
pub const FILE_NAME: &str = "fn.toml";
