//! Output of a test for its readers.

use std::fmt;

/// Says something aloud: why a test was skipped, or what a failed one's processes wrote.
#[expect(clippy::print_stderr, reason = "a test's output is for people")]
pub fn say(text: fmt::Arguments<'_>) {
    eprintln!("{text}");
}
