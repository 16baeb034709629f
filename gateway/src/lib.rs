//! HTTP in, HTTP out.
pub mod limits;
pub mod logs;
pub mod outcome;
pub mod reply;
pub mod request_id;
pub mod resolve;
pub mod server;
pub mod telemetry;
pub mod deadline;
