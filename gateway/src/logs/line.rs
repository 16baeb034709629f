//! One line of a function's log.

use functions::FunctionName;
use jiff::Timestamp;
use serde::Serialize;

/// Text beyond this many bytes of a line is cut off.
const LONGEST: usize = 256 * 1024;

/// One line of a function's log, as it is written and as a reader gets it (JSON).
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// When the platform saw it.
    pub time: Timestamp,
    /// The function that printed it.
    pub function: FunctionName,
    /// Its revision; 0 when the revision is not deployed (a deploy's check).
    pub revision: u64,
    /// The process: a boot id, or the pool's name for the instance.
    pub instance: String,
    /// The request it belongs to, when that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// What was printed, without its line end. Bytes that are no UTF-8 are replaced.
    pub text: String,
}

impl Line {
    /// The line as JSON, without a line end. The encoding escapes control characters, so a function can't forge a second line.
    pub fn json(&self) -> String {
        let written = if self.text.len() <= LONGEST {
            serde_json::to_string(self)
        } else {
            let kept = self.text.floor_char_boundary(LONGEST);
            let text = format!("{} [{} bytes cut off]", &self.text[..kept], self.text.len() - kept);
            serde_json::to_string(&Self { text, ..self.clone() })
        };
        written.expect("strings and numbers always serialise")
    }
}
