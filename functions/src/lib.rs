//! What a function is: how it is called and what runs it.

pub mod wire;
