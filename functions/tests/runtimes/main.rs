//! The runtimes as the host sees them: real interpreters, real programs, real frames.

#![expect(clippy::unwrap_used, reason = "a test that can not go on panics")]

mod asgi;
mod examples;
mod framework;
mod host;
mod node;
mod node_apps;
mod node_failures;
mod node_parked;
mod python;
mod stdio;
mod web;
mod wsgi;
