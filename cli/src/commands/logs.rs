//! `fn logs`: what a function wrote, one line per record.
//!
//! With `--json` the records are one array. Followed, they have no end, so there each record is a document on a line of
//! its own.

use futures_util::{StreamExt, pin_mut};
use serde_json::Value;

use super::name;
use crate::args::LogsArgs;
use crate::client::{AdminClient, LogQuery};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render::{Format, Screen, table};

/// Prints the records as they come.
pub(crate) async fn run(args: LogsArgs, client: &AdminClient, screen: Screen) -> Result<Exit, Failure> {
    let name = name::typed(&args.name)?;
    let query = LogQuery {
        follow: args.follow,
        request: args.request,
        tail: args.tail,
    };
    let records = client.logs(name.as_str(), &query).await?;
    pin_mut!(records);
    let mut all = Vec::new();
    while let Some(record) = records.next().await {
        let record = record?;
        match (screen.format, query.follow) {
            (Format::Text, _) => screen.raw(line(&record).as_bytes())?,
            (Format::Json, true) => screen.raw(format!("{record}\n").as_bytes())?,
            (Format::Json, false) => all.push(record),
        }
    }
    if screen.format == Format::Json && !query.follow {
        screen.answer(&Value::Array(all), String::new)?;
    }
    Ok(Exit::Ok)
}

/// `time request text`; a record of no request has a dash.
pub(super) fn line(record: &Value) -> String {
    let text = record["text"].as_str().unwrap_or_default().trim_end_matches('\n');
    format!(
        "{} {} {text}\n",
        table::cell(&record["time"]),
        table::cell(&record["request_id"])
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_record_is_a_line() {
        let record = json!({ "time": "2026-01-02T03:04:05.678Z", "request_id": "r1", "text": "hello\n" });
        assert_eq!(line(&record), "2026-01-02T03:04:05.678Z r1 hello\n");
        assert_eq!(line(&json!({ "time": "t", "text": "x" })), "t - x\n");
    }
}
