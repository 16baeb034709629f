//! What runs in instances is watched from outside: events, rules over them, and what is done when a rule applies.
//!
//! ```text
//!  sandboxes --sightings--+                              +--> log, ring, metrics
//!                         +--> one task --> rules --yes--+
//!  fleets, cells --told---+    (bounded)                 +--> kill or quarantine the instance
//! ```
//!
//! | module | answers |
//! |---|---|
//! | [`event`] | what can happen |
//! | [`rules`] | what a rule is, and how it is written down |
//! | `glob`, `peers` | does a path or an address match? |
//! | `judge` | which rules apply to an event, counted over time |
//! | [`alerts`] | what a person is told, and the last ones |
//! | `watcher` | whose sandbox was it, and what is counted |
//!
//! Nothing waits for any of it: what there is no room for is dropped and counted in `fn_watch_dropped_total`.

pub mod alerts;
pub mod event;
mod glob;
mod judge;
mod peers;
pub mod rules;
mod watcher;

pub use self::alerts::{Alert, Alerts};
pub use self::event::{Event, Happening, Kind};
pub use self::rules::{Action, Rule, Rules, RulesError, Severity};
pub(crate) use self::watcher::{Told, Watcher};
