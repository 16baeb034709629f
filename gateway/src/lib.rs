//! HTTP in, HTTP out: the front of the platform.
//!
//! One request goes one way: route, admit, acquire, exchange, reply.
//!
//! | station | modules |
//! |---|---|
//! | in | [`server`] (sockets, connections, drain), [`limits`], [`request_id`] |
//! | route | `routes`, [`resolve`], [`live`] |
//! | admit | `admission`, [`deadline`], [`bodies`], [`reserved`] |
//! | acquire | the pool, of another crate |
//! | exchange | `exchange` |
//! | reply | [`reply`], `cors`, [`outcome`], `invocation` (the account of it) |
//!
//! Beside that way: `admin` (the API on the unix socket), [`lambda`] (Lambda's API for its own clients), `background` (calls that nobody waits for), [`callback`] (where their results go),
//! [`logs`] (what functions print), [`telemetry`] (metrics), `changes` (deploys and removals), `gateway` (what
//! all routes share) and [`serve`](mod@serve), which puts everything together.

mod admin;
mod admission;
mod background;
pub mod bodies;
pub mod callback;
mod changes;
mod cors;
pub mod deadline;
mod exchange;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod gateway;
mod invocation;
pub mod lambda;
pub mod limits;
pub mod live;
pub mod logs;
pub mod outcome;
pub mod reply;
pub mod request_id;
pub mod reserved;
pub mod resolve;
mod routes;
pub mod serve;
pub mod server;
pub mod telemetry;

pub use serve::{Opened, ServeConfig, ServeError, serve};
