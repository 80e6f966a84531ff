//! What a benchmark found, as a table or as JSON.

use serde_json::{Map, Value, json};

use super::figure::Figure;
use crate::client::failure::Failure;
use crate::client::output::Output;

/// One benchmark's findings.
#[derive(Debug)]
pub struct Report {
    name: &'static str,
    rows: Vec<(String, Figure, &'static str)>,
}

impl Report {
    pub fn new(name: &'static str) -> Self {
        Self { name, rows: Vec::new() }
    }

    /// Adds a line: what was measured, how much, of what.
    pub fn row(&mut self, what: impl Into<String>, figure: Figure, unit: &'static str) {
        self.rows.push((what.into(), figure, unit));
    }

    pub fn print(&self, output: Output) -> Result<(), Failure> {
        output.result(&self.json().to_string(), || self.lines())
    }

    fn lines(&self) -> Vec<String> {
        let wide = self.rows.iter().map(|(what, _, _)| what.chars().count()).max().unwrap_or(0);
        let row = |(what, figure, unit): &(String, Figure, &str)| {
            format!("  {what:wide$}  {:>12}  {unit}", figure.to_string()).trim_end().to_owned()
        };
        std::iter::once(self.name.to_owned()).chain(self.rows.iter().map(row)).collect()
    }

    fn json(&self) -> Value {
        let row = |(what, figure, unit): &(String, Figure, &str)| {
            let number = serde_json::from_str(&figure.to_string()).unwrap_or(Value::Null);
            (what.clone(), json!({ "figure": number, "unit": unit }))
        };
        json!({ "bench": self.name, "rows": self.rows.iter().map(row).collect::<Map<_, _>>() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_has_both_forms() {
        let mut report = Report::new("chunks");
        report.row("chunks", Figure::whole(7), "");
        report.row(
            "CPU a chunk",
            Figure::millis_each(std::time::Duration::from_millis(1), 20),
            "ms",
        );

        assert_eq!(report.lines()[1], "  chunks                  7");
        assert_eq!(report.lines()[2], "  CPU a chunk         0.050  ms");
        assert_eq!(report.json()["rows"]["CPU a chunk"]["figure"], 0.05);
    }
}
