//! Placeholder until the branch `expr` is merged.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Template(Arc<str>);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an expression")]
pub struct SyntaxError;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reads {
    Nothing,
    Members(BTreeSet<String>),
    All,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Scope(BTreeMap<String, Value>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fixed {
    pub now: DateTime<Utc>,
    pub seed: [u8; 32],
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Items {
    Numbers { from: i64, len: u32 },
    Values(Vec<Value>),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Fault(pub String);

impl Template {
    pub fn new(source: &str) -> Result<Self, SyntaxError> {
        Ok(Self(source.into()))
    }

    pub fn source(&self) -> &str {
        &self.0
    }

    pub fn is_plain(&self) -> bool {
        !self.0.contains("{{")
    }

    fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        for part in self.0.split("{{").skip(1) {
            let code = part.split("}}").next().unwrap_or_default();
            words.extend(
                code.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.'))
                    .map(str::to_owned),
            );
        }
        words
    }

    pub fn roots(&self) -> BTreeSet<&str> {
        ["inputs", "secrets", "tasks", "item", "job", "run"]
            .into_iter()
            .filter(|root| self.words().iter().any(|word| word.split('.').next() == Some(root)))
            .collect()
    }

    pub fn reads(&self, root: &str) -> Reads {
        let words = self.words();
        let of: BTreeSet<String> = words
            .iter()
            .filter(|word| word.split('.').next() == Some(root))
            .filter_map(|word| word.split('.').nth(1).map(str::to_owned))
            .collect();
        if of.is_empty() { Reads::Nothing } else { Reads::Members(of) }
    }
}

impl FromStr for Template {
    type Err = SyntaxError;

    fn from_str(text: &str) -> Result<Self, SyntaxError> {
        Self::new(text)
    }
}

impl TryFrom<String> for Template {
    type Error = SyntaxError;

    fn try_from(text: String) -> Result<Self, SyntaxError> {
        Self::new(&text)
    }
}

impl From<Template> for String {
    fn from(template: Template) -> Self {
        template.0.as_ref().to_owned()
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Scope {
    pub fn set(&mut self, root: &str, value: Value) {
        self.0.insert(root.to_owned(), value);
    }

    pub fn get(&self, root: &str) -> Option<&Value> {
        self.0.get(root)
    }
}

impl Items {
    pub fn len(&self) -> u32 {
        match self {
            Self::Numbers { len, .. } => *len,
            Self::Values(values) => u32::try_from(values.len()).unwrap_or(u32::MAX),
        }
    }

    pub fn get(&self, n: u32) -> Option<Value> {
        match self {
            Self::Numbers { from, len } if n < *len => Some((from + i64::from(n)).into()),
            Self::Numbers { .. } => None,
            Self::Values(values) => values.get(n as usize).cloned(),
        }
    }
}

fn value(code: &str, scope: &Scope) -> Result<Value, Fault> {
    let code = code.trim();
    for (sign, equal) in [("==", true), ("!=", false)] {
        if let Some((a, b)) = code.split_once(sign) {
            return Ok(((value(a, scope)? == value(b, scope)?) == equal).into());
        }
    }
    if let Some(text) = code.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')) {
        return Ok(text.into());
    }
    if let Ok(value) = serde_json::from_str(code) {
        return Ok(value);
    }
    let mut names = code.split('.');
    let root = names.next().unwrap_or_default();
    let mut at = scope.get(root).ok_or_else(|| Fault(format!("unknown name {root}")))?;
    for name in names {
        at = at.get(name).unwrap_or(&Value::Null);
    }
    Ok(at.clone())
}

pub fn evaluate_text(template: &Template, scope: &Scope, _: &Fixed) -> Result<String, Fault> {
    let mut parts = template.0.split("{{");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (code, rest) = part.split_once("}}").ok_or_else(|| Fault("braces".to_owned()))?;
        match value(code, scope)? {
            Value::String(value) => text.push_str(&value),
            Value::Null => {}
            value => text.push_str(&value.to_string()),
        }
        text.push_str(rest);
    }
    Ok(text)
}

pub fn evaluate_items(template: &Template, scope: &Scope, _: &Fixed) -> Result<Items, Fault> {
    let code = template.0.trim().trim_start_matches("{{").trim_end_matches("}}");
    let value = value(code, scope)?;
    let value = match &value {
        Value::String(text) => serde_json::from_str(text).unwrap_or(value),
        _ => value,
    };
    match value {
        Value::Array(values) => Ok(Items::Values(values)),
        Value::Number(n) => {
            let len = n.as_u64().and_then(|n| u32::try_from(n).ok());
            Ok(Items::Numbers { from: 0, len: len.ok_or_else(|| Fault("number".to_owned()))? })
        }
        _ => Err(Fault("not a list".to_owned())),
    }
}

pub fn is_false(text: &str) -> bool {
    text.trim() == "false"
}
