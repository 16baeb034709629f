//! What the pool does for a deploy, off the request path.

pub mod check;
