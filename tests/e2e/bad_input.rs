//! Bad input gets a clear error and nothing is lost: after each of these the server still serves.

mod bodies;
mod bundles;
mod deploys;
mod handlers;
mod hosts;
