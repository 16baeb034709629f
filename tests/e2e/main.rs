//! The whole system, from outside: through the `fn` command, HTTP, and what the host shows.

mod bad_input;
mod builds;
mod dashboards;
mod fdk;
mod frozen;
mod http;
mod inside;
mod lambda_runtime;
mod lifecycle;
mod limits;
mod load;
mod main_job;
mod parked;
mod pristine;
mod templates;
