//! `docs/reference/limits.md` is written by hand. A table ties its lines to the code, so that neither changes
//! alone.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

const PAGE: &str = "docs/reference/limits.md";

/// What ties each limit of the page to the code, a line each.
const LIMITS: &str = include_str!("reference/limits.txt");

/// Whether a line of the page is about this and says that.
fn says(line: &str, subject: &str, limit: &str) -> bool {
    let line = line.trim_start_matches("| ");
    let rest = line.strip_prefix(subject);
    rest.is_some_and(|rest| rest.contains(limit) || subject.contains(limit))
}

#[test]
fn limits_page_has_the_values_of_the_code() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = fs::read_to_string(root.join(PAGE))?;
    let (mut wrong, mut checked) = (Vec::new(), 0);
    for entry in LIMITS.lines().filter(|line| !line.starts_with('#')) {
        let parts: Vec<&str> = entry.split(" | ").collect();
        let [subject, limit, file, code] = parts[..] else {
            anyhow::bail!("limits.txt: {entry:?} has not four parts")
        };
        let text = fs::read_to_string(root.join(file)).with_context(|| file.to_owned())?;
        if !text.contains(code) {
            wrong.push(format!("{file} has no {code:?}, and {PAGE} says {limit:?} of {subject:?}"));
        }
        if !page.lines().any(|line| says(line, subject, limit)) {
            wrong.push(format!("{PAGE} does not say {limit:?} of {subject:?}, as {file} has it"));
        }
        checked += 1;
    }

    let wrong = wrong.join("\n");
    assert!(
        wrong.is_empty(),
        "change code, page and tests/it/documents/reference/limits.txt together:\n{wrong}"
    );
    assert!(checked >= 100, "{checked}");
    Ok(())
}
