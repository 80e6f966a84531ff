//! A container's output as lines.

use super::LINE_BYTES_MAX;
use crate::redact::Redactor;

/// Cuts a stream of bytes into lines, and takes secrets out of them.
#[derive(Debug, Default)]
pub struct Lines {
    line: Vec<u8>,
    redactor: Redactor,
}

impl Lines {
    pub fn new(redactor: Redactor) -> Self {
        Self { line: Vec::new(), redactor }
    }

    /// Takes the next bytes and gives the lines that end in them.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.keep(&bytes[..end]);
            lines.push(self.take());
            bytes = &bytes[end + 1..];
        }
        self.keep(bytes);
        lines
    }

    /// The last line, if it was not ended.
    pub fn rest(&mut self) -> Option<String> {
        if self.line.is_empty() { None } else { Some(self.take()) }
    }

    fn keep(&mut self, bytes: &[u8]) {
        // A secret that begins within the line may end beyond it.
        let room = LINE_BYTES_MAX + self.redactor.longest() - self.line.len();
        self.line.extend_from_slice(&bytes[..room.min(bytes.len())]);
    }

    fn take(&mut self) -> String {
        let line = std::mem::take(&mut self.line);
        let line = self.redactor.bytes(&line, LINE_BYTES_MAX);
        let text = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(&line));
        // What a database cannot keep as text would cost the whole batch.
        let mut text = text.replace('\0', "\u{fffd}");
        text.truncate(text.floor_char_boundary(LINE_BYTES_MAX));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::secret;

    #[test]
    fn lines_are_cut_wherever_the_pieces_end() {
        let mut lines = Lines::default();

        assert_eq!(lines.feed(b"one\ntw"), ["one"]);
        assert_eq!(lines.feed(b"o\r\n\nthree \xff\0"), ["two", ""]);
        assert_eq!(lines.rest().as_deref(), Some("three \u{fffd}\u{fffd}"));
        assert_eq!(lines.rest(), None);
    }

    #[test]
    fn a_line_without_end_is_bounded() {
        let mut lines = Lines::default();
        for _ in 0..10 {
            assert!(lines.feed(&[0xff; 8000]).is_empty());
        }

        let line = &lines.feed(b"\nnext\n")[..];
        assert!(line[0].len() <= LINE_BYTES_MAX);
        assert_eq!(line[1], "next");
    }

    #[test]
    fn no_cut_of_the_stream_lets_a_secret_through() {
        let text = b"a SECRET\nSECRETSECRET b\nSECRET";
        for at in 0..text.len() {
            let mut lines = Lines::new(Redactor::new(&[secret("A", "SECRET")]));

            let mut cut = lines.feed(&text[..at]);
            cut.extend(lines.feed(&text[at..]));
            cut.extend(lines.rest());

            assert_eq!(cut, ["a ***", "*** b", "***"], "{at}");
        }
    }

    #[test]
    fn a_secret_across_the_end_of_a_long_line_is_not_shown_in_half() {
        for before in LINE_BYTES_MAX - 10..LINE_BYTES_MAX + 2 {
            let mut lines = Lines::new(Redactor::new(&[secret("A", "SECRET")]));
            let text = format!("{}SECRET{}\n", "x".repeat(before), "y".repeat(100));

            let line = lines.feed(text.as_bytes()).remove(0);

            assert!(!line.contains("SE") && line.len() <= LINE_BYTES_MAX, "{before}");
        }
    }
}
