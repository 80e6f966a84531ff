//! Takes secrets' values out of what a container says before it goes anywhere.
//!
//! It finds a value as it is, line by line, and as JSON writes it. A container that encodes its
//! secret in another way, or says it letter by letter, shows it to its own workspace all the same.

use std::fmt;
use std::sync::Arc;

use aho_corasick::AhoCorasick;
use common::secret::{Hidden, Secret};

const MARK: &[u8] = b"***";
/// Shorter values would be found everywhere, and are no secrets.
const CHARS_MIN: usize = 4;

/// Knows the values; clones share them. It has no values to show in logs.
#[derive(Clone, Default)]
pub struct Redactor {
    found: Option<Arc<Found>>,
}

struct Found {
    values: AhoCorasick,
    longest: usize,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redactor")
    }
}

impl Redactor {
    /// Knows the values of secrets, and others that must not be seen.
    pub fn new(secrets: &[Secret], hidden: &[Hidden]) -> Self {
        let secrets = secrets.iter().flat_map(|s| [&s.secret_key.0, &s.access_key.0]);
        let hidden = hidden.iter().map(|hidden| &hidden.0);
        let mut values: Vec<String> = secrets.chain(hidden).flat_map(forms).collect();
        values.retain(|value| value.chars().count() >= CHARS_MIN);
        values.sort();
        values.dedup();
        let longest = values.iter().map(String::len).max();
        let Some(longest) = longest else { return Self::default() };
        // Bounded by what the secrets of one container may have together.
        let values = AhoCorasick::new(&values).expect("so few bytes make an automaton");
        Self { found: Some(Arc::new(Found { values, longest })) }
    }

    /// The bytes of the longest value: to know whether a value begins in a text, this many more have
    /// to be seen.
    pub fn longest(&self) -> usize {
        self.found.as_ref().map_or(0, |found| found.longest)
    }

    /// The first `bytes_max` bytes without the values that are in them or begin in them, and how many
    /// bytes that was: a value that begins in them is taken whole.
    pub fn bytes(&self, text: &[u8], bytes_max: usize) -> (Vec<u8>, usize) {
        let end = text.len().min(bytes_max);
        let (mut clean, mut done) = (Vec::with_capacity(end), 0);
        for (from, to) in self.ranges(text) {
            if from >= end {
                break;
            }
            clean.extend_from_slice(&text[done..from]);
            clean.extend_from_slice(MARK);
            done = to;
        }
        if done < end {
            clean.extend_from_slice(&text[done..end]);
            done = end;
        }
        (clean, done)
    }

    pub fn text(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.bytes(text.as_bytes(), text.len()).0).into_owned()
    }

    /// Where values are, in order; those that touch are one.
    fn ranges(&self, text: &[u8]) -> Vec<(usize, usize)> {
        let Some(found) = &self.found else { return Vec::new() };
        let mut all: Vec<(usize, usize)> =
            found.values.find_overlapping_iter(text).map(|hit| (hit.start(), hit.end())).collect();
        all.sort_unstable();
        let mut ranges: Vec<(usize, usize)> = Vec::new();
        for (from, to) in all {
            match ranges.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(to),
                _ => ranges.push((from, to)),
            }
        }
        ranges
    }
}

/// How a value may look in a line.
fn forms(value: &String) -> Vec<String> {
    let json = serde_json::to_string(value).unwrap_or_default();
    let inside = json.strip_prefix('"').and_then(|json| json.strip_suffix('"')).unwrap_or(&json);
    let mut forms: Vec<String> = value.lines().map(|line| line.trim().to_owned()).collect();
    forms.push(inside.to_owned());
    forms
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::secret;

    fn redactor(values: &[&str]) -> Redactor {
        let secrets: Vec<_> = values.iter().map(|value| secret("A", value)).collect();
        Redactor::new(&secrets, &[])
    }

    #[test]
    fn redaction_removes_every_form_of_a_value() {
        let redactor = redactor(&["TOP\"SECRET", "-----KEY\nline two\r\nend!\n"]);

        assert_eq!(redactor.text("a TOP\"SECRET b"), "a *** b");
        assert_eq!(redactor.text(r#"{"k":"TOP\"SECRET"}"#), r#"{"k":"***"}"#);
        assert_eq!(redactor.text("x line two y"), "x *** y");
        assert_eq!(redactor.text(r"-----KEY\nline two\r\nend!\n"), "***");
        assert_eq!(redactor.text("nothing"), "nothing");
    }

    #[test]
    fn redaction_removes_overlapping_values() {
        let redactor = redactor(&["abcdef", "defghi", "aaaa"]);

        assert_eq!(redactor.text("abcdefghi"), "***");
        assert_eq!(redactor.text("xaaaaaay"), "x***y");
    }

    #[test]
    fn redaction_ignores_values_too_short_for_a_secret() {
        assert_eq!(redactor(&["abc", ""]).text("abc"), "abc");
    }

    #[test]
    fn redaction_removes_a_value_that_is_cut_off() {
        let redactor = redactor(&["SECRET"]);

        assert_eq!(redactor.bytes(b"12345SECRET6", 8), (b"12345***".to_vec(), 11));
        assert_eq!(redactor.bytes(b"SECRETSECRET12345", 13), (b"***1".to_vec(), 13));
    }
}
