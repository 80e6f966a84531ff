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
