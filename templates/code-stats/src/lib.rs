//! Counts source code, language by language.
//!
//! The input has one line of source per line: `<language>\t<source line>`. A line without a tab,
//! or whose language is not 1 to 32 printable ASCII characters, counts under `other`, whole.
//! Everything is counted in bytes, so any encoding will do:
//!
//! - *bytes*: the source line without its newline
//! - *words*: the longest runs of bytes that are not a space, tab, carriage return or form feed
//! - *blank*: the line has no word
//! - *comment*: its first word begins with one of the language's markers of a line comment

use std::collections::BTreeMap;
use std::io::{self, BufRead};

use serde::{Deserialize, Serialize};

pub mod table;

const LANGUAGE_BYTES_MAX: usize = 32;
const OTHER: &str = "other";

/// What was counted of one language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    pub lines: u64,
    pub blank: u64,
    pub comment: u64,
    pub words: u64,
    pub bytes: u64,
}

impl Counts {
    pub fn add(&mut self, more: &Self) {
        self.lines += more.lines;
        self.blank += more.blank;
        self.comment += more.comment;
        self.words += more.words;
        self.bytes += more.bytes;
    }

    fn count(&mut self, source: &[u8], markers: &[&str]) {
        let mut words = source.split(is_space).filter(|word| !word.is_empty());
        self.lines += 1;
        self.bytes += source.len() as u64;
        match words.next() {
            None => self.blank += 1,
            Some(first) => {
                self.words += 1 + words.count() as u64;
                if markers.iter().any(|marker| first.starts_with(marker.as_bytes())) {
                    self.comment += 1;
                }
            }
        }
    }
}

/// Counts by language.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Stats(pub BTreeMap<String, Counts>);

impl Stats {
    /// Counts everything that the reader gives.
    pub fn of(mut input: impl BufRead) -> io::Result<Self> {
        let mut stats = Self::default();
        let mut line = Vec::new();
        while input.read_until(b'\n', &mut line)? > 0 {
            if line.last() == Some(&b'\n') {
                line.pop();
            }
            let (language, source) = split(&line);
            stats.entry(language).count(source, markers(language));
            line.clear();
        }
        Ok(stats)
    }

    /// Adds what was counted elsewhere.
    pub fn add(&mut self, more: &Self) {
        for (language, counts) in &more.0 {
            self.entry(language).add(counts);
        }
    }

    /// The sum over all languages.
    pub fn total(&self) -> Counts {
        let mut total = Counts::default();
        for counts in self.0.values() {
            total.add(counts);
        }
        total
    }

    fn entry(&mut self, language: &str) -> &mut Counts {
        // Looked up first: a name is copied once a language, not once a line.
        if !self.0.contains_key(language) {
            self.0.insert(language.to_owned(), Counts::default());
        }
        self.0.get_mut(language).expect("it was put in above")
    }
}

/// The language of a line, and the source line.
fn split(line: &[u8]) -> (&str, &[u8]) {
    let Some(tab) = line.iter().position(|byte| *byte == b'\t') else { return (OTHER, line) };
    let name = &line[..tab];
    let is_name = (1..=LANGUAGE_BYTES_MAX).contains(&name.len())
        && name.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
    match std::str::from_utf8(name) {
        Ok(name) if is_name => (name, &line[tab + 1..]),
        _ => (OTHER, line),
    }
}

/// What a line comment begins with.
fn markers(language: &str) -> &'static [&'static str] {
    match language {
        "Rust" | "C" | "C++" | "JavaScript" | "TypeScript" | "Java" | "Go" => &["//"],
        "Python" | "Shell" | "TOML" | "YAML" | "Perl" | "CMake" | "Make" => &["#"],
        "Assembly" => &["//", "#", ";"],
        "SQL" => &["--"],
        _ => &[],
    }
}

fn is_space(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\x0c')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counts(lines: u64, blank: u64, comment: u64, words: u64, bytes: u64) -> Counts {
        Counts { lines, blank, comment, words, bytes }
    }

    #[test]
    fn lines_are_counted_by_their_language() {
        let input = b"Rust\tfn main() {}\nRust\t  /// doc\nRust\t\nPython\t\t# c\r\nPython\tx//y";

        let stats = Stats::of(input.as_slice()).unwrap();

        assert_eq!(stats.0["Rust"], counts(3, 1, 1, 5, 21));
        assert_eq!(stats.0["Python"], counts(2, 0, 1, 3, 9));
        assert_eq!(stats.total(), counts(5, 1, 2, 8, 30));
    }

    #[test]
    fn unknown_extension_is_other() {
        let long = [b"x".repeat(33), b"\ta\n".to_vec()].concat();
        for input in [b"no tab\n".as_slice(), b"\tempty\n", b"\xff\tx\n", b"a\x1bb\tx\n", &long] {
            let stats = Stats::of(input).unwrap();

            assert_eq!(stats.0["other"].bytes, input.len() as u64 - 1);
        }
    }

    proptest! {
        #[test]
        fn counts_of_folded_chunks_equal_the_count_of_the_whole(
            lines in proptest::collection::vec("(Rust|Python|C|)\t?[ \t/#a-z\r]{0,20}", 0..60),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(lines.len() + 1)).collect();
            cuts.extend([0, lines.len()]);
            cuts.sort_unstable();
            let text = |lines: &[String]| -> String {
                lines.iter().map(|line| format!("{line}\n")).collect()
            };

            let mut folded = Stats::default();
            for pair in cuts.windows(2) {
                folded.add(&Stats::of(text(&lines[pair[0]..pair[1]]).as_bytes()).unwrap());
            }

            prop_assert_eq!(folded, Stats::of(text(&lines).as_bytes()).unwrap());
        }
    }
}
