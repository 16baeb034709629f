//! The gateway as its callers meet it: over real sockets, a real store and the real pool, with instances that do what their test wants.

mod admin;
mod failing;
mod hostile;
mod invoking;
mod platform;
mod puppet;
mod wire;
