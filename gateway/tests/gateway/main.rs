//! The gateway as its callers meet it: over real sockets, a real store and the real pool, with instances that do what their test wants.

#![expect(clippy::unwrap_used, reason = "a test that can not go on panics")]

mod admin;
mod bare;
mod failing;
mod hostile;
mod invoking;
mod lambda;
mod platform;
mod promtool;
mod puppet;
mod real;
mod wire;
