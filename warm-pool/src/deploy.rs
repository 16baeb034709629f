//! What the pool does for a deploy, off the request path.

pub mod build;
pub mod check;
mod kept;
