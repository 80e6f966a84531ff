//! What a command prints: results on stdout, everything else on stderr.
//!
//! Text that came from elsewhere (a job's name, a log line) may carry terminal commands, so text
//! is printed without control characters and invisible ones. JSON is printed as the server sent
//! it, but for those characters, which are escaped.

use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Write};

use common::text::{escaped, shown};
use serde_json::Value;

use crate::failure::Failure;

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    Text,
    Json,
}

impl Output {
    /// Prints one result, as the JSON text or as lines made from it.
    pub fn result<L: Display>(
        self,
        json: &str,
        lines: impl FnOnce() -> Vec<L>,
    ) -> Result<(), Failure> {
        match self {
            Self::Json => print(&escaped(json.trim_end())),
            Self::Text => lines().iter().try_for_each(line),
        }
    }
}

/// What a list is: a header, rows of as many cells, and a word for when there are none.
pub struct Table<'a> {
    pub header: &'a [&'a str],
    pub rows: Vec<Vec<String>>,
    pub empty: &'a str,
}

impl Output {
    /// Prints a list, as the JSON text or in columns.
    pub fn table(self, json: &str, table: impl FnOnce() -> Table<'static>) -> Result<(), Failure> {
        if self == Self::Json {
            return self.result::<String>(json, Vec::new);
        }
        let table = table();
        if table.rows.is_empty() {
            note(table.empty);
            return Ok(());
        }
        table.lines().iter().try_for_each(line)
    }
}

impl Table<'_> {
    /// Each column as wide as its widest cell.
    fn lines(&self) -> Vec<String> {
        let header: Vec<String> = self.header.iter().map(|name| name.to_uppercase()).collect();
        let rows: Vec<Vec<String>> = std::iter::once(&header)
            .chain(&self.rows)
            .map(|row| row.iter().map(|cell| shown(cell)).collect())
            .collect();
        let width = |column: usize| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..header.len()).map(width).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        rows.iter().map(line).collect()
    }
}

/// A time of the server's to the second, without its zone, which is UTC.
pub fn moment(time: &str) -> String {
    time.get(..19).unwrap_or(time).replace('T', " ")
}

/// Prints one line on stdout.
pub fn line(text: impl Display) -> Result<(), Failure> {
    print(&shown(&text.to_string()))
}

/// Tells the person at the terminal something; a closed stderr is no reason to stop.
pub fn note(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{}", shown(&text.to_string()));
}

/// JSON text as indented lines, for eyes.
pub fn pretty(json: &str) -> Vec<String> {
    serde_json::from_str::<Value>(json)
        .and_then(|value| serde_json::to_string_pretty(&value))
        .map_or_else(|_| vec![json.to_owned()], |text| text.lines().map(str::to_owned).collect())
}

/// Whether a person is watching stderr.
pub fn is_watched() -> bool {
    io::stderr().is_terminal()
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(|error| {
        if error.kind() == ErrorKind::BrokenPipe {
            return Failure::OutputClosed;
        }
        Failure::local("cannot write the output", error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_has_a_header_and_columns() {
        let rows = vec![
            vec!["a".to_owned(), "long name".to_owned()],
            vec!["bcd".to_owned(), String::new()],
        ];

        let lines = Table { header: &["id", "name"], rows, empty: "" }.lines();

        assert_eq!(lines, ["ID   NAME", "a    long name", "bcd"]);
    }

    #[test]
    fn moment_is_a_time_to_the_second() {
        assert_eq!(moment("2026-11-28T15:26:48.123Z"), "2026-11-28 15:26:48");
        assert_eq!(moment("x"), "x");
    }
}
