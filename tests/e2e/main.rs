//! The whole system, from outside: through the `fn` command, HTTP, and what the host shows.

mod apps;
mod bad_input;
mod builds;
mod dashboards;
mod dev;
mod fdk;
mod frozen;
mod http;
mod inside;
mod lambda_api;
mod lambda_extensions;
mod lambda_runtime;
mod lifecycle;
mod limits;
mod load;
mod main_job;
mod parked;
mod pristine;
mod templates;
