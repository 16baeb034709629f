//! What `X-Amz-Log-Type: Tail` asks for: the last 4 KB of what one invocation printed, between the lines that Lambda writes around it.

use std::fmt::Write;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::gateway::Gateway;
use crate::logs::Query;
use crate::request_id::RequestId;
use functions::{BootId, Revision};

/// Bytes of a log that are told.
const TAIL: usize = 4 * 1024;
/// No more lines fit.
const LINES: usize = TAIL;

/// What is known of an invocation when it is over.
pub(super) struct Report<'a> {
    pub(super) request: RequestId,
    pub(super) revision: &'a Revision,
    /// The version that ran, as `X-Amz-Executed-Version` names it.
    pub(super) version: &'a str,
    /// Time in the handler.
    pub(super) took: Duration,
    /// Time of loading it, when the call waited for that.
    pub(super) init: Option<Duration>,
    /// The instance, while it may still live.
    pub(super) instance: Option<BootId>,
}

/// The value of `X-Amz-Log-Result`, in base64. Lines that the log writer dropped, or could not read back, are not in it.
pub(super) async fn result(gateway: &Gateway, report: &Report<'_>) -> String {
    let query = Query {
        function: report.revision.name.clone(),
        request: Some(report.request.to_string()),
        tail: LINES,
    };
    let lines = match gateway.logs.ask(query).await {
        Ok(answer) => answer.lines,
        Err(error) => {
            tracing::warn!(%error, "the log of an invocation can't be read");
            Vec::new()
        }
    };
    let text = text(report, peak(gateway, report).await, lines.iter().map(String::as_str));
    let tail = &text[text.ceil_char_boundary(text.len().saturating_sub(TAIL))..];
    STANDARD.encode(tail)
}

/// The most memory that the instance ever had in use. Not known when it is gone, or where the kernel does not count it.
async fn peak(gateway: &Gateway, report: &Report<'_>) -> Option<u64> {
    let (instance, name, pool) = (report.instance?, report.revision.name.clone(), gateway.pool.clone());
    let read = tokio::task::spawn_blocking(move || pool.memory_peak(&name, instance));
    // A panic there was told by the runtime, and this line of a report is not worth an error.
    read.await.ok().flatten()
}

fn text<'a>(report: &Report<'_>, peak: Option<u64>, lines: impl Iterator<Item = &'a str>) -> String {
    #[derive(Deserialize)]
    struct Line {
        text: String,
    }
    let (id, version) = (report.request, report.version);
    let mut text = format!("START RequestId: {id} Version: {version}\n");
    for line in lines.filter_map(|line| serde_json::from_str::<Line>(line).ok()) {
        text.push_str(&line.text);
        text.push('\n');
    }
    let took = report.took.as_secs_f64() * 1000.0;
    let billed = (report.took + report.init.unwrap_or_default()).as_secs_f64() * 1000.0;
    let memory = report.revision.settings.memory.as_u64() >> 20;
    let _ = write!(
        text,
        "END RequestId: {id}\nREPORT RequestId: {id}\tDuration: {took:.2} ms\tBilled Duration: {:.0} ms\tMemory Size: {memory} MB",
        billed.ceil()
    );
    if let Some(peak) = peak {
        let _ = write!(text, "\tMax Memory Used: {} MB", peak.div_ceil(1 << 20));
    }
    if let Some(init) = report.init {
        let _ = write!(text, "\tInit Duration: {:.2} ms", init.as_secs_f64() * 1000.0);
    }
    text.push_str("\t\n");
    text
}
