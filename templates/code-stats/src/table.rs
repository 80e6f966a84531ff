//! The counts as a table for eyes.

use std::fmt;

use crate::{Counts, Stats};

/// Prints one row a language, the largest first, and the sum.
pub struct Table<'a>(pub &'a Stats);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:12} {:>12} {:>12} {:>12} {:>14} {:>16}",
            "language", "lines", "blank", "comment", "words", "bytes"
        )?;
        let mut rows: Vec<_> = self.0.0.iter().collect();
        rows.sort_by(|(one, a), (two, b)| b.lines.cmp(&a.lines).then(one.cmp(two)));
        for (language, counts) in rows {
            row(f, language, counts)?;
        }
        row(f, "total", &self.0.total())
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, counts: &Counts) -> fmt::Result {
    let Counts { lines, blank, comment, words, bytes } = counts;
    writeln!(f, "{name:12} {lines:>12} {blank:>12} {comment:>12} {words:>14} {bytes:>16}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_begins_with_the_largest_language_and_ends_with_the_sum() {
        let stats = Stats::of(b"A\tx\nB\ty\nB\tz\n".as_slice()).unwrap();

        let table = Table(&stats).to_string();

        let names: Vec<_> =
            table.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
        assert_eq!(names, ["language", "B", "A", "total"]);
    }
}
