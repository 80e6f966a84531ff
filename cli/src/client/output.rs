//! What a command prints: results on stdout, everything else on stderr.
//!
//! Text that came from elsewhere (a job's name, a log line) may carry terminal commands, so text
//! is printed without control characters and invisible ones. JSON is printed as the server sent
//! it, but for those characters, which are escaped.

use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Write};

use common::input::text::{escaped, shown};
use reqwest::Url;
use serde::Deserialize;
use serde_json::Value;

use crate::client::failure::Failure;

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

/// What a list is: a header, rows of as many cells, and a word for when there are none. Columns
/// of numbers stand to the right.
pub struct Table<'a> {
    pub header: &'a [&'a str],
    pub rows: Vec<Vec<String>>,
    pub empty: &'a str,
}

/// Which part of a list is shown.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Page {
    /// Maximum number of rows
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,
    /// Number of rows to skip
    #[arg(long, default_value_t = 0)]
    pub offset: u32,
}

impl Page {
    pub fn ask(self, url: &mut Url) {
        url.query_pairs_mut()
            .append_pair("pagination.limit", &self.limit.to_string())
            .append_pair("pagination.offset", &self.offset.to_string());
    }
}

/// What the server says of the rest of a list.
#[derive(Deserialize)]
struct Paged {
    pagination: Option<Rest>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rest {
    total: Option<u64>,
    offset: Option<u64>,
    has_next: bool,
}

/// What is said below a list of which only a part is shown; empty where all of it is.
fn rest(json: &str, shown: usize) -> Option<String> {
    let Rest { total, offset, has_next } = serde_json::from_str::<Paged>(json).ok()?.pagination?;
    let (total, next) = (total?, offset? + shown as u64);
    match shown {
        0 if total > 0 => Some(format!("there are {total}, none of them after --offset {next}")),
        0 => None,
        _ if has_next => Some(format!("{shown} of {total}: --offset {next} shows the next")),
        _ => None,
    }
}

impl Output {
    /// Prints a list, as the JSON text or in columns.
    pub fn table(self, json: &str, table: impl FnOnce() -> Table<'static>) -> Result<(), Failure> {
        if self == Self::Json {
            return self.result::<String>(json, Vec::new);
        }
        let table = table();
        let rest = rest(json, table.rows.len());
        if table.rows.is_empty() {
            note(rest.as_deref().unwrap_or(table.empty));
            return Ok(());
        }
        table.lines().iter().try_for_each(line)?;
        if let Some(rest) = rest {
            note(rest);
        }
        Ok(())
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
        let is_number = |cell: &String| {
            let rest = cell.trim_start_matches('-').replacen('.', "", 1);
            !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit())
        };
        let is_of_numbers = |column: usize| {
            let mut cells = rows.iter().skip(1).filter_map(|row| row.get(column));
            cells.all(is_number)
        };
        let numbers: Vec<bool> = (0..header.len()).map(is_of_numbers).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(widths.iter().zip(&numbers));
            let cells = cells.map(|(cell, (width, is_right))| match is_right {
                true => format!("{cell:>width$}"),
                false => format!("{cell:<width$}"),
            });
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
    fn table_aligns_numbers_to_the_right() {
        let row = |name: &str, n: &str, amount: &str| {
            vec![name.to_owned(), n.to_owned(), amount.to_owned(), "1 of 2".to_owned()]
        };
        let rows = vec![row("a", "9", "-0.50"), row("b", "10", "12.25")];

        let lines = Table { header: &["id", "n", "credits", "x"], rows, empty: "" }.lines();

        assert_eq!(
            lines,
            ["ID   N  CREDITS  X", "a    9    -0.50  1 of 2", "b   10    12.25  1 of 2"]
        );
    }

    #[test]
    fn table_shows_how_much_of_its_list_remains() {
        let page = |total: u64, offset: u64, has_next: bool| {
            format!(
                r#"{{"pagination":{{"total":{total},"offset":{offset},"hasPrevious":false,
                   "hasNext":{has_next}}},"data":[]}}"#
            )
        };

        let more = rest(&page(7, 2, true), 3).unwrap();
        assert_eq!(more, "3 of 7: --offset 5 shows the next");
        assert_eq!(rest(&page(7, 4, false), 3), None);
        assert_eq!(
            rest(&page(7, 9, false), 0).unwrap(),
            "there are 7, none of them after --offset 9"
        );
        assert_eq!(rest(&page(0, 0, false), 0), None);
        assert_eq!(rest(r#"{"keys":[]}"#, 0), None);
    }

    #[test]
    fn moment_is_a_time_to_the_second() {
        assert_eq!(moment("2026-11-28T15:26:48.123Z"), "2026-11-28 15:26:48");
        assert_eq!(moment("x"), "x");
    }
}
