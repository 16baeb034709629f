//! One call by curl, as anybody would make it, and what came back.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::program::Program;

/// A reply.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) status: u16,
    /// `x-fn-start`, empty without one.
    pub(super) start: String,
    /// `x-fn-instance`, the boot id of the process that answered.
    pub(super) instance: String,
    /// `Server-Timing`, the server's own account.
    pub(super) timing: String,
    /// From before the connect to the last byte, by curl's clock, in milliseconds.
    pub(super) millis: f64,
    head: String,
    body: Vec<u8>,
}

impl Reply {
    /// Whether a text stands anywhere in it, headers included.
    pub(super) fn says(&self, text: &str) -> bool {
        self.head.contains(text) || String::from_utf8_lossy(&self.body).contains(text)
    }

    /// The whole body, read as JSON.
    pub(super) fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body).context("the body is no JSON")
    }

    /// The body as text, cut where it is long.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).trim().chars().take(2000).collect()
    }
}

/// Runs curl with `args`, which end in the URL. `scratch` is a directory of ours for the two parts of the reply.
pub(super) fn curl(scratch: &Path, args: &[&str]) -> Result<Reply> {
    let (head, body) = (scratch.join("head"), scratch.join("body"));
    let numbers = Program::new("curl")
        .args([
            "--silent",
            "--show-error",
            "--max-time",
            "60",
            "--write-out",
            "%{http_code} %{time_total}",
        ])
        .args([Path::new("--dump-header"), &head, Path::new("--output"), &body])
        .args(args)
        .output()?;
    let Some((status, seconds)) = numbers.trim().split_once(' ') else {
        bail!("curl should print a status and a time, and printed: {numbers}");
    };
    let head = std::fs::read_to_string(&head).context("curl wrote no head of a reply")?;
    Ok(Reply {
        status: status.parse().with_context(|| format!("no status: {status}"))?,
        millis: seconds
            .replace(',', ".")
            .parse::<f64>()
            .with_context(|| format!("no time: {seconds}"))?
            * 1000.0,
        start: header(&head, "x-fn-start"),
        instance: header(&head, "x-fn-instance"),
        timing: header(&head, "server-timing"),
        head,
        // curl creates no file for a reply without a body.
        body: std::fs::read(&body).unwrap_or_default(),
    })
}

fn header(head: &str, name: &str) -> String {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    let value = lines
        .filter(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
        .next();
    value.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::header;

    #[test]
    fn headers_are_found_in_any_case() {
        let head = "HTTP/1.1 200 OK\r\nX-Fn-Start: warm\r\ncontent-length: 3\r\n\r\n";
        assert_eq!(header(head, "x-fn-start"), "warm");
        assert_eq!(header(head, "x-fn-instance"), "");
    }
}
