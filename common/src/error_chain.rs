//! An error with everything that caused it, as one line: how logs and reports show errors.

use std::error::Error;
use std::fmt;
use std::fmt::Write as _;

/// The error with its chain of sources, joined by `": "`.
pub fn chain<'a>(error: &'a (dyn Error + 'a)) -> Chain<'a> {
    Chain(error)
}

/// Displays an error with its sources. It is always one line, so that what others have put into an
/// error cannot look like a line of the log.
#[derive(Debug, Clone, Copy)]
pub struct Chain<'a>(&'a (dyn Error + 'a));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut whole = self.0.to_string();
        let mut next = self.0.source();
        while let Some(source) = next {
            let text = source.to_string();
            // Some errors repeat the words of their source.
            if !whole.contains(&text) {
                whole = format!("{whole}: {text}");
            }
            next = source.source();
        }
        for char in whole.chars() {
            f.write_char(if char.is_control() { ' ' } else { char })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Caused<E: Error + 'static> {
        text: &'static str,
        source: E,
    }

    #[test]
    fn chain_shows_each_cause_once() {
        let inner = Caused { text: "write: disk full", source: io::Error::other("disk full") };
        let error = Caused { text: "cannot store the run", source: inner };

        assert_eq!(chain(&error).to_string(), "cannot store the run: write: disk full");
        assert_eq!(chain(&io::Error::other("alone")).to_string(), "alone");
    }

    #[test]
    fn chain_is_one_line() {
        let error =
            Caused { text: "refused", source: io::Error::other("a\n2026 INFO forged\x1b[") };

        assert_eq!(chain(&error).to_string(), "refused: a 2026 INFO forged [");
    }
}
