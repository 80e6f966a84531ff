//! A container's output as lines.

use super::LINE_BYTES_MAX;
use crate::logs::redact::Redactor;

/// Cuts a stream of bytes into lines, and takes secrets out of them. What is longer than a line may
/// be is continued in the next. A carriage return lets what follows replace the line, as terminals
/// show it: of a progress bar, only states are worth a line of their own.
#[derive(Debug, Default)]
pub struct Lines {
    line: Vec<u8>,
    redactor: Redactor,
    /// The last byte was a carriage return.
    returned: bool,
    /// The line has been replaced, or will be.
    is_progress: bool,
    /// Something of the line was not shown yet.
    is_news: bool,
}

impl Lines {
    pub fn new(redactor: Redactor) -> Self {
        Self { redactor, ..Self::default() }
    }

    /// Takes the next bytes and gives the lines that end in them.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            self.keep(&bytes[..end], &mut lines);
            if bytes[end] == b'\r' {
                self.returned = true;
            } else {
                self.end(&mut lines);
            }
            bytes = &bytes[end + 1..];
        }
        self.keep(bytes, &mut lines);
        lines
    }

    /// The last line, if it was not ended.
    pub fn rest(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.line.is_empty() {
            self.end(&mut lines);
        }
        lines
    }

    /// How far a line has come that is written again and again, if that is news.
    pub fn progress(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        if (self.is_progress || self.returned) && self.is_news {
            self.is_progress = true;
            self.is_news = false;
            self.show(self.line.len(), &mut lines);
        }
        lines
    }

    fn keep(&mut self, mut bytes: &[u8], lines: &mut Vec<String>) {
        if bytes.is_empty() {
            return;
        }
        self.is_news = true;
        if std::mem::take(&mut self.returned) {
            self.is_progress = true;
            self.line.clear();
        }
        // A secret that begins within the line may end beyond it.
        let most = LINE_BYTES_MAX + self.redactor.longest();
        while self.line.len() + bytes.len() > most {
            let (now, later) = bytes.split_at(most - self.line.len());
            self.line.extend_from_slice(now);
            let shown = self.show(boundary(&self.line), lines);
            self.line.drain(..shown);
            bytes = later;
        }
        self.line.extend_from_slice(bytes);
    }

    fn end(&mut self, lines: &mut Vec<String>) {
        if self.is_news || !self.is_progress {
            self.show(self.line.len(), lines);
        }
        self.line.clear();
        (self.returned, self.is_progress, self.is_news) = (false, false, false);
    }

    /// Adds the line's first bytes to the lines; gives how many they were in the end.
    fn show(&self, end: usize, lines: &mut Vec<String>) -> usize {
        let (clean, shown) = self.redactor.bytes(&self.line, end);
        // What a database cannot keep as text would cost the whole batch.
        let text = String::from_utf8_lossy(&clean).replace('\0', "\u{fffd}");
        let mut text = text.as_str();
        // What is no text becomes longer.
        while text.len() > LINE_BYTES_MAX {
            let (line, rest) = text.split_at(text.floor_char_boundary(LINE_BYTES_MAX));
            lines.push(line.to_owned());
            text = rest;
        }
        lines.push(text.to_owned());
        shown
    }
}

/// Where a line is cut that is too long: not within a character.
fn boundary(line: &[u8]) -> usize {
    let is_start = |end: &usize| line.get(*end).is_none_or(|byte| byte & 0xc0 != 0x80);
    (LINE_BYTES_MAX - 3..=LINE_BYTES_MAX).rev().find(is_start).unwrap_or(LINE_BYTES_MAX)
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
        assert_eq!(lines.rest(), ["three \u{fffd}\u{fffd}"]);
        assert!(lines.rest().is_empty());
    }

    #[test]
    fn lines_that_are_overwritten_show_their_newest_state() {
        let mut lines = Lines::default();

        assert!(lines.progress().is_empty());
        assert!(lines.feed(b"\rstep 1/400").is_empty());
        assert!(lines.feed(b"\rstep 2/400").is_empty());
        assert_eq!(lines.progress(), ["step 2/400"]);
        assert!(lines.progress().is_empty());
        for step in 3..=400 {
            assert!(lines.feed(format!("\rstep {step}/400").as_bytes()).is_empty());
        }
        assert_eq!(lines.feed(b"\ndone\r\n50%\r"), ["step 400/400", "done"]);
        assert_eq!(lines.progress(), ["50%"]);
        // It has been shown already.
        assert!(lines.feed(b"\r\n").is_empty());
        assert_eq!(lines.feed(b"a\rb\r\n\n"), ["b", ""]);
        assert!(lines.feed(b"no end").is_empty());
        assert!(lines.progress().is_empty());
        assert_eq!(lines.rest(), ["no end"]);
    }

    #[test]
    fn lines_that_are_too_long_are_continued() {
        for text in ["ab".repeat(10_000), "a\u{20ac}".repeat(5000), "\u{1f980}".repeat(5000)] {
            for piece in [1, 1000, 100_000] {
                let mut lines = Lines::default();
                let mut cut = Vec::new();
                for bytes in text.as_bytes().chunks(piece) {
                    cut.extend(lines.feed(bytes));
                }
                cut.extend(lines.feed(b"\nnext\n"));

                assert_eq!(cut.pop().unwrap(), "next");
                assert!(cut.iter().all(|line| line.len() <= LINE_BYTES_MAX));
                assert_eq!(cut.concat(), text);
            }
        }
        let mut lines = Lines::default();
        let cut = [lines.feed(&[0xff; 20_000]), lines.rest()].concat();
        assert!(cut.iter().all(|line| line.len() <= LINE_BYTES_MAX));
        assert_eq!(cut.concat().chars().count(), 20_000);
    }

    #[test]
    fn secret_is_removed_wherever_the_stream_is_cut() {
        let text = b"a SECRET\nSECRETSECRET b\nSECRET";
        for at in 0..text.len() {
            let mut lines = Lines::new(Redactor::new(&[secret("A", "SECRET")], &[]));

            let mut cut = lines.feed(&text[..at]);
            cut.extend(lines.feed(&text[at..]));
            cut.extend(lines.rest());

            assert_eq!(cut, ["a ***", "*** b", "***"], "{at}");
        }
    }

    #[test]
    fn secret_across_the_end_of_a_long_line_is_removed() {
        for before in LINE_BYTES_MAX - 10..LINE_BYTES_MAX + 2 {
            let mut lines = Lines::new(Redactor::new(&[secret("A", "SECRET")], &[]));
            let text = format!("{}SECRET{}\n", "x".repeat(before), "y".repeat(100));

            let cut = lines.feed(text.as_bytes());

            assert!(cut.iter().all(|line| line.len() <= LINE_BYTES_MAX + 3), "{before}");
            assert_eq!(cut.concat().trim_start_matches('x'), format!("***{}", "y".repeat(100)));
        }
    }
}
