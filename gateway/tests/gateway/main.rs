//! The gateway as its callers meet it: over real sockets.

mod hostile;
mod wire;
