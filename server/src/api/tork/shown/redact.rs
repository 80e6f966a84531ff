//! Texts in which values of secrets are not shown.

use serde_json::{Map, Value};

pub const HIDDEN: &str = "[REDACTED]";
/// What nodes write for a value that they hide.
const HIDDEN_BY_NODE: &str = "***";
/// Names whose values are hidden whatever they are.
const NAMES: [&str; 3] = ["SECRET", "PASSWORD", "ACCESS_KEY"];
/// Parts of a document that map names to values.
const MAPS: [&str; 4] = ["env", "headers", "inputs", "opts"];
/// Shorter values are hidden in maps only: elsewhere they are parts of other words.
const BYTES_MIN: usize = 6;

/// Hides these values.
pub struct Redactor(Vec<String>);

impl Redactor {
    pub fn new(mut values: Vec<String>) -> Self {
        values.retain(|value| !value.is_empty());
        // One that is a part of another comes after it.
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        Self(values)
    }

    /// A text without the values.
    pub fn text(&self, text: &str) -> String {
        if self.0.is_empty() {
            return text.to_owned();
        }
        let hidden = self.0.iter().map(String::as_str).chain([HIDDEN_BY_NODE]);
        hidden.fold(text.to_owned(), |text, value| text.replace(value, HIDDEN))
    }

    /// What stands under a name in a map.
    pub fn named(&self, name: &str, value: &str) -> String {
        let name = name.to_ascii_uppercase();
        if NAMES.iter().any(|hidden| name.contains(hidden)) {
            return HIDDEN.to_owned();
        }
        self.text(value)
    }

    /// A document, or a part of one.
    pub fn document(&self, value: &mut Value) {
        match value {
            Value::Object(fields) => self.object(fields),
            Value::Array(items) => items.iter_mut().for_each(|item| self.document(item)),
            Value::String(text) => {
                let long = self.0.iter().filter(|value| value.len() >= BYTES_MIN);
                *text = long.fold(text.clone(), |text, value| text.replace(value.as_str(), HIDDEN));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn object(&self, fields: &mut Map<String, Value>) {
        for (name, value) in fields.iter_mut() {
            let Value::Object(texts) = value else {
                self.document(value);
                continue;
            };
            for (key, text) in texts.iter_mut() {
                let shown = text.as_str().unwrap_or_default();
                match name.as_str() {
                    "secrets" => *text = HIDDEN.into(),
                    "registry" if key == "password" => *text = HIDDEN.into(),
                    map if MAPS.contains(&map) => *text = self.named(key, shown).into(),
                    _ => self.document(text),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn redaction_leaves_no_secret_in_a_document() {
        let mut document = json!({
            "name": "a 1 job",
            "inputs": {"a": "1", "my_password": "plain"},
            "secrets": {"s": "hunter2hunter2", "t": "1"},
            "tasks": [{
                "run": "echo hunter2hunter2 1",
                "registry": {"username": "u", "password": "p"},
                "each": {"task": {"env": {"X": "has hunter2hunter2"}}},
                "sidecars": [{"registry": {"password": "q"}, "env": {"B": null}}],
            }],
        });

        let redactor = Redactor::new(vec!["1".to_owned(), "hunter2hunter2".to_owned()]);
        redactor.document(&mut document);

        assert_eq!(
            document,
            json!({
                "name": "a 1 job",
                "inputs": {"a": HIDDEN, "my_password": HIDDEN},
                "secrets": {"s": HIDDEN, "t": HIDDEN},
                "tasks": [{
                    "run": "echo [REDACTED] 1",
                    "registry": {"username": "u", "password": HIDDEN},
                    "each": {"task": {"env": {"X": "has [REDACTED]"}}},
                    "sidecars": [{"registry": {"password": HIDDEN}, "env": {"B": ""}}],
                }],
            })
        );
    }
}
