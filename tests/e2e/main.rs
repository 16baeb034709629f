//! The whole system, from outside: through the `fn` command, HTTP, and what the host shows.

mod apps;
mod background;
mod bad_input;
mod builds;
mod dashboards;
mod dev;
mod farewell;
mod fdk;
mod four_ways;
mod frozen;
mod function_url;
mod http;
mod inside;
mod lambda_api;
mod lambda_extensions;
mod lambda_runtime;
mod lifecycle;
mod limits;
mod load;
mod main_job;
mod openfaas;
mod parked;
mod pristine;
mod reclaimed;
mod security;
mod templates;
