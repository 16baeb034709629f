//! From bytes, cut anywhere, to lines that are safe to print.

use functions::printable;

/// The longest line that is reported in one piece, in bytes; a longer one is cut.
pub(crate) const LONGEST: usize = 16 << 10;

/// Splits bytes at newlines and keeps the last, unfinished line.
#[derive(Debug, Default)]
pub(super) struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    /// Adds bytes and reports every line that is complete, without its newline.
    pub(super) fn push(&mut self, mut bytes: &[u8], mut report: impl FnMut(&[u8])) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(end);
            self.extend(line, &mut report);
            report(&self.rest);
            self.rest.clear();
            bytes = &rest[1..];
        }
        self.extend(bytes, &mut report);
    }

    /// Reports the unfinished line, if there is one.
    pub(super) fn flush(&mut self, mut report: impl FnMut(&[u8])) {
        if !self.rest.is_empty() {
            report(&self.rest);
            // An instance may live for days after its one long line.
            self.rest = Vec::new();
        }
    }

    fn extend(&mut self, mut bytes: &[u8], report: &mut impl FnMut(&[u8])) {
        while self.rest.len() + bytes.len() > LONGEST {
            let (now, later) = bytes.split_at(LONGEST - self.rest.len());
            self.rest.extend_from_slice(now);
            report(&self.rest);
            self.rest.clear();
            bytes = later;
        }
        self.rest.extend_from_slice(bytes);
    }
}

/// A line as it is reported: invalid UTF-8 becomes U+FFFD, a carriage return at the end goes, and controls are shown.
pub(super) fn shown(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    printable(&String::from_utf8_lossy(line)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn collect(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let (mut lines, mut out) = (Lines::default(), Vec::new());
        for piece in pieces {
            lines.push(piece, |line| out.push(line.to_vec()));
        }
        lines.flush(|line| out.push(line.to_vec()));
        out
    }

    #[test]
    fn lines_are_put_together_and_cut() {
        assert_eq!(collect(&[b"a\nb", b"c\n\nd"]), [&b"a"[..], b"bc", b"", b"d"]);
        let long = vec![b'x'; 2 * LONGEST + 1];
        let cut = collect(&[&long, b"\n"]);
        assert_eq!(cut.iter().map(Vec::len).collect::<Vec<_>>(), [LONGEST, LONGEST, 1]);
    }

    #[test]
    fn a_shown_line_has_neither_controls_nor_its_end() {
        assert_eq!(shown(b"\x1b[2Jhi\tthere\r"), "\\x1b[2Jhi\tthere");
        assert_eq!(shown(b"\xff\xfe ok"), "\u{fffd}\u{fffd} ok");
    }

    proptest! {
        #[test]
        fn where_bytes_are_cut_makes_no_difference(bytes: Vec<u8>, at in 0usize..64) {
            let at = at.min(bytes.len());
            prop_assert_eq!(collect(&[&bytes]), collect(&[&bytes[..at], &bytes[at..]]));
        }
    }
}
