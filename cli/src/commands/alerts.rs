//! `fn alerts`: what the rules of the watch said, one line per alert, or the rules themselves.
//!
//! With `--json` the alerts are one array. Followed, they have no end, so there each is a document on a line of its own.

use futures_util::{StreamExt, pin_mut};
use serde_json::Value;

use super::name;
use crate::args::AlertsArgs;
use crate::client::{AdminClient, AlertQuery};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render::{Format, Screen, table};

/// Prints the alerts as they come.
pub(crate) async fn run(args: AlertsArgs, client: &AdminClient, screen: Screen) -> Result<Exit, Failure> {
    if args.rules {
        let reply = client.rules().await?;
        screen.answer(&reply, || rules(&reply))?;
        return Ok(Exit::Ok);
    }
    let function = args.function.as_deref().map(name::typed).transpose()?;
    let query = AlertQuery {
        follow: args.follow,
        function: function.map(|name| name.to_string()),
        tail: args.tail,
    };
    let alerts = client.alerts(&query).await?;
    pin_mut!(alerts);
    let mut all = Vec::new();
    while let Some(alert) = alerts.next().await {
        let alert = alert?;
        match (screen.format, query.follow) {
            (Format::Text, _) => screen.raw(line(&alert).as_bytes())?,
            (Format::Json, true) => screen.raw(format!("{alert}\n").as_bytes())?,
            (Format::Json, false) => all.push(alert),
        }
    }
    if screen.format == Format::Json && !query.follow {
        screen.answer(&Value::Array(all), String::new)?;
    }
    Ok(Exit::Ok)
}

/// `time severity rule function instance done: detail`.
fn line(alert: &Value) -> String {
    if let Some(missed) = alert["missed"].as_u64() {
        return format!("[{missed} alerts missed]\n");
    }
    let [time, severity, rule, function, instance, done, detail] =
        ["time", "severity", "rule", "function", "instance", "done", "detail"].map(|key| table::cell(&alert[key]));
    let untold = match alert["untold"].as_u64() {
        None | Some(0) => String::new(),
        Some(more) => format!(" (and {more} more before)"),
    };
    format!("{time} {severity} {rule} {function} {instance} {done}: {detail}{untold}\n")
}

fn rules(reply: &Value) -> String {
    let rules = reply["rules"].as_array().map(Vec::as_slice).unwrap_or_default();
    table::columns(
        ["RULE", "EVENT", "SEVERITY", "ACTION", "ENABLED", "RATE"],
        rules
            .iter()
            .map(|rule| ["name", "event", "severity", "action", "enabled", "rate"].map(|key| table::cell(&rule[key]))),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_alert_is_a_line() {
        let mut alert = json!({
            "time": "2026-01-02T03:04:05Z", "severity": "warning", "rule": "shell-in-function", "function": "hello",
            "done": "told", "detail": "executed /bin/sh", "untold": 0,
        });
        assert_eq!(
            line(&alert),
            "2026-01-02T03:04:05Z warning shell-in-function hello - told: executed /bin/sh\n"
        );
        alert["untold"] = json!(7);
        assert!(line(&alert).ends_with("executed /bin/sh (and 7 more before)\n"));
        assert_eq!(line(&json!({ "missed": 3 })), "[3 alerts missed]\n");
    }

    #[test]
    fn rules_are_lines_of_a_table() {
        let reply = json!({ "rules": [
            { "name": "a", "event": "exec", "severity": "notice", "action": "kill", "enabled": true, "rate": null },
        ]});
        assert!(
            rules(&reply).lines().nth(1).unwrap().starts_with("a     exec"),
            "{}",
            rules(&reply)
        );
    }
}
