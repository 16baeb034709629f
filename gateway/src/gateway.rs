//! What all routes share.

use std::sync::Arc;

use functions::FunctionName;
use functions::runtimes::HostRuntimes;
use functions::store::Store;
use jiff::Timestamp;
use warm_pool::{InstanceId, LogRecord, LogSink, Pool};

use crate::background::Background;
use crate::bodies::Bodies;
use crate::callback::Callbacks;
use crate::changes::Changes;
use crate::exchange::Errors;
use crate::lambda::KeyPair;
use crate::limits::HeadLimits;
use crate::live::Live;
use crate::logs::{Line, Logs};
use crate::resolve::Hosts;
use crate::server::Drain;
use crate::telemetry::Telemetry;

/// The state of a running gateway. One per process, behind an `Arc`.
pub(crate) struct Gateway {
    pub(crate) live: Live,
    pub(crate) pool: Pool,
    pub(crate) store: Arc<Store>,
    pub(crate) runtimes: HostRuntimes,
    pub(crate) logs: Logs,
    pub(crate) telemetry: Telemetry,
    pub(crate) hosts: Hosts,
    pub(crate) limits: HeadLimits,
    pub(crate) bodies: Bodies,
    pub(crate) errors: Errors,
    pub(crate) drain: Drain,
    /// Who may use the Lambda control API.
    pub(crate) keys: KeyPair,
    pub(crate) background: Background,
    pub(crate) callbacks: Callbacks,
    pub(crate) about: About,
    pub(crate) changes: Changes,
}

/// What `GET /v1/info` tells.
pub(crate) struct About {
    /// `host:port` that is listened on.
    pub(crate) listen: String,
    /// Where callers reach it.
    pub(crate) url: String,
    /// The state directory.
    pub(crate) state_dir: String,
    /// What the host can enforce, as JSON.
    pub(crate) report: serde_json::Value,
}

impl Gateway {
    /// Where a function is called.
    pub(crate) fn url(&self, name: &FunctionName) -> String {
        format!("{}/function/{name}", self.about.url)
    }

    /// The text of `/metrics`.
    pub(crate) fn metrics(&self) -> String {
        self.telemetry.dropped_lines(self.logs.dropped());
        self.telemetry.text(self.pool.metrics())
    }
}

impl LogSink for Logs {
    fn record(&self, record: &LogRecord<'_>) {
        let instance = match record.boot_id {
            Some(boot_id) => boot_id.to_string(),
            None if record.instance == InstanceId::TEMPLATE => "template".to_owned(),
            None => format!("starting-{}", record.instance),
        };
        self.record(Line {
            time: Timestamp::try_from(record.at).unwrap_or(Timestamp::UNIX_EPOCH),
            function: record.function.clone(),
            revision: record.revision.get(),
            instance,
            request_id: record.request_id.map(str::to_owned),
            text: record.text.to_owned(),
        });
    }
}
