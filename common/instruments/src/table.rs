//! The metrics as a table of a document.

use std::fmt::Write as _;

use super::Description;

/// A table in Markdown, a row for each metric.
pub fn table(descriptions: &[Description]) -> String {
    let mut text = "| metric | type | labels | what it is |\n|---|---|---|---|\n".to_owned();
    for Description { name, kind, labels, help } in descriptions {
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        let (kind, labels) = (kind.as_str(), labels.join(", "));
        // A text grows without failing.
        let _ = writeln!(text, "| `{name}` | {kind} | {labels} | {help} |");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    #[test]
    fn table_has_a_row_for_each_metric() {
        let metric = Description {
            name: "a_total".to_owned(),
            kind: Kind::Counter,
            labels: vec!["b".to_owned(), "c".to_owned()],
            help: "What".to_owned(),
        };

        let text = table(&[metric]);

        assert_eq!(text.lines().nth(2), Some("| `a_total` | counter | `b`, `c` | What |"));
    }
}
