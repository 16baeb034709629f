//! What a function is: how it is called and what runs it.

pub mod payload;
pub mod wire;
