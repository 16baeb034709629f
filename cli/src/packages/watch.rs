//! Runs an installer to its end, and shows its last line while it works.
//!
//! Its two outputs go into one pipe, so that they stay in order. Only the end of them is kept: that is where the
//! reason of a failure stands, and an installer that prints without end must not fill the memory.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read};
use std::process::{Command, ExitStatus, Stdio};

use crate::render::Step;

/// How many lines of output are kept, and how many bytes of one line.
const KEPT_LINES: usize = 60;
const KEPT_LINE: u64 = 4096;

/// Runs the command. The text is the end of what it printed.
pub(super) fn run(mut command: Command, step: &Step) -> io::Result<(ExitStatus, String)> {
    let (reader, writer) = io::pipe()?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn()?;
    // The command holds this process's copies of the writing end; while they are open, the pipe has no end.
    drop(command);
    let lines = keep(reader, step);
    let status = child.wait()?;
    Ok((status, Vec::from(lines?).join("\n")))
}

/// Reads to the end, keeping the last lines.
fn keep(reader: impl Read, step: &Step) -> io::Result<VecDeque<String>> {
    let mut reader = BufReader::new(reader);
    let mut kept = VecDeque::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        if reader.by_ref().take(KEPT_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(kept);
        }
        let text = String::from_utf8_lossy(&line);
        let text: String = text
            .chars()
            .filter(|character| !character.is_control() || *character == '\t')
            .collect();
        let text = text.trim_end();
        if text.is_empty() {
            continue;
        }
        step.note(text);
        if kept.len() == KEPT_LINES {
            kept.pop_front();
        }
        kept.push_back(text.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::Progress;

    #[test]
    fn only_the_end_is_kept_and_control_characters_are_not() {
        let text: String = (0..1000).map(|n| format!("\u{1b}[31mline {n}\r\n\n")).collect();
        let kept = keep(text.as_bytes(), &Progress::Lines.step("test")).unwrap();
        assert_eq!(kept.len(), KEPT_LINES);
        assert_eq!(kept.back().map(String::as_str), Some("[31mline 999"));
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let text = "x".repeat(10_000);
        let kept = keep(text.as_bytes(), &Progress::Lines.step("test")).unwrap();
        assert_eq!(kept.iter().map(String::len).collect::<Vec<_>>(), [4096, 4096, 1808]);
    }
}
