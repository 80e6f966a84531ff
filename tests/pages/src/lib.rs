//! Pages of `docs/reference`. The test of a generated page makes it again from the code and
//! compares; the test of a page that is written by hand reads it and compares names.
//!
//! For tests only: what is wrong is a panic.

use std::fs;
use std::path::{Path, PathBuf};

/// The variable that makes tests write generated pages.
pub const UPDATE: &str = "UPDATE_DOCS";

/// The text of a page in `docs/reference`.
///
/// # Panics
/// There is no such page.
pub fn read(name: &str) -> String {
    let path = path(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Compares a page of `docs/reference` with what the code gives now, or writes it where
/// `UPDATE_DOCS` is set.
///
/// # Panics
/// The page is not the same, or cannot be written.
pub fn check(name: &str, generated: &str) {
    let path = path(name);
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&path, generated).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        return;
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    if let Some((line, expected)) = first_difference(&found, generated) {
        panic!(
            "docs/reference/{name} is stale from line {line}, where the code has {expected:?}: \
             {UPDATE}=1 cargo nextest run --workspace reference writes it again"
        );
    }
}

/// A row of a table. A bar inside a cell would end it.
pub fn row(cells: &[&str]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    format!("| {} |\n", cells.join(" | "))
}

/// The head of a table.
pub fn head(names: &[&str]) -> String {
    format!("{}|{}\n", row(names), "---|".repeat(names.len()))
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference").join(name)
}

/// The number of the first line that is not the same, and what is expected there.
fn first_difference<'a>(found: &str, expected: &'a str) -> Option<(usize, &'a str)> {
    let mut lines = found.split('\n');
    let mut wanted = expected.split('\n').enumerate();
    let differs = wanted.find(|(_, line)| lines.next() != Some(line));
    let missing = || lines.next().map(|_| (expected.split('\n').count() + 1, "nothing"));
    differs.map(|(at, line)| (at + 1, line)).or_else(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn difference_is_the_first_line_that_is_not_the_same() {
        assert_eq!(first_difference("a\nb\n", "a\nb\n"), None);
        assert_eq!(first_difference("a\nb\n", "a\nc\nd\n"), Some((2, "c")));
        assert_eq!(first_difference("a\n", "a\nb\n"), Some((2, "b")));
        assert_eq!(first_difference("a\nb\n", "a\n"), Some((2, "")));
        assert_eq!(first_difference("a\nb", "a"), Some((2, "nothing")));
        assert_eq!(first_difference("", "a"), Some((1, "a")));
    }

    #[test]
    fn table_row_escapes_bars() {
        assert_eq!(row(&["a|b", "c"]), "| a\\|b | c |\n");
        assert_eq!(head(&["a", "b"]), "| a | b |\n|---|---|\n");
    }
}
