//! The real `fn` binary, from outside: what it prints, where, and its exit code.
//!
//! The server's side is a small HTTP server of the test on a unix socket, which answers with what the admin API promises. The
//! real server is tested end to end elsewhere; here it is the client that must be right, also about answers that a
//! healthy server never gives.

// `cfg(test)` is what tells clippy that helpers of tests may unwrap like tests do.
#[cfg(test)]
mod deploying;
#[cfg(test)]
mod talking;
#[cfg(test)]
mod world;
